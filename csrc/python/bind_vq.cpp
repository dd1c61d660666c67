// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <vector>

#include <pybind11/pybind11.h>

#include "glc/vq.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace glc::python {
namespace {

void nearest(const py::object& latents, const py::object& codebook, const py::object& indices) {
  constexpr const char* kOp = "vq_nearest";
  const Dlpack latents_in(latents, kOp, "latents");
  const Dlpack codebook_in(codebook, kOp, "codebook");
  const Dlpack indices_out(indices, kOp, "indices");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_out.span<std::int32_t>();
  const py::gil_scoped_release release;
  std::vector<std::byte> workspace(vq_nearest_workspace_bytes(l.rows, c.rows, c.cols));
  vq_nearest(l, c, i, workspace);
}

}  // namespace

void bind_vq(py::module_& m) {
  m.def("vq_nearest", &nearest, py::arg("latents"), py::arg("codebook"), py::arg("indices"));
}

}  // namespace glc::python

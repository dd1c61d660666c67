// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/vq.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace glc::python {
namespace {

double lookup(const py::object& latents,
              const py::object& codebook,
              const py::object& indices,
              const py::object& quantised) {
  constexpr const char* kOp = "vq_lookup";
  const Dlpack latents_in(latents, kOp, "latents");
  const Dlpack codebook_in(codebook, kOp, "codebook");
  const Dlpack indices_in(indices, kOp, "indices");
  const Dlpack quantised_out(quantised, kOp, "quantised");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_in.span<const std::int32_t>();
  const auto q = quantised_out.matrix<float>();
  const py::gil_scoped_release release;
  return vq_lookup(l, c, i, q);
}

void usage(const py::object& indices, const py::object& counts) {
  const Dlpack indices_in(indices, "vq_usage", "indices");
  const Dlpack counts_out(counts, "vq_usage", "counts");
  const auto i = indices_in.span<const std::int32_t>();
  const auto c = counts_out.span<std::int64_t>();
  const py::gil_scoped_release release;
  vq_usage(i, c);
}

void segment_sums(const py::object& latents,
                  const py::object& indices,
                  const py::object& counts,
                  const py::object& sums) {
  constexpr const char* kOp = "vq_segment_sums";
  const Dlpack latents_in(latents, kOp, "latents");
  const Dlpack indices_in(indices, kOp, "indices");
  const Dlpack counts_in(counts, kOp, "counts");
  const Dlpack sums_out(sums, kOp, "sums");
  const auto l = latents_in.matrix<const float>();
  const auto i = indices_in.span<const std::int32_t>();
  const auto c = counts_in.span<const std::int64_t>();
  const auto s = sums_out.matrix<float>();
  const py::gil_scoped_release release;
  vq_segment_sums(l, i, c, s);
}

}  // namespace

void bind_vq_train(py::module_& m) {
  m.def("vq_lookup",
        &lookup,
        py::arg("latents"),
        py::arg("codebook"),
        py::arg("indices"),
        py::arg("quantised"));
  m.def("vq_usage", &usage, py::arg("indices"), py::arg("counts"));
  m.def("vq_segment_sums",
        &segment_sums,
        py::arg("latents"),
        py::arg("indices"),
        py::arg("counts"),
        py::arg("sums"));
}

}  // namespace glc::python

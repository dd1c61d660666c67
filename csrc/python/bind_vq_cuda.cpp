// SPDX-License-Identifier: Apache-2.0
//
// The overload with a stream. Only in builds with CUDA.
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/cuda/vq.h"
#include "python/bindings.h"
#include "python/cuda_device.h"

namespace py = pybind11;

namespace glc::python {
namespace {

void nearest(const py::object& latents,
             const py::object& codebook,
             const py::object& indices,
             const py::object& workspace,
             std::uintptr_t stream) {
  constexpr const char* kOp = "vq_nearest";
  const DeviceTensor latents_in(latents, kOp, "latents");
  const DeviceTensor codebook_in(codebook, kOp, "codebook");
  const DeviceTensor indices_out(indices, kOp, "indices");
  const DeviceTensor scratch(workspace, kOp, "workspace");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_out.span<std::int32_t>();
  const auto w = scratch.bytes();
  const OnCuda on(latents_in, stream);
  cuda::vq_nearest(l, c, i, w, on.stream());
}

}  // namespace

void bind_vq_cuda(py::module_& m) {
  m.def("vq_nearest", &nearest);
  m.def("vq_nearest_workspace_bytes", &cuda::vq_nearest_workspace_bytes);
}

}  // namespace glc::python

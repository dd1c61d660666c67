// SPDX-License-Identifier: Apache-2.0
//
// What lies between the convolutions of the picture networks. Only in builds with CUDA.
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/bfloat16.h"
#include "glc/cuda/generator.h"
#include "glc/float16.h"
#include "python/bindings.h"
#include "python/cuda_device.h"

namespace py = pybind11;

namespace glc::python {
namespace {

constexpr const char* kGroupNorm = "group_norm";

/// A tensor that may be missing.
class Maybe {
 public:
  Maybe(const py::object& object, const char* argument) {
    if (!object.is_none()) tensor_.emplace(object, kGroupNorm, argument);
  }

  template <class T>
  [[nodiscard]] std::span<T> span() const {
    return tensor_ ? tensor_->span<T>() : std::span<T>();
  }

 private:
  std::optional<DeviceTensor> tensor_;
};

/// Of [n, h, w, c] in row-major order; an x of more channels is in phases.
cuda::NormShape shape_of(const DeviceTensor& out, const DeviceTensor& x, std::int64_t groups) {
  return {.samples = out.shape(0),
          .pixels = out.shape(1) * out.shape(2),
          .channels = out.shape(3),
          .groups = groups,
          .phases_width = x.shape(3) == out.shape(3) ? 0 : out.shape(2)};
}

/// The maps are x, residual, sum and out; the vectors offset, weight and bias.
void group_norm(const std::array<py::object, 4>& maps,
                const std::array<py::object, 3>& vectors,
                std::int64_t groups,
                float eps,
                bool silu,
                const py::object& workspace,
                std::uintptr_t stream) {
  const DeviceTensor x(maps[0], kGroupNorm, "x");
  const Maybe residual(maps[1], "residual");
  const Maybe sum(maps[2], "sum");
  const DeviceTensor out(maps[3], kGroupNorm, "out");
  const Maybe offset(vectors[0], "offset");
  const DeviceTensor weight(vectors[1], kGroupNorm, "weight");
  const DeviceTensor bias(vectors[2], kGroupNorm, "bias");
  const DeviceTensor scratch(workspace, kGroupNorm, "workspace");
  const cuda::NormShape shape = shape_of(out, x, groups);
  const auto run = [&]<class T>(T /*dtype*/) {
    const cuda::NormTensors<T> tensors{.x = x.span<const T>(),
                                       .offset = offset.span<const float>(),
                                       .residual = residual.span<const T>(),
                                       .weight = weight.span<const float>(),
                                       .bias = bias.span<const float>(),
                                       .sum = sum.span<T>(),
                                       .out = out.span<T>(),
                                       .workspace = scratch.bytes()};
    const OnCuda on(x, stream);
    cuda::group_norm(shape, tensors, eps, silu, on.stream());
  };
  if (x.is_bfloat16()) return run(BFloat16{});
  if (x.is_float16()) return run(Float16{});
  run(float{});
}

}  // namespace

void bind_generator_cuda(py::module_& m) {
  m.def("group_norm_cuda", &group_norm);
  m.def("group_norm_workspace_bytes", &cuda::group_norm_workspace_bytes);
}

}  // namespace glc::python

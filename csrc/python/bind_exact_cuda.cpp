// SPDX-License-Identifier: Apache-2.0
//
// The layers of glc/cuda/exact.h, for tensors on a device. Only in builds with CUDA.
#include <cstdint>
#include <optional>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cuda/exact.h"
#include "python/bindings.h"
#include "python/cuda_device.h"
#include "python/feature_maps.h"

namespace py = pybind11;

namespace glc::python {
namespace {

constexpr const char* kConvOp = "exact_conv2d";

/// What every layer borrows.
struct Layer {
  DeviceTensor x;
  DeviceTensor weight;
  DeviceTensor bias;
  DeviceTensor out;

  Layer(const py::object& x_in,
        const py::object& weight_in,
        const py::object& bias_in,
        const py::object& out_in)
      : x(x_in, kConvOp, "x"),
        weight(weight_in, kConvOp, "weight"),
        bias(bias_in, kConvOp, "bias"),
        out(out_in, kConvOp, "out") {}
  [[nodiscard]] auto from() const { return map<const float>(x); }
  [[nodiscard]] auto w() const { return weight.span<const float>(); }
  [[nodiscard]] auto b() const { return bias.span<const float>(); }
  [[nodiscard]] auto to() const { return map<float>(out); }
};

void conv(const py::object& x,
          const py::object& weight,
          const py::object& bias,
          const py::object& out,
          std::int64_t kernel,
          const ThreeInts& sampling,
          std::optional<float> slope,
          std::int64_t shuffle,
          const py::object& residual,
          std::uintptr_t stream) {
  const Layer layer(x, weight, bias, out);
  std::optional<DeviceTensor> residual_in;
  auto options = conv_options(sampling, slope, shuffle);
  if (!residual.is_none()) {
    options.residual = map<const float>(residual_in.emplace(residual, kConvOp, "residual"));
  }
  const OnCuda on(layer.x, stream);
  cuda::exact_conv2d(layer.from(), layer.w(), layer.b(), kernel, options, layer.to(), on.stream());
}

void depthwise(const py::object& x,
               const py::object& weight,
               const py::object& bias,
               const py::object& out,
               std::uintptr_t stream) {
  const Layer layer(x, weight, bias, out);
  const OnCuda on(layer.x, stream);
  cuda::exact_depthwise3x3(layer.from(), layer.w(), layer.b(), layer.to(), on.stream());
}

void gated_conv(const py::object& x,
                const py::object& weight,
                const py::object& bias,
                float slope,
                const py::object& out,
                std::uintptr_t stream) {
  const Layer layer(x, weight, bias, out);
  const OnCuda on(layer.x, stream);
  cuda::exact_gated_conv(layer.from(), layer.w(), layer.b(), slope, layer.to(), on.stream());
}

}  // namespace

void bind_exact_cuda(py::module_& m) {
  m.def("exact_conv2d_cuda", &conv);
  m.def("exact_depthwise", &depthwise);
  m.def("exact_gated_conv_cuda", &gated_conv);
  m.def("exact_columns", &cuda::exact_columns);
}

}  // namespace glc::python

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
  const DeviceTensor x_in(x, kConvOp, "x");
  const DeviceTensor weight_in(weight, kConvOp, "weight");
  const DeviceTensor bias_in(bias, kConvOp, "bias");
  const DeviceTensor out_in(out, kConvOp, "out");
  std::optional<DeviceTensor> residual_in;
  auto options = conv_options(sampling, slope, shuffle);
  if (!residual.is_none()) {
    options.residual = map<const float>(residual_in.emplace(residual, kConvOp, "residual"));
  }
  const auto from = map<const float>(x_in);
  const auto w = weight_in.span<const float>();
  const auto b = bias_in.span<const float>();
  const auto to = map<float>(out_in);
  const OnCuda on(x_in, stream);
  cuda::exact_conv2d(from, w, b, kernel, options, to, on.stream());
}

void depthwise(const py::object& x,
               const py::object& weight,
               const py::object& bias,
               const py::object& out,
               std::uintptr_t stream) {
  const DeviceTensor x_in(x, kConvOp, "x");
  const DeviceTensor weight_in(weight, kConvOp, "weight");
  const DeviceTensor bias_in(bias, kConvOp, "bias");
  const DeviceTensor out_in(out, kConvOp, "out");
  const auto from = map<const float>(x_in);
  const auto w = weight_in.span<const float>();
  const auto b = bias_in.span<const float>();
  const auto to = map<float>(out_in);
  const OnCuda on(x_in, stream);
  cuda::exact_depthwise3x3(from, w, b, to, on.stream());
}

void gated_conv(const py::object& x,
                const py::object& weight,
                const py::object& bias,
                float slope,
                const py::object& out,
                std::uintptr_t stream) {
  const DeviceTensor x_in(x, kConvOp, "x");
  const DeviceTensor weight_in(weight, kConvOp, "weight");
  const DeviceTensor bias_in(bias, kConvOp, "bias");
  const DeviceTensor out_in(out, kConvOp, "out");
  const auto from = map<const float>(x_in);
  const auto w = weight_in.span<const float>();
  const auto b = bias_in.span<const float>();
  const auto to = map<float>(out_in);
  const OnCuda on(x_in, stream);
  cuda::exact_gated_conv(from, w, b, slope, to, on.stream());
}

}  // namespace

void bind_exact_cuda(py::module_& m) {
  m.def("exact_conv2d_cuda", &conv);
  m.def("exact_depthwise", &depthwise);
  m.def("exact_gated_conv_cuda", &gated_conv);
  m.def("exact_columns", &cuda::exact_columns);
}

}  // namespace glc::python

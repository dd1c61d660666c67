// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/content_sum.h"
#include "exact/exact_backend.h"
#include "glc/exact.h"
#include "python/bindings.h"
#include "python/dlpack.h"
#include "python/feature_maps.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using exact::Conv;
using exact::DepthConvBlock;
using exact::MapView;

constexpr const char* kConvOp = "exact_conv2d";
constexpr const char* kBlockOp = "exact_depth_conv_block";

Conv make_conv(const py::object& weight, const py::object& bias) {
  const Dlpack w(weight, kConvOp, "weight");
  const Dlpack b(bias, kConvOp, "bias");
  const auto shape = map<const float>(w);
  if (shape.h != shape.w) throw InvalidArgument(w.where() + ": expected a square kernel");
  return {w.span<const float>(), b.span<const float>(), shape.c, shape.n, shape.h};
}

void run_conv(const Conv& conv,
              const py::object& x,
              const py::object& out,
              const ThreeInts& sampling,
              std::optional<float> slope,
              std::int64_t shuffle,
              const py::object& residual) {
  const Dlpack x_in(x, kConvOp, "x");
  const Dlpack out_in(out, kConvOp, "out");
  std::optional<Dlpack> residual_in;
  auto options = conv_options(sampling, slope, shuffle);
  if (!residual.is_none()) {
    options.residual = map<const float>(residual_in.emplace(residual, kConvOp, "residual"));
  }
  const auto from = map<const float>(x_in);
  const auto to = map<float>(out_in);
  with_workspace(conv.workspace_bytes(),
                 [&](auto workspace) { conv.run(from, options, to, workspace); });
}

void depthwise(const py::object& x,
               const py::object& weight,
               const py::object& bias,
               const py::object& out) {
  const Dlpack x_in(x, kConvOp, "x");
  const Dlpack weight_in(weight, kConvOp, "weight");
  const Dlpack bias_in(bias, kConvOp, "bias");
  const Dlpack out_in(out, kConvOp, "out");
  const auto from = map<const float>(x_in);
  const auto to = map<float>(out_in);
  const auto w = weight_in.span<const float>();
  const auto b = bias_in.span<const float>();
  with_workspace(exact::depthwise_workspace_bytes(from.w),
                 [&](auto workspace) { exact::depthwise3x3(from, w, b, to, workspace); });
}

/// Tensors in the order of DepthConvBlock::Weights; the adaptor's two may be None.
DepthConvBlock make_block(const std::array<py::object, 12>& tensors,
                          const std::array<float, 2>& slopes,
                          std::int64_t n_heads) {
  std::array<std::optional<Dlpack>, 12> in;
  std::array<std::span<const float>, 12> w;
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (!tensors[i].is_none())
      w[i] = in[i].emplace(tensors[i], kBlockOp, "weights").span<const float>();
  }
  const auto a = static_cast<std::int64_t>(w[1].size());
  const auto b = static_cast<std::int64_t>(w[5].size());
  const DepthConvBlock::Weights weights{a,
                                        b,
                                        w[0],
                                        w[1],
                                        w[2],
                                        w[3],
                                        w[4],
                                        w[5],
                                        w[6],
                                        w[7],
                                        w[8],
                                        w[9],
                                        w[10],
                                        w[11],
                                        slopes[0],
                                        slopes[1]};
  return DepthConvBlock(weights, n_heads);
}

void run_block(const DepthConvBlock& block,
               const py::object& x,
               const std::vector<ThreeInts>& samplings,
               const std::vector<py::object>& outs) {
  const Dlpack x_in(x, kBlockOp, "x");
  const auto from = map<const float>(x_in);
  std::vector<exact::Sampling> at;
  at.reserve(samplings.size());
  for (const auto& s : samplings) at.push_back({s[0], s[1], s[2]});
  std::vector<Dlpack> borrowed;
  std::vector<MapView<float>> to;
  borrowed.reserve(outs.size());
  to.reserve(outs.size());
  for (const auto& out : outs)
    to.push_back(map<float>(borrowed.emplace_back(out, kBlockOp, "out")));
  with_workspace(block.workspace_bytes(from.h, from.w),
                 [&](auto workspace) { block.run(from, at, to, workspace); });
}

/// content_sum() of all weights that are there.
std::uint64_t weights_sum(const std::vector<py::object>& weights) {
  std::uint64_t sum = 0;
  for (const auto& weight : weights) {
    if (weight.is_none()) continue;
    const Dlpack in(weight, "exact", "weights");
    sum = 31 * sum + content_sum(in.span<const float>());
  }
  return sum;
}

/// Runs n steps of fused multiply-adds in registers; returns their operations.
std::int64_t spin(std::int64_t n) {
  static_cast<void>(exact::backend().spin(n));
  return n * exact::backend().spin_flops;
}

}  // namespace

void bind_exact(py::module_& m) {
  py::class_<Conv>(m, "ExactConv").def(py::init(&make_conv)).def("run", &run_conv);
  py::class_<DepthConvBlock>(m, "ExactDepthConvBlock")
      .def(py::init(&make_block))
      .def("run", &run_block);
  m.def("exact_depthwise", &depthwise);
  m.def("exact_spin", &spin);
  m.def("exact_weights_sum", &weights_sum);
}

}  // namespace glc::python

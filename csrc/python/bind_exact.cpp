// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/exact.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using exact::Conv;
using exact::DepthConvBlock;
using exact::MapView;
using exact::Sampling;
using NoGil = py::gil_scoped_release;

template <class T>
MapView<T> map(const Dlpack& tensor) {
  if (tensor.ndim() != 4) {
    throw InvalidArgument(tensor.where() + ": expected 4 dimensions, got " +
                          std::to_string(tensor.ndim()));
  }
  return {
      tensor.span<T>().data(), tensor.shape(0), tensor.shape(1), tensor.shape(2), tensor.shape(3)};
}

/// Memory for one call, not cleared.
class Memory {
 public:
  explicit Memory(std::size_t n)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(n)), span_(bytes_.get(), n) {}
  [[nodiscard]] std::span<std::byte> span() const { return span_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::span<std::byte> span_;
};

Conv make_conv(const py::object& weight, const py::object& bias) {
  const Dlpack w(weight, "exact_conv2d", "weight");
  const Dlpack b(bias, "exact_conv2d", "bias");
  const auto shape = map<const float>(w);
  if (shape.h != shape.w) {
    throw InvalidArgument("exact_conv2d: weight: expected a square kernel");
  }
  return {w.span<const float>(), b.span<const float>(), shape.c, shape.n, shape.h};
}

void run_conv(const Conv& conv,
              const py::object& x,
              const py::object& out,
              std::array<std::int64_t, 3> sampling,
              std::optional<float> slope,
              std::int64_t shuffle,
              const py::object& residual) {
  const Dlpack x_in(x, "exact_conv2d", "x");
  const Dlpack out_in(out, "exact_conv2d", "out");
  std::optional<Dlpack> residual_in;
  Conv::Options options{
      .sampling = {sampling[0], sampling[1], sampling[2]}, .slope = slope, .shuffle = shuffle};
  if (!residual.is_none()) {
    residual_in.emplace(residual, "exact_conv2d", "residual");
    options.residual = map<const float>(*residual_in);
  }
  const auto from = map<const float>(x_in);
  const auto to = map<float>(out_in);
  const NoGil no_gil;
  const Memory workspace(conv.workspace_bytes());
  conv.run(from, options, to, workspace.span());
}

void depthwise(const py::object& x,
               const py::object& weight,
               const py::object& bias,
               const py::object& out) {
  const Dlpack x_in(x, "exact_conv2d", "x");
  const Dlpack weight_in(weight, "exact_conv2d", "weight");
  const Dlpack bias_in(bias, "exact_conv2d", "bias");
  const Dlpack out_in(out, "exact_conv2d", "out");
  const auto from = map<const float>(x_in);
  const auto to = map<float>(out_in);
  const auto w = weight_in.span<const float>();
  const auto b = bias_in.span<const float>();
  const NoGil no_gil;
  const Memory workspace(exact::depthwise_workspace_bytes(from.w));
  exact::depthwise3x3(from, w, b, to, workspace.span());
}

/// Tensors in the order of DepthConvBlock::Weights; the adaptor's two may be None.
DepthConvBlock make_block(const std::vector<py::object>& tensors,
                          std::array<float, 2> slopes,
                          std::int64_t n_heads) {
  constexpr const char* kOp = "exact_depth_conv_block";
  constexpr std::size_t kTensors = 12;
  if (tensors.size() != kTensors) throw InvalidArgument("exact_depth_conv_block: 12 tensors");
  std::vector<std::optional<Dlpack>> in(kTensors);
  std::array<std::span<const float>, kTensors> w;
  for (std::size_t i = 0; i < kTensors; ++i) {
    if (tensors[i].is_none()) continue;
    in[i].emplace(tensors[i], kOp, "weights");
    w[i] = in[i]->span<const float>();
  }
  return DepthConvBlock({.in_channels = static_cast<std::int64_t>(w[1].size()),
                         .out_channels = static_cast<std::int64_t>(w[5].size()),
                         .expand = w[0],
                         .expand_bias = w[1],
                         .depthwise = w[2],
                         .depthwise_bias = w[3],
                         .project = w[4],
                         .project_bias = w[5],
                         .adaptor = w[6],
                         .adaptor_bias = w[7],
                         .gate = w[8],
                         .gate_bias = w[9],
                         .contract = w[10],
                         .contract_bias = w[11],
                         .depth_slope = slopes[0],
                         .gate_slope = slopes[1]},
                        n_heads);
}

void run_block(const DepthConvBlock& block,
               const py::object& x,
               const std::vector<std::array<std::int64_t, 3>>& samplings,
               const std::vector<py::object>& outs) {
  const Dlpack x_in(x, "exact_depth_conv_block", "x");
  const auto from = map<const float>(x_in);
  std::vector<Sampling> at;
  for (const auto& s : samplings) at.push_back({s[0], s[1], s[2]});
  std::vector<Dlpack> borrowed;
  std::vector<MapView<float>> to;
  for (const py::object& out : outs) {
    to.push_back(map<float>(borrowed.emplace_back(out, "exact_depth_conv_block", "out")));
  }
  const NoGil no_gil;
  const Memory workspace(block.workspace_bytes(from.h, from.w));
  block.run(from, at, to, workspace.span());
}

void place(const py::object& symbols,
           const py::object& mean,
           const py::object& index,
           const py::object& y_hat) {
  const Dlpack symbols_in(symbols, "exact_place_symbols", "symbols");
  const Dlpack mean_in(mean, "exact_place_symbols", "mean");
  const Dlpack index_in(index, "exact_place_symbols", "index");
  const Dlpack y_hat_out(y_hat, "exact_place_symbols", "y_hat");
  exact::place_symbols(symbols_in.span<const std::int32_t>(),
                       mean_in.span<const float>(),
                       index_in.span<const std::int64_t>(),
                       y_hat_out.span<float>());
}

}  // namespace

void bind_exact(py::module_& m) {
  py::class_<Conv>(m, "ExactConv").def(py::init(&make_conv)).def("run", &run_conv);
  py::class_<DepthConvBlock>(m, "ExactDepthConvBlock")
      .def(py::init(&make_block))
      .def("run", &run_block);
  m.def("exact_depthwise", &depthwise);
  m.def("exact_place_symbols", &place);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
// DepthConvBlock in two sweeps: the first convolution writes its outputs into a border of zeros, so
// that the depthwise taps need no case at the edges; everything after that stays within a tile.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "exact/exact_backend.h"
#include "exact/exact_check.h"
#include "exact/exact_pack.h"
#include "exact/exact_tasks.h"
#include "glc/exact.h"
#include "glc/threads.h"

namespace glc::exact {
namespace {

constexpr const char* kOp = "exact_depth_conv_block";
constexpr std::int64_t kBorderChannels = 64;  // per task

void zero_border(float* plane, std::int64_t h, std::int64_t w) {
  const std::int64_t pitch = w + 2;
  std::fill_n(plane, pitch, 0.0F);
  for (std::int64_t i = 1; i <= h; ++i) {
    plane[i * pitch] = 0.0F;
    plane[i * pitch + w + 1] = 0.0F;
  }
  std::fill_n(plane + (h + 1) * pitch, pitch, 0.0F);
}

}  // namespace

DepthConvBlock::DepthConvBlock(const Weights& w, std::int64_t n_heads, const Backend* use)
    : use_(use != nullptr ? use : &backend()),
      a_(w.in_channels),
      b_(w.out_channels),
      depth_slope_(w.depth_slope),
      gate_slope_(w.gate_slope) {
  check_block(w, n_heads);
  const auto dense = [this](std::span<const float> weight,
                            std::span<const float> bias,
                            std::int64_t in_channels,
                            std::span<const std::int64_t> channels) {
    return pack(*use_, weight, bias, in_channels, 1, channels);
  };
  expand_ = dense(w.expand, w.expand_bias, a_, panel_channels(*use_, a_));
  depthwise_.assign(w.depthwise.begin(), w.depthwise.end());
  depthwise_bias_.assign(w.depthwise_bias.begin(), w.depthwise_bias.end());
  project_ = dense(w.project, w.project_bias, a_, panel_channels(*use_, b_));
  if (!w.adaptor.empty()) {
    adaptor_ = dense(w.adaptor, w.adaptor_bias, a_, panel_channels(*use_, b_));
  }
  gate_ = dense(w.gate, w.gate_bias, b_, gated_channels(*use_, 2 * b_));
  for (std::int64_t g = 0; g < n_heads; ++g) {
    auto channels = head_channels(*use_, b_, n_heads, g);
    heads_.push_back({.packed = dense(w.contract, w.contract_bias, 2 * b_, channels),
                      .channels = std::move(channels)});
  }
}

std::int64_t DepthConvBlock::padded_floats(std::int64_t h, std::int64_t w) const {
  return a_ * (h + 2) * (w + 2) + use_->slack;
}

std::size_t DepthConvBlock::workspace_bytes(std::int64_t h, std::int64_t w) const {
  check_side(kOp, h);
  check_side(kOp, w);
  const std::int64_t per_thread = std::max(use_->conv_scratch, use_->block_scratch(a_, b_));
  return Workspace::bytes(padded_floats(h, w), per_thread, glc::threads());
}

void DepthConvBlock::run(MapView<const float> x,
                         std::span<const Sampling> samplings,
                         std::span<const MapView<float>> outs,
                         std::span<std::byte> workspace) const {
  check_input(kOp, x, a_);
  check_size(kOp, "samplings", std::ssize(samplings), n_heads());
  check_size(kOp, "outs", std::ssize(outs), n_heads());
  for (std::size_t g = 0; g < outs.size(); ++g) {
    const Sampling& s = samplings[g];
    check_sampling(kOp, s);
    check_shape(kOp, "out", outs[g], x.n, b_ / n_heads(), s.count(x.h, s.row), s.count(x.w, s.col));
  }
  const std::int64_t per_thread = std::max(use_->conv_scratch, use_->block_scratch(a_, b_));
  const Workspace memory(kOp, workspace, padded_floats(x.h, x.w), per_thread);
  if (x.size() == 0) return;
  for (std::int64_t image = 0; image < x.n; ++image) {
    const MapView<const float> one{x.data + image * a_ * x.h * x.w, 1, a_, x.h, x.w};
    expand(one, memory);
    finish(one, image, samplings, outs, memory);
  }
}

/// LeakyReLU(expand(x)) into the shared workspace, [a][h + 2][w + 2].
void DepthConvBlock::expand(MapView<const float> x, const Workspace& memory) const {
  const std::int64_t pitch = x.w + 2;
  const std::int64_t plane = (x.h + 2) * pitch;
  const std::int64_t n_tiles = tiles(*use_, x.h * x.w);
  const std::int64_t n_panels = panels_per_task(*use_, expand_.n_panels, n_tiles);
  const std::int64_t n_groups = (expand_.n_panels + n_panels - 1) / n_panels;
  float* out = memory.shared();
  std::fill_n(out + a_ * plane, use_->slack, 0.0F);
  const std::int64_t n_borders = (a_ + kBorderChannels - 1) / kBorderChannels;
  memory.for_tasks(n_tiles * n_groups + n_borders, [&](std::int64_t task, float* scratch) {
    if (task >= n_tiles * n_groups) {
      const std::int64_t first = (task - n_tiles * n_groups) * kBorderChannels;
      const std::int64_t end = std::min(first + kBorderChannels, a_);
      for (std::int64_t c = first; c < end; ++c) zero_border(out + c * plane, x.h, x.w);
      return;
    }
    const std::int64_t first_panel = task % n_groups * n_panels;
    use_->conv({.x = x.data,
                .weights = view(expand_),
                .window = window_of(x.h, x.w, {}, 1),
                .tile = tile_of(*use_, task / n_groups, x.h * x.w),
                .in_channels = a_,
                .kernel = 1,
                .n_out = a_,
                .first_panel = first_panel,
                .n_panels = std::min(n_panels, expand_.n_panels - first_panel),
                .activate = true,
                .slope = depth_slope_,
                .shuffle = 1,
                .residual = nullptr,
                .out = out + pitch + 1,
                .plane_stride = plane,
                .row_stride = pitch,
                .w_out = x.w,
                .scratch = scratch});
  });
}

void DepthConvBlock::finish(MapView<const float> x,
                            std::int64_t image,
                            std::span<const Sampling> samplings,
                            std::span<const MapView<float>> outs,
                            const Workspace& memory) const {
  std::int64_t n_tasks = 0;
  for (const auto& out : outs) n_tasks += tiles(*use_, out.h * out.w);
  memory.for_tasks(n_tasks, [&](std::int64_t task, float* scratch) {
    std::size_t g = 0;
    while (task >= tiles(*use_, outs[g].h * outs[g].w))
      task -= tiles(*use_, outs[g].h * outs[g].w), ++g;
    const Sampling& s = samplings[g];
    const MapView<float>& out = outs[g];
    const std::int64_t n_pixels = out.h * out.w;
    use_->block_tail(
        {.expanded = memory.shared(),
         .x = x.data,
         .window =
             {.h = x.h, .w = x.w, .w_out = out.w, .step = s.stride, .row = s.row, .col = s.col},
         .tile = tile_of(*use_, task, n_pixels),
         .a = a_,
         .b = b_,
         .depthwise = depthwise_.data(),
         .depthwise_bias = depthwise_bias_.data(),
         .project = view(project_),
         .adaptor = view(adaptor_),
         .gate = view(gate_),
         .contract = view(heads_[g].packed),
         .contract_channels = heads_[g].channels.data(),
         .slope = gate_slope_,
         .out = out.data + image * out.c * n_pixels,
         .plane_stride = n_pixels,
         .scratch = scratch});
  });
}

}  // namespace glc::exact

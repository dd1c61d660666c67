// SPDX-License-Identifier: Apache-2.0
// The contract of glc/exact.h written out, one output at a time.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "glc/exact.h"

namespace glc::test {

using Floats = std::vector<float>;
using exact::MapView;
using exact::Sampling;

inline float leaky(float v, float slope) { return v > 0.0F ? v : v * slope; }

inline float at(
    const MapView<const float>& x, std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t j) {
  if (i < 0 || j < 0 || i >= x.h || j >= x.w) return 0.0F;
  return x.data[((n * x.c + c) * x.h + i) * x.w + j];
}

inline Floats conv(const MapView<const float>& x,
                   std::span<const float> weight,
                   std::span<const float> bias,
                   std::int64_t out_channels,
                   std::int64_t kernel,
                   const exact::Conv::Options& options) {
  const Sampling& s = options.sampling;
  const std::int64_t h = s.count(x.h, s.row);
  const std::int64_t w = s.count(x.w, s.col);
  const std::int64_t f = options.shuffle;
  Floats out(static_cast<std::size_t>(x.n * out_channels * h * w));
  for (std::int64_t n = 0; n < x.n; ++n) {
    for (std::int64_t c = 0; c < out_channels; ++c) {
      for (std::int64_t i = 0; i < h; ++i) {
        for (std::int64_t j = 0; j < w; ++j) {
          float sum = bias[static_cast<std::size_t>(c)];
          for (std::int64_t tap = 0; tap < kernel * kernel; ++tap) {
            for (std::int64_t ci = 0; ci < x.c; ++ci) {
              const std::int64_t row = s.stride * i + s.row + tap / kernel - kernel / 2;
              const std::int64_t col = s.stride * j + s.col + tap % kernel - kernel / 2;
              const std::int64_t place = (c * x.c + ci) * kernel * kernel + tap;
              sum = std::fma(at(x, n, ci, row, col), weight[static_cast<std::size_t>(place)], sum);
            }
          }
          if (options.slope) sum = leaky(sum, *options.slope);
          const std::int64_t channel = n * (out_channels / (f * f)) + c / (f * f);
          const std::int64_t row = f * i + c % (f * f) / f;
          const std::int64_t place = (channel * f * h + row) * f * w + f * j + c % f;
          if (options.residual.data) sum += options.residual.data[place];
          out[static_cast<std::size_t>(place)] = sum;
        }
      }
    }
  }
  return out;
}

inline Floats depthwise(const MapView<const float>& x,
                        std::span<const float> weight,
                        std::span<const float> bias) {
  Floats out;
  for (std::int64_t c = 0; c < x.n * x.c; ++c) {
    const MapView<const float> plane{x.data + c * x.h * x.w, 1, 1, x.h, x.w};
    const auto channel = static_cast<std::size_t>(c % x.c);
    const Floats one =
        conv(plane, weight.subspan(9 * channel, 9), bias.subspan(channel, 1), 1, 3, {});
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

/// Owns the weights of a DepthConvBlock.
struct BlockFloats {
  Floats expand, expand_bias, depthwise, depthwise_bias, project, project_bias;
  Floats adaptor, adaptor_bias, gate, gate_bias, contract, contract_bias;
  float depth_slope = 0.01F;
  float gate_slope = 0.1F;

  std::vector<std::pair<Floats*, std::int64_t>> parts(std::int64_t a, std::int64_t b) {
    std::vector<std::pair<Floats*, std::int64_t>> all = {{&expand, a * a},
                                                         {&expand_bias, a},
                                                         {&depthwise, 9 * a},
                                                         {&depthwise_bias, a},
                                                         {&project, b * a},
                                                         {&project_bias, b},
                                                         {&gate, 4 * b * b},
                                                         {&gate_bias, 4 * b},
                                                         {&contract, 2 * b * b},
                                                         {&contract_bias, b}};
    if (a != b) all.insert(all.end(), {{&adaptor, b * a}, {&adaptor_bias, b}});
    return all;
  }

  [[nodiscard]] exact::DepthConvBlock::Weights weights(std::int64_t a, std::int64_t b) const {
    return {.in_channels = a,
            .out_channels = b,
            .expand = expand,
            .expand_bias = expand_bias,
            .depthwise = depthwise,
            .depthwise_bias = depthwise_bias,
            .project = project,
            .project_bias = project_bias,
            .adaptor = adaptor,
            .adaptor_bias = adaptor_bias,
            .gate = gate,
            .gate_bias = gate_bias,
            .contract = contract,
            .contract_bias = contract_bias,
            .depth_slope = depth_slope,
            .gate_slope = gate_slope};
  }
};

inline Floats block(const MapView<const float>& x,
                    const BlockFloats& p,
                    std::int64_t b,
                    std::span<const Sampling> samplings) {
  const auto map = [&x](const Floats& values, std::int64_t c) {
    return MapView<const float>{values.data(), x.n, c, x.h, x.w};
  };
  const Floats expanded = conv(x, p.expand, p.expand_bias, x.c, 1, {.slope = p.depth_slope});
  const Floats spatial = depthwise(map(expanded, x.c), p.depthwise, p.depthwise_bias);
  Floats skip(x.data, x.data + x.size());
  if (!p.adaptor.empty()) skip = conv(x, p.adaptor, p.adaptor_bias, b, 1, {});
  const Floats middle =
      conv(map(spatial, x.c), p.project, p.project_bias, b, 1, {.residual = map(skip, b)});
  const Floats both = conv(map(middle, b), p.gate, p.gate_bias, 4 * b, 1, {});
  const std::size_t half = both.size() / static_cast<std::size_t>(2 * x.n);
  Floats gated;
  for (std::size_t image = 0; image < both.size(); image += 2 * half) {
    for (std::size_t i = 0; i < half; ++i) {
      gated.push_back(both[image + i] * leaky(both[image + half + i], p.gate_slope));
    }
  }
  Floats whole =
      conv(map(gated, 2 * b), p.contract, p.contract_bias, b, 1, {.residual = map(middle, b)});
  if (samplings.size() == 1) return whole;
  Floats out;
  const auto n_groups = static_cast<std::int64_t>(samplings.size());
  const std::int64_t size = b / 2 / n_groups;
  for (std::int64_t g = 0; g < n_groups; ++g) {
    const Sampling& s = samplings[static_cast<std::size_t>(g)];
    for (std::int64_t image = 0; image < x.n; ++image) {
      for (const std::int64_t first : {g * size, b / 2 + g * size}) {
        for (std::int64_t c = first; c < first + size; ++c) {
          for (std::int64_t i = s.row; i < x.h; i += s.stride) {
            for (std::int64_t j = s.col; j < x.w; j += s.stride) {
              out.push_back(at(map(whole, b), image, c, i, j));
            }
          }
        }
      }
    }
  }
  return out;
}

}  // namespace glc::test

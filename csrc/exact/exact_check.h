// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string>

#include "core/check.h"
#include "glc/exact.h"

// The contracts of exact.h, shared by every backend.

namespace glc::exact {

// They keep sizes of weights and of planes within 64 bits.
inline constexpr std::int64_t kMaxChannels = 1 << 20;
inline constexpr std::int64_t kMaxSide = 1 << 24;

inline void check_size(const char* op,
                       const char* argument,
                       std::int64_t got,
                       std::int64_t expected) {
  if (got != expected) fail_argument(op, argument, std::to_string(expected) + " elements", got);
}

inline std::string shape_text(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return std::string("[") + std::to_string(n) + ", " + std::to_string(c) + ", " +
         std::to_string(h) + ", " + std::to_string(w) + "]";
}

template <class T>
void check_shape(const char* op,
                 const char* argument,
                 const MapView<T>& map,
                 std::int64_t n,
                 std::int64_t c,
                 std::int64_t h,
                 std::int64_t w) {
  if (map.n != n || map.c != c || map.h != h || map.w != w) {
    fail_argument(op, argument, shape_text(n, c, h, w), shape_text(map.n, map.c, map.h, map.w));
  }
}

/// Of an input that memory is asked for.
inline void check_side(const char* op, std::int64_t side) {
  if (side < 0 || side > kMaxSide) fail_argument(op, "x", "sides of 0 to 2^24", side);
}

inline void check_input(const char* op, const MapView<const float>& x, std::int64_t channels) {
  if (x.c != channels) fail_argument(op, "x", std::to_string(channels) + " channels", x.c);
  if (x.n < 0 || x.h < 0 || x.w < 0 || x.h > kMaxSide || x.w > kMaxSide) {
    fail_argument(op, "x", "sides of 0 to 2^24", shape_text(x.n, x.c, x.h, x.w));
  }
}

inline void check_channels(const char* op, const char* argument, std::int64_t got) {
  if (got < 1 || got > kMaxChannels) fail_argument(op, argument, "1 to 2^20", got);
}

inline void check_sampling(const char* op, const Sampling& s) {
  if (s.stride < 1 || s.stride > 2) fail_argument(op, "stride", "1 or 2", s.stride);
  if (s.row < 0 || s.row >= s.stride) fail_argument(op, "row", "below the stride", s.row);
  if (s.col < 0 || s.col >= s.stride) fail_argument(op, "col", "below the stride", s.col);
}

inline void check_conv_options(const Conv::Options& o,
                               std::int64_t out_channels,
                               std::int64_t kernel) {
  constexpr const char* kOp = "exact_conv2d";
  check_sampling(kOp, o.sampling);
  if (kernel == 3 && (o.sampling.row != 0 || o.sampling.col != 0)) {
    fail_argument(kOp, "row and col", "0 with a 3x3 kernel", o.sampling.row + o.sampling.col);
  }
  if (o.shuffle != 1 && o.shuffle != 2) fail_argument(kOp, "shuffle", "1 or 2", o.shuffle);
  if (o.shuffle == 2 && out_channels % 4 != 0) {
    fail_argument(kOp, "weight", "a multiple of 4 output channels to shuffle", out_channels);
  }
  if (o.shuffle == 2 && o.residual.data != nullptr) {
    fail_argument(kOp, "residual", "none with a shuffle", "one");
  }
}

/// Sizes of a Conv and of its twin on a device.
inline void check_conv_sizes(std::int64_t in_channels,
                             std::int64_t out_channels,
                             std::int64_t kernel) {
  constexpr const char* kOp = "exact_conv2d";
  check_channels(kOp, "in_channels", in_channels);
  check_channels(kOp, "out_channels", out_channels);
  if (kernel != 1 && kernel != 3) fail_argument(kOp, "kernel", "1 or 3", kernel);
}

inline void check_conv_weights(std::span<const float> weight,
                               std::span<const float> bias,
                               std::int64_t in_channels,
                               std::int64_t out_channels,
                               std::int64_t kernel) {
  constexpr const char* kOp = "exact_conv2d";
  check_conv_sizes(in_channels, out_channels, kernel);
  check_size(kOp, "weight", std::ssize(weight), out_channels * in_channels * kernel * kernel);
  check_size(kOp, "bias", std::ssize(bias), out_channels);
}

/// What depthwise3x3 and its twin on a device may be called with.
inline void check_depthwise(const MapView<const float>& x,
                            std::span<const float> weight,
                            std::span<const float> bias,
                            const MapView<float>& out) {
  constexpr const char* kOp = "exact_conv2d";
  check_input(kOp, x, std::ssize(bias));
  check_size(kOp, "weight", std::ssize(weight), 9 * x.c);
  check_shape(kOp, "out", out, x.n, x.c, x.h, x.w);
}

/// What Conv::run and its twin on a device may be called with.
inline void check_conv_run(const Conv::Options& o,
                           const MapView<const float>& x,
                           std::int64_t out_channels,
                           std::int64_t kernel,
                           const MapView<float>& out) {
  constexpr const char* kOp = "exact_conv2d";
  check_conv_options(o, out_channels, kernel);
  const std::int64_t f = o.shuffle;
  const Sampling& s = o.sampling;
  const std::int64_t h = f * s.count(x.h, s.row);
  const std::int64_t w = f * s.count(x.w, s.col);
  check_shape(kOp, "out", out, x.n, out_channels / (f * f), h, w);
  if (o.residual.data != nullptr) {
    check_shape(kOp, "residual", o.residual, out.n, out.c, out.h, out.w);
  }
}

inline void check_block(const DepthConvBlock::Weights& w, std::int64_t n_heads) {
  constexpr const char* kOp = "exact_depth_conv_block";
  const std::int64_t a = w.in_channels;
  const std::int64_t b = w.out_channels;
  check_channels(kOp, "in_channels", a);
  check_channels(kOp, "out_channels", b);
  const auto size = [](std::span<const float> s) { return static_cast<std::int64_t>(s.size()); };
  check_size(kOp, "expand", size(w.expand), a * a);
  check_size(kOp, "expand_bias", size(w.expand_bias), a);
  check_size(kOp, "depthwise", size(w.depthwise), 9 * a);
  check_size(kOp, "depthwise_bias", size(w.depthwise_bias), a);
  check_size(kOp, "project", size(w.project), a * b);
  check_size(kOp, "project_bias", size(w.project_bias), b);
  if (!w.adaptor.empty() || a != b) {
    check_size(kOp, "adaptor", size(w.adaptor), a * b);
    check_size(kOp, "adaptor_bias", size(w.adaptor_bias), b);
  }
  check_size(kOp, "gate", size(w.gate), 4 * b * b);
  check_size(kOp, "gate_bias", size(w.gate_bias), 4 * b);
  check_size(kOp, "contract", size(w.contract), 2 * b * b);
  check_size(kOp, "contract_bias", size(w.contract_bias), b);
  if (n_heads < 1 || n_heads > b || (n_heads > 1 && b % (2 * n_heads) != 0)) {
    fail_argument(kOp, "n_heads", "1, or a divisor of half the output channels", n_heads);
  }
}

}  // namespace glc::exact

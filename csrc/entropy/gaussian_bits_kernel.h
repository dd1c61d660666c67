// SPDX-License-Identifier: Apache-2.0
// The rate kernel: plain scalar code that compilers turn into vectors. It is a template over a tag
// naming the instruction set, so that each file that instantiates it gets symbols of its own.
//
// Both tails of the bin share the exponential of their density:
//   Q(x) = exp(-x^2 / 2) * g(1 / (1 + 0.3 x)), x >= 0
// with g a polynomial of degree 8 fitted to 5e-8 relative on [0, 9]; beyond, Q is far below the
// floor of 1e-5. So a bin costs two exponentials, one logarithm and four divisions, slopes
// included.
#pragma once

#include <cstdint>

namespace glc::entropy {

struct GaussianBitsParams {
  const float* y;
  const float* mean;
  const float* scale;
  const float* noise;  // in [0, 1), or null: round
  float* bits;
  float* by_symbol;  // both slopes or neither
  float* by_scale;
  std::int64_t n;
};

struct GaussianBitsBackwardParams {
  const float* grad;
  const float* bits;
  const float* by_symbol;
  const float* by_scale;
  float* grad_y;
  float* grad_mean;
  float* grad_scale;
  std::int64_t n;
};

template <class Isa>
struct GaussianBitsKernel {
  static constexpr float kScaleMin = 1e-5F;
  static constexpr float kScaleMax = 1e10F;
  static constexpr float kFloor = 1e-5F;
  static constexpr float kFar = 13.0F;  // exp(-kFar^2 / 2) is still a normal number
  static constexpr float kInvSqrtTwoPi = 0.3989422804014327F;
  static constexpr float kInvLn2 = 1.4426950408889634F;
  static constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23

  template <class... Rest>
  static float horner(float x, float first, Rest... rest) {
    if constexpr (sizeof...(rest) == 0) {
      return first;
    } else {
      return Isa::fma(x, horner(x, rest...), first);
    }
  }

  /// exp(x) for -87 <= x <= 0, to 1e-7 relative.
  static float exp_negative(float x) {
    const float shifted = Isa::fma(x, kInvLn2, kRounder);
    const float n = shifted - kRounder;
    const float r = Isa::fma(n, -0x1.7f7d1cp-20F, Isa::fma(n, -0x1.62e4p-1F, x));  // x - n ln 2
    const float tail = horner(r, 0.49999994F, 0.16666521F, 0.04166839F, 0.00836871F, 0.0013814613F);
    const float fraction = Isa::fma(r * r, tail, r) + 1.0F;
    constexpr std::uint32_t kOne = 0x3F800000;
    const std::uint32_t power = (__builtin_bit_cast(std::uint32_t, shifted) << 23) + kOne;
    return fraction * __builtin_bit_cast(float, power);
  }

  /// log2(x) for normal x > 0, to 1e-7 absolute.
  static float log2(float x) {
    constexpr std::uint32_t kSqrtHalf = 0x3F3504F3;
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x) - kSqrtHalf;
    const auto exponent = static_cast<float>(static_cast<std::int32_t>(bits) >> 23);
    const float mantissa = __builtin_bit_cast(float, (bits & 0x7FFFFFU) + kSqrtHalf);
    const float f = mantissa - 1.0F;
    const float q = horner(f,
                           1.4426949F,
                           -0.72134715F,
                           0.48092252F,
                           -0.3607212F,
                           0.28765666F,
                           -0.23851945F,
                           0.21737939F,
                           -0.21030334F,
                           0.12541242F);
    return Isa::fma(f, q, exponent);
  }

  /// Upper tail of the normal distribution at x >= 0, given exp(-x^2 / 2).
  static float upper_tail(float x, float gauss) {
    const float t = 1.0F / Isa::fma(0.3F, x, 1.0F);
    const float g = horner(t,
                           0.11960549F,
                           0.1211057F,
                           0.09778396F,
                           0.13542014F,
                           -0.06640256F,
                           0.21997122F,
                           -0.16501965F,
                           0.037535705F);
    return gauss * t * g;
  }

  /// Half to even: from 2^23 on every float is an integer, and adding 2^23 rounds the others.
  static float round(float x) {
    constexpr float kAllIntegers = 8388608.0F;
    const float rounder = __builtin_copysignf(kAllIntegers, x);
    return __builtin_fabsf(x) < kAllIntegers ? (x + rounder) - rounder : x;
  }

  // Every comparison below is false for NaN and then keeps it, so that training sees it.
  // The pointers are parameters because compilers take `restrict` at its word only there.
  template <bool kNoise, bool kSlopes>
  static void forward_loop(const float* __restrict y,
                           const float* __restrict mean,
                           const float* __restrict scales,
                           const float* __restrict noise,
                           float* __restrict bits,
                           float* __restrict by_symbol,
                           float* __restrict by_scale,
                           std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const float residual = y[i] - mean[i];
      float symbol;
      if constexpr (kNoise) {
        symbol = residual + (noise[i] - 0.5F);
      } else {
        symbol = round(residual);
      }
      const float raw_scale = scales[i];
      float scale = raw_scale < kScaleMin ? kScaleMin : raw_scale;
      scale = scale > kScaleMax ? kScaleMax : scale;
      const float inverse = 1.0F / scale;
      const float magnitude = __builtin_fabsf(symbol);
      float far = (magnitude + 0.5F) * inverse;  // > 0
      float near = (magnitude - 0.5F) * inverse;
      far = far > kFar ? kFar : far;
      near = near > kFar ? kFar : near;
      near = near < -kFar ? -kFar : near;
      const float gauss_far = exp_negative(-0.5F * far * far);
      const float gauss_near = exp_negative(-0.5F * near * near);
      const float tail_near = upper_tail(__builtin_fabsf(near), gauss_near);
      const float above_near = near < 0.0F ? 1.0F - tail_near : tail_near;
      const float probability = above_near - upper_tail(far, gauss_far) + kFloor;
      const float raw = (probability - probability) - log2(probability);  // log2 would lose a NaN
      bits[i] = raw < 0.0F ? -0.0F : raw;
      if constexpr (kSlopes) {
        const float factor = kInvLn2 * kInvSqrtTwoPi * inverse / probability;
        const float slope = factor * (gauss_near - gauss_far);
        by_symbol[i] = __builtin_copysignf(1.0F, symbol) * slope;
        const float by_clamped = factor * (far * gauss_far - near * gauss_near);
        by_scale[i] = by_clamped * (scale == raw_scale ? 1.0F : 0.0F);
      }
    }
  }

  template <bool kNoise, bool kSlopes>
  static void forward_as(const GaussianBitsParams& p) {
    forward_loop<kNoise, kSlopes>(
        p.y, p.mean, p.scale, p.noise, p.bits, p.by_symbol, p.by_scale, p.n);
  }

  static void forward(const GaussianBitsParams& p) {
    const bool slopes = p.by_symbol != nullptr;
    if (p.noise != nullptr) {
      slopes ? forward_as<true, true>(p) : forward_as<true, false>(p);
    } else {
      slopes ? forward_as<false, true>(p) : forward_as<false, false>(p);
    }
  }

  static void backward_loop(const float* __restrict grad,
                            const float* __restrict bits,
                            const float* __restrict by_symbol,
                            const float* __restrict by_scale,
                            float* __restrict grad_y,
                            float* __restrict grad_mean,
                            float* __restrict grad_scale,
                            std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const bool bounded = __builtin_bit_cast(std::uint32_t, bits[i]) == 0x80000000U;  // -0.0
      const bool blocked = bounded && grad[i] >= 0.0F;
      const float passed = blocked ? 0.0F : grad[i];
      const float by_y = passed * by_symbol[i];
      grad_y[i] = by_y;
      grad_mean[i] = -by_y;
      grad_scale[i] = passed * by_scale[i];
    }
  }

  static void backward(const GaussianBitsBackwardParams& p) {
    backward_loop(
        p.grad, p.bits, p.by_symbol, p.by_scale, p.grad_y, p.grad_mean, p.grad_scale, p.n);
  }
};

/// One instruction set's kernels.
struct GaussianBitsBackend {
  void (*forward)(const GaussianBitsParams&);
  void (*backward)(const GaussianBitsBackwardParams&);
};

GaussianBitsBackend gaussian_bits_avx2();

}  // namespace glc::entropy

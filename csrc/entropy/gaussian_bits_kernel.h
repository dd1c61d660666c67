// SPDX-License-Identifier: Apache-2.0
// The rate kernels: one template over the Vec trait of vec_avx512.h, so that each file that
// instantiates it gets symbols of its own.
//
// Both tails of the bin share the exponential of their density:
//   Q(x) = exp(-x^2 / 2) * g(1 / (1 + 0.3 x)), x >= 0
// with g a polynomial of degree 8 fitted to 5e-8 relative on [0, 9]; beyond, Q is far below the
// floor of 1e-5. The reciprocals of both tails come from one division. So a bin costs two
// exponentials, one logarithm and two divisions, its slopes one division more. The backward pass
// computes the slopes anew: to keep them would move more memory than it saves work.
#pragma once

#include <cstdint>

namespace glc::entropy {

template <class V>
struct GaussianBitsKernel {
  using F = typename V::F;
  using U = typename V::U;
  using Mask = typename V::Mask;

  static constexpr float kScaleMin = 1e-5F;
  static constexpr float kScaleMax = 1e10F;
  static constexpr float kFloor = 1e-5F;
  static constexpr float kFar = 12.0F;  // exp(-kFar^2 / 2), and far less, are normal numbers
  static constexpr float kInvSqrtTwoPi = 0.3989422804014327F;
  static constexpr float kInvLn2 = 1.4426950408889634F;

  template <class... Rest>
  static F horner(F x, float first, Rest... rest) {
    if constexpr (sizeof...(rest) == 0) {
      return V::splat(first);
    } else {
      return V::fma(x, horner(x, rest...), V::splat(first));
    }
  }

  /// exp(x) for -87 <= x <= 0, to 1e-7 relative.
  static F exp_negative(F x) {
    const F rounder = V::splat(12582912.0F);  // 1.5 * 2^23
    const F n = V::fma(x, V::splat(kInvLn2), rounder) - rounder;
    const F above = V::fma(n, V::splat(-0x1.62e4p-1F), x);
    const F r = V::fma(n, V::splat(-0x1.7f7d1cp-20F), above);  // x - n ln 2
    const F tail = horner(r, 0.49999994F, 0.16666521F, 0.04166839F, 0.00836871F, 0.0013814613F);
    return V::scale(V::fma(r * r, tail, r) + V::splat(1.0F), n);
  }

  /// log2(x) for normal x > 0, to 1e-7 absolute.
  static F log2(F x) {
    const U sqrt_half = V::splat(0x3F3504F3U);
    const U bits = V::sub(V::bits(x), sqrt_half);
    const F exponent = V::from_signed(V::shift_right_signed(bits, 23));
    const F mantissa = V::floats(V::add(V::both(bits, V::splat(0x7FFFFFU)), sqrt_half));
    const F f = mantissa - V::splat(1.0F);
    const F q = horner(f,
                       1.4426949F,
                       -0.72134715F,
                       0.48092252F,
                       -0.3607212F,
                       0.28765666F,
                       -0.23851945F,
                       0.21737939F,
                       -0.21030334F,
                       0.12541242F);
    return V::fma(f, q, exponent);
  }

  /// Q(x) / exp(-x^2 / 2) for x >= 0, given t = 1 / (1 + 0.3 x).
  static F tail_ratio(F t) {
    const F g = horner(t,
                       0.11960549F,
                       0.1211057F,
                       0.09778396F,
                       0.13542014F,
                       -0.06640256F,
                       0.21997122F,
                       -0.16501965F,
                       0.037535705F);
    return t * g;
  }

  /// A bin: its edges in units of scale, exp(-edge^2 / 2) of each, and what lies between them.
  struct Bin {
    F symbol;
    F scale;  // clamped
    F inverse;
    F far;  // > 0
    F near;
    F gauss_far;
    F gauss_near;
    F probability;  // with the floor; NaN where an input is
  };

  // max and min keep a NaN in their second operand, so that training sees it.
  template <bool kNoise>
  static Bin bin(F y, F mean, F raw_scale, F noise) {
    Bin b;
    b.symbol = y - mean;
    if constexpr (kNoise) {
      b.symbol = b.symbol + noise;
    } else {
      b.symbol = V::round(b.symbol);
    }
    b.scale = V::min(V::splat(kScaleMax), V::max(V::splat(kScaleMin), raw_scale));
    const F one = V::splat(1.0F);
    const F half = V::splat(0.5F);
    b.inverse = one / b.scale;
    const F magnitude = V::abs(b.symbol);
    const F end = V::splat(kFar);
    b.far = V::min(end, (magnitude + half) * b.inverse);
    b.near = V::max(V::splat(-kFar), V::min(end, (magnitude - half) * b.inverse));
    b.gauss_far = exp_negative(V::splat(-0.5F) * b.far * b.far);
    b.gauss_near = exp_negative(V::splat(-0.5F) * b.near * b.near);
    const F den_far = V::fma(V::splat(0.3F), b.far, one);
    const F den_near = V::fma(V::splat(0.3F), V::abs(b.near), one);
    const F inverse_both = one / (den_far * den_near);
    const F tail_far = b.gauss_far * tail_ratio(inverse_both * den_near);
    const F tail_near = b.gauss_near * tail_ratio(inverse_both * den_far);
    const F above_near = V::select(V::less(b.near, V::splat(0.0F)), one - tail_near, tail_near);
    b.probability = (above_near - tail_far) + V::splat(kFloor);
    return b;
  }

  template <bool kNoise>
  static void forward_as(const float* y,
                         const float* mean,
                         const float* scale,
                         const float* noise,
                         float* bits,
                         std::int64_t n) {
    const F zero = V::splat(0.0F);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F shift = kNoise ? V::load(noise + i) : zero;
      const Bin b = bin<kNoise>(V::load(y + i), V::load(mean + i), V::load(scale + i), shift);
      // log2 would lose a NaN
      const F raw = (b.probability - b.probability) - log2(b.probability);
      V::store(bits + i, V::max(zero, raw));
    }
  }

  static void forward(const float* y,
                      const float* mean,
                      const float* scale,
                      const float* noise,
                      float* bits,
                      std::int64_t n) {
    noise != nullptr ? forward_as<true>(y, mean, scale, noise, bits, n)
                     : forward_as<false>(y, mean, scale, noise, bits, n);
  }

  template <bool kNoise>
  static void backward_as(const float* grad,
                          const float* y,
                          const float* mean,
                          const float* scale,
                          const float* noise,
                          float* grad_y,
                          float* grad_mean,
                          float* grad_scale,
                          std::int64_t n) {
    const F zero = V::splat(0.0F);
    const F one = V::splat(1.0F);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F shift = kNoise ? V::load(noise + i) : zero;
      const F raw_scale = V::load(scale + i);
      const Bin b = bin<kNoise>(V::load(y + i), V::load(mean + i), raw_scale, shift);
      // bits before their bound at 0 are negative where the probability is above 1
      const F all = V::load(grad + i);
      const F passed = V::select(V::less(one, b.probability), V::min(zero, all), all);
      const F factor = passed * V::splat(kInvLn2 * kInvSqrtTwoPi) * (b.inverse / b.probability);
      const F slope = factor * (b.gauss_near - b.gauss_far);
      const F by_y = V::copysign(one, b.symbol) * slope;
      const F by_scale = factor * (b.far * b.gauss_far - b.near * b.gauss_near);
      V::store(grad_y + i, by_y);
      V::store(grad_mean + i, zero - by_y);
      // not a mask: NaN must stay
      V::store(grad_scale + i, by_scale * V::where(V::equal(b.scale, raw_scale), one));
    }
  }

  static void backward(const float* grad,
                       const float* y,
                       const float* mean,
                       const float* scale,
                       const float* noise,
                       float* grad_y,
                       float* grad_mean,
                       float* grad_scale,
                       std::int64_t n) {
    noise != nullptr
        ? backward_as<true>(grad, y, mean, scale, noise, grad_y, grad_mean, grad_scale, n)
        : backward_as<false>(grad, y, mean, scale, noise, grad_y, grad_mean, grad_scale, n);
  }

  /// Adds in double precision, in an order that depends on n alone.
  static double sum(const float* values, std::int64_t n) {
    typename V::Sum sum;
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      sum.add(V::load(values + i));
    }
    return sum.total();
  }

  /// U[-1/2, 1/2) for 64 elements of a row, from element 64 block on. Element 64 block + 16 w + i
  /// takes the upper 24 bits of word w of Philox4x32-10 (Salmon et al. 2011) at the counter
  /// (16 block + i, row), 64 bits each.
  static void noise(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out) {
    constexpr int kGroup = 16;
    const U mul0 = V::splat(0xD2511F53U);
    const U mul1 = V::splat(0xCD9E8D57U);
    for (int i = 0; i < kGroup; i += V::kLanes) {
      const std::uint64_t first = block * kGroup + static_cast<std::uint64_t>(i);
      U word[4] = {V::add(V::splat(static_cast<std::uint32_t>(first)), V::iota()),
                   V::splat(static_cast<std::uint32_t>(first >> 32)),
                   V::splat(static_cast<std::uint32_t>(row)),
                   V::splat(static_cast<std::uint32_t>(row >> 32))};
      auto key0 = static_cast<std::uint32_t>(seed);
      auto key1 = static_cast<std::uint32_t>(seed >> 32);
      for (int round = 0; round < 10; ++round) {
        U high0;
        U high1;
        const U low0 = V::multiply(word[0], mul0, &high0);
        const U low1 = V::multiply(word[2], mul1, &high1);
        word[0] = V::differ(V::differ(high1, word[1]), V::splat(key0));
        word[1] = low1;
        word[2] = V::differ(V::differ(high0, word[3]), V::splat(key1));
        word[3] = low0;
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
      }
      for (int w = 0; w < 4; ++w) {
        const F unit = V::from_signed(V::shift_right(word[w], 8)) * V::splat(0x1p-24F);
        V::store(out + kGroup * w + i, unit - V::splat(0.5F));
      }
    }
  }
};

/// One instruction set's kernels. All sizes are multiples of 16: callers pad.
struct GaussianBitsBackend {
  void (*forward)(const float* y,
                  const float* mean,
                  const float* scale,
                  const float* noise,  // or null: round
                  float* bits,
                  std::int64_t n);
  void (*backward)(const float* grad,
                   const float* y,
                   const float* mean,
                   const float* scale,
                   const float* noise,
                   float* grad_y,
                   float* grad_mean,
                   float* grad_scale,
                   std::int64_t n);
  double (*sum)(const float* values, std::int64_t n);
  void (*noise)(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out);

  template <class V>
  static GaussianBitsBackend of() {
    using Kernel = GaussianBitsKernel<V>;
    return {.forward = &Kernel::forward,
            .backward = &Kernel::backward,
            .sum = &Kernel::sum,
            .noise = &Kernel::noise};
  }
};

GaussianBitsBackend gaussian_bits_avx2();
GaussianBitsBackend gaussian_bits_avx512();

}  // namespace glc::entropy

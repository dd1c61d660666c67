// SPDX-License-Identifier: Apache-2.0
// The rate kernels: one template over the Vec trait of vec_avx512.h, so that each file that
// instantiates it gets symbols of its own. Where kHasExp2, V::exp2 is one instruction and
// takes any argument; V::estimate is a quotient to 2e-7 relative.
//
// Both tails of the bin share the exponential of their density:
//   Q(x) = exp(-x^2 / 2) * g(1 / (1 + 0.3 x)), x >= 0
// with g a polynomial of degree 8 fitted to 5e-8 relative on [0, 9]; beyond, Q is far below the
// floor of 1e-5. So a bin costs two exponentials, one logarithm and three divisions, its slopes one
// division more. On the CPU, estimates of reciprocals with a Newton step, and one division for both
// tails, measured slower: both lengthen the chain. The backward pass computes the slopes anew: to
// keep them would move more memory than it saves work.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace glc::entropy {

template <class V>
struct GaussianBitsKernel {
  using F = typename V::F;
  using U = typename V::U;
  using Mask = typename V::Mask;

  static constexpr float kScaleMin = 1e-5F;
  static constexpr float kScaleMax = 1e10F;
  static constexpr float kFloor = 1e-5F;
  // Edges are measured in units of scale * kUnit, which makes exp(-x^2 / 2) a power of two.
  static constexpr float kUnit = 1.1774100225154747F;  // sqrt(2 ln 2)
  static constexpr float kFar = 10.0F;                 // 2^(-kFar^2), and less, are normal numbers
  static constexpr float kSlope = 0.57554930F;         // 1 / (ln 2 sqrt(2 pi))

  /// c0 + c1 x + c2 x^2 + c3 x^3, given x^2. Sums of pairs: the loops wait for results, so short
  /// chains matter more than few operations.
  GLC_HOST_DEVICE static F cubic(F x, F x2, float c0, float c1, float c2, float c3) {
    const F low = V::fma(x, V::splat(c1), V::splat(c0));
    const F high = V::fma(x, V::splat(c3), V::splat(c2));
    return V::fma(x2, high, low);
  }

  /// 2^(-x^2) for |x| <= kFar, to 1e-7 relative.
  GLC_HOST_DEVICE static F gauss(F x) {
    if constexpr (V::kHasExp2) return V::exp2(V::negative_product(x, x));
    const F n = V::round_small(V::negative_product(x, x));
    const F f = V::fma(x, x, n);  // exact: one rounding, of a small number
    const F f2 = f * f;
    const F top = V::fma(f, V::splat(-0.0013264720F), V::splat(0.009671513F));
    const F low = cubic(f, f2, 1.0F, -0.693147F, 0.24022242F, -0.055507336F);
    return V::scale(V::fma(f2 * f2, top, low), n);
  }

  /// log2(x) for normal x > 0, to 1e-7 absolute.
  GLC_HOST_DEVICE static F log2(F x) {
    const U sqrt_half = V::splat(0x3F3504F3U);
    const U bits = V::sub(V::bits(x), sqrt_half);
    const F exponent = V::from_signed(V::shift_right_signed(bits, 23));
    const F mantissa = V::floats(V::add(V::both(bits, V::splat(0x7FFFFFU)), sqrt_half));
    const F f = mantissa - V::splat(1.0F);
    const F f2 = f * f;
    const F f4 = f2 * f2;
    const F low = cubic(f, f2, 1.4426949F, -0.72134715F, 0.48092252F, -0.3607212F);
    const F high = cubic(f, f2, 0.28765666F, -0.23851945F, 0.21737939F, -0.21030334F);
    const F all = V::fma(f4, V::fma(f4, V::splat(0.12541242F), high), low);
    return V::fma(f, all, exponent);
  }

  /// Q(x) / exp(-x^2 / 2), given t = 1 / (1 + 0.3 x).
  GLC_HOST_DEVICE static F tail_ratio(F t) {
    if constexpr (V::kHasExp2) {  // other threads wait as well: few operations
      F high = V::fma(V::splat(0.037535705F), t, V::splat(-0.16501965F));
      high = V::fma(V::fma(high, t, V::splat(0.21997122F)), t, V::splat(-0.06640256F));
      high = V::fma(V::fma(high, t, V::splat(0.13542014F)), t, V::splat(0.09778396F));
      return t * V::fma(V::fma(high, t, V::splat(0.1211057F)), t, V::splat(0.11960549F));
    }
    const F t2 = t * t;
    const F low = cubic(t, t2, 0.11960549F, 0.1211057F, 0.09778396F, 0.13542014F);
    const F high = cubic(t, t2, -0.06640256F, 0.21997122F, -0.16501965F, 0.037535705F);
    return t * V::fma(t2 * t2, high, low);
  }

  /// A bin: its edges, the density at each relative to its peak, and what lies between them.
  struct Bin {
    F symbol;
    F scale;    // clamped
    F inverse;  // of scale * kUnit
    F far;      // > 0
    F near;
    F gauss_far;
    F gauss_near;
    F probability;  // with the floor; NaN where an input is
  };

  // max and min keep a NaN in their second operand, so that training sees it.
  template <bool kNoise>
  GLC_HOST_DEVICE static Bin bin(F y, F mean, F raw_scale, F noise) {
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
    b.inverse = V::quotient(V::splat(1.0F / kUnit), b.scale);
    const F magnitude = V::abs(b.symbol);
    const F end = V::splat(kFar);
    b.far = V::min(end, (magnitude + half) * b.inverse);
    b.near = V::min(end, (magnitude - half) * b.inverse);
    if constexpr (!V::kHasExp2) b.near = V::max(V::splat(-kFar), b.near);
    b.gauss_far = gauss(b.far);
    b.gauss_near = gauss(b.near);
    const F den_far = V::fma(V::splat(0.3F * kUnit), b.far, one);
    const F den_near = V::fma(V::splat(0.3F * kUnit), V::abs(b.near), one);
    const F tail_far = b.gauss_far * tail_ratio(V::quotient(one, den_far));
    const F tail_near = b.gauss_near * tail_ratio(V::quotient(one, den_near));
    const F above_near = V::select(V::less(b.near, V::splat(0.0F)), one - tail_near, tail_near);
    b.probability = (above_near - tail_far) + V::splat(kFloor);
    return b;
  }

  GLC_HOST_DEVICE static F bits_of(const Bin& b) {
    // log2 would lose a NaN
    const F raw = (b.probability - b.probability) - log2(b.probability);
    return V::max(V::splat(0.0F), raw);
  }

  struct Slopes {
    F y;
    F scale;
  };

  GLC_HOST_DEVICE static Slopes slopes_of(const Bin& b, F grad, F raw_scale) {
    const F one = V::splat(1.0F);
    // bits before their bound at 0 are negative where the probability is above 1
    const F held = V::min(V::splat(0.0F), grad);
    const F passed = V::select(V::less(one, b.probability), held, grad);
    const F factor = passed * V::splat(kSlope * kUnit) * V::estimate(b.inverse, b.probability);
    const F slope = factor * (b.gauss_near - b.gauss_far);
    const F weighted = b.far * b.gauss_far - b.near * b.gauss_near;
    const F by_scale = factor * V::splat(kUnit) * weighted;
    // a product, not a mask: NaN must stay
    const F kept = by_scale * V::where(V::equal(b.scale, raw_scale), one);
    return {V::flip(slope, b.symbol), kept};
  }

  /// Four words of the counter (first, row), 64 bits each.
  GLC_HOST_DEVICE static void philox(
      std::uint64_t seed, std::uint64_t row, std::uint64_t first, U lanes, U* word) {
    const U mul0 = V::splat(std::uint32_t{0xD2511F53U});
    const U mul1 = V::splat(std::uint32_t{0xCD9E8D57U});
    word[0] = V::add(V::splat(static_cast<std::uint32_t>(first)), lanes);
    word[1] = V::splat(static_cast<std::uint32_t>(first >> 32));
    word[2] = V::splat(static_cast<std::uint32_t>(row));
    word[3] = V::splat(static_cast<std::uint32_t>(row >> 32));
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
  }

  GLC_HOST_DEVICE static F centred(U word) {
    const F unit = V::from_signed(V::shift_right(word, 8)) * V::splat(0x1p-24F);
    return unit - V::splat(0.5F);
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
      V::store(bits + i, bits_of(b));
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
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F shift = kNoise ? V::load(noise + i) : zero;
      const F raw_scale = V::load(scale + i);
      const Bin b = bin<kNoise>(V::load(y + i), V::load(mean + i), raw_scale, shift);
      const Slopes slopes = slopes_of(b, V::load(grad + i), raw_scale);
      V::store(grad_y + i, slopes.y);
      V::store(grad_mean + i, V::flip(slopes.y, V::splat(-0.0F)));
      V::store(grad_scale + i, slopes.scale);
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

  /// The sum of the bits of the first `count` of n elements, in double precision and in an order
  /// that depends on n alone. Bounded at 1, several probabilities share a logarithm: their product.
  template <bool kNoise>
  static double total_as(const float* y,
                         const float* mean,
                         const float* scale,
                         const float* noise,
                         std::int64_t n,
                         std::int64_t count) {
    constexpr std::int64_t kFactors = 6;  // kFloor to the 6th is a normal number
    const F one = V::splat(1.0F);
    const F lanes = V::from_signed(V::iota());
    typename V::Sum sum;
    for (std::int64_t first = 0; first < n; first += kFactors * V::kLanes) {
      const std::int64_t end = first + kFactors * V::kLanes < n ? first + kFactors * V::kLanes : n;
      F product = one;
      for (std::int64_t i = first; i < end; i += V::kLanes) {
        const F shift = kNoise ? V::load(noise + i) : one;
        const Bin b = bin<kNoise>(V::load(y + i), V::load(mean + i), V::load(scale + i), shift);
        F factor = V::min(one, b.probability);
        if (count - i < V::kLanes) {
          factor = V::select(V::less(lanes, V::splat(static_cast<float>(count - i))), factor, one);
        }
        product = product * factor;
      }
      sum.add((product - product) - log2(product));  // log2 would lose a NaN
    }
    return sum.total();
  }

  static double total(const float* y,
                      const float* mean,
                      const float* scale,
                      const float* noise,
                      std::int64_t n,
                      std::int64_t count) {
    return noise != nullptr ? total_as<true>(y, mean, scale, noise, n, count)
                            : total_as<false>(y, mean, scale, noise, n, count);
  }

  /// U[-1/2, 1/2) for 64 elements of a row, from element 64 block on. Element 64 block + 16 w + i
  /// takes the upper 24 bits of word w of Philox4x32-10 (Salmon et al. 2011) at the counter
  /// (16 block + i, row), 64 bits each.
  static void noise(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out) {
    constexpr int kGroup = 16;
    for (int i = 0; i < kGroup; i += V::kLanes) {
      U word[4];
      philox(seed, row, block * kGroup + static_cast<std::uint64_t>(i), V::iota(), word);
      for (int w = 0; w < 4; ++w) {
        V::store(out + kGroup * w + i, centred(word[w]));
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
  double (*total)(const float* y,
                  const float* mean,
                  const float* scale,
                  const float* noise,
                  std::int64_t n,
                  std::int64_t count);
  void (*noise)(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out);

  template <class V>
  static GaussianBitsBackend of() {
    using Kernel = GaussianBitsKernel<V>;
    return {.forward = &Kernel::forward,
            .backward = &Kernel::backward,
            .total = &Kernel::total,
            .noise = &Kernel::noise};
  }
};

GaussianBitsBackend gaussian_bits_avx2();
GaussianBitsBackend gaussian_bits_avx512();

}  // namespace glc::entropy

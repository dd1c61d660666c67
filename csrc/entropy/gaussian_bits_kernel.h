// SPDX-License-Identifier: Apache-2.0
// The formulas of rates, for the CPU and a device: one template over the Vec trait of
// vec_avx512.h, so that each file that instantiates it gets symbols of its own. Where kHasExp2,
// V::exp2 is one instruction and takes any argument; V::estimate is a quotient to 2e-7 relative.
//
// Both tails of the bin share the exponential of their density:
//   Q(x) = exp(-x^2 / 2) * g(1 / (1 + 0.25 x)), x >= 0
// with g a polynomial of degree 7 whose error is below 5e-8 of Q + 1e-5, which is what a
// probability is compared with (the floor). So a bin costs two exponentials, one logarithm and
// three divisions, its slopes one division more. Whoever calls these keeps several vectors in
// flight: the fewest operations win, however long the chain, so polynomials are Horner's, and
// constants are within the coefficients.
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
  static constexpr float kPeak = 0.67766075F;          // kUnit / (ln 2 sqrt(2 pi)), see Tail
  static constexpr float kLogPeak = -0.56136488F;      // its logarithm to base 2
  static constexpr float kTail = 0.25F;                // of the tails' variable 1 / (1 + kTail x)

  /// The polynomial with these coefficients, the one of the highest power first.
  template <class... Coefficients>
  GLC_HOST_DEVICE static F polynomial(F x, float first, Coefficients... rest) {
    F sum = V::splat(first);
    ((sum = V::fma(sum, x, V::splat(rest))), ...);
    return sum;
  }

  /// kPeak 2^(-x^2) for |x| <= kFar, to 1e-7 relative.
  GLC_HOST_DEVICE static F density(F x) {
    if constexpr (V::kHasExp2) return V::exp2(V::fnma(x, x, V::splat(kLogPeak)));
    const F n = V::round_small(V::fnma(x, x, V::splat(0.0F)));
    const F f = V::fma(x, x, n);  // exact: one rounding, of a small number
    return V::scale(polynomial(f,
                               -0.0013264720F * kPeak,
                               0.009671513F * kPeak,
                               -0.055507336F * kPeak,
                               0.24022242F * kPeak,
                               -0.693147F * kPeak,
                               kPeak),
                    n);
  }

  /// log2(x) for normal x > 0, to 1e-7 absolute.
  GLC_HOST_DEVICE static F log2(F x) {
    const U sqrt_half = V::splat(0x3F3504F3U);
    const U bits = V::sub(V::bits(x), sqrt_half);
    const F exponent = V::from_signed(V::shift_right_signed(bits, 23));
    const F mantissa = V::floats(V::add(V::both(bits, V::splat(0x7FFFFFU)), sqrt_half));
    const F f = mantissa - V::splat(1.0F);
    return V::fma(f,
                  polynomial(f,
                             -0.1457446F,
                             0.23689058F,
                             -0.25006908F,
                             0.28670743F,
                             -0.36008722F,
                             0.48093945F,
                             -0.72135717F,
                             1.4426948F),
                  exponent);
  }

  /// Q(x) / (kPeak exp(-x^2 / 2)), given t = 1 / (1 + 0.25 x).
  GLC_HOST_DEVICE static F tail_ratio(F t) {
    return t * polynomial(t,
                          -0.095967136F / kPeak,
                          0.36149964F / kPeak,
                          -0.3041942F / kPeak,
                          0.3176586F / kPeak,
                          0.0050452477F / kPeak,
                          0.11778088F / kPeak,
                          0.09817698F / kPeak);
  }

  /// A bin, in units of scale * kUnit on either side of the mean.
  struct Edges {
    F symbol;
    F inverse;  // of scale * kUnit
    F far;      // > 0
    F near;
  };

  template <bool kNoise>
  GLC_HOST_DEVICE static Edges edges(F y, F mean, F raw_scale, F noise) {
    Edges e;
    e.symbol = y - mean;
    if constexpr (kNoise) {
      e.symbol = e.symbol + noise;
    } else {
      e.symbol = V::round(e.symbol);
    }
    // max and min keep a NaN in their second operand, so that training sees it
    const F scale = V::min(V::splat(kScaleMax), V::max(V::splat(kScaleMin), raw_scale));
    e.inverse = V::quotient(V::splat(1.0F / kUnit), scale);
    const F magnitude = V::abs(e.symbol);
    const F half = V::splat(0.5F);
    const F end = V::splat(kFar);
    e.far = V::min(end, (magnitude + half) * e.inverse);
    e.near = V::min(end, (magnitude - half) * e.inverse);
    if constexpr (!V::kHasExp2) e.near = V::max(V::splat(-kFar), e.near);
    return e;
  }

  /// The density at an edge, times what makes its difference over a bin a slope of bits (kPeak at
  /// the mean), and what lies beyond |edge| on one side.
  struct Tail {
    F density;
    F beyond;
  };

  GLC_HOST_DEVICE static Tail tail(F edge) {
    const F one = V::splat(1.0F);
    const F den = V::fma(V::splat(kTail * kUnit), V::abs(edge), one);
    const F height = density(edge);
    return {height, height * tail_ratio(V::quotient(one, den))};
  }

  /// With the floor; NaN where an input is.
  GLC_HOST_DEVICE static F probability(F near, F beyond_near, F beyond_far) {
    const F above_near =
        V::select(V::less(near, V::splat(0.0F)), V::splat(1.0F) - beyond_near, beyond_near);
    return (above_near - beyond_far) + V::splat(kFloor);
  }

  GLC_HOST_DEVICE static F bits_of(F probability) {
    // log2 would lose a NaN
    const F raw = (probability - probability) - log2(probability);
    return V::max(V::splat(0.0F), raw);
  }

  /// How the densities at its edges pull at a bin's probability.
  struct Pull {
    F on_symbol;
    F on_scale;
  };

  GLC_HOST_DEVICE static Pull pull(F near, F density_near, F far, F density_far) {
    return {density_near - density_far, V::fnma(near, density_near, far * density_far)};
  }

  struct Slopes {
    F y;
    F scale;
  };

  /// Of the bits before their bound at 0.
  GLC_HOST_DEVICE static Slopes slopes_of(
      F symbol, F inverse, const Pull& pull, F probability, F raw_scale) {
    const F factor = V::estimate(inverse, probability);
    const F by_scale = factor * V::splat(kUnit) * pull.on_scale;
    // comparisons that let a NaN stay
    const F zero = V::splat(0.0F);
    const F above = V::select(V::less(raw_scale, V::splat(kScaleMin)), zero, by_scale);
    const F kept = V::select(V::less(V::splat(kScaleMax), raw_scale), zero, above);
    return {V::flip(factor * pull.on_symbol, symbol), kept};
  }

  /// What passes the bound: bits below 0, those of a probability above 1, take a gradient that
  /// lifts them again and no other.
  GLC_HOST_DEVICE static F passed(F probability, F grad) {
    const F held = V::min(V::splat(0.0F), grad);
    return V::select(V::less(V::splat(1.0F), probability), held, grad);
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
};

}  // namespace glc::entropy

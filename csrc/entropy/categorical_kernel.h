// SPDX-License-Identifier: Apache-2.0
// Exponentials of logits: one template over the Vec trait of vec_avx512.h, so that each file that
// instantiates it gets symbols of its own. The weights of the integer cdf are normative
// (docs/format.md): every instantiation must give the same integers, so V::fma has to round once.
#pragma once

#include <cstdint>
#include <iterator>
#include <limits>

#include "core/host_device.h"

namespace glc::entropy {

/// floor(x * factor / 2^(64 + shift)).
struct WideRatio {
  std::uint64_t factor;
  int shift;
};

template <class V>
struct CategoricalKernel {
  using F = typename V::F;
  using U = typename V::U;

  static constexpr int kSums = 4;
  static constexpr float kWeightBits = 30.0F;
  static constexpr float kVanishing = -21.0F;        // 2^30 * exp(-21) < 1
  static constexpr float kSmallest = -86.0F;         // exp of it, and more, are normal numbers
  static constexpr float kRounder = 12582912.0F;     // 1.5 * 2^23: adding it rounds half to even
  static constexpr float kInvLn2 = 0x1.715476p+0F;   // 1 / ln 2
  static constexpr float kLn2High = 0x1.62e4p-1F;    // ln 2 to 15 bits: exact times a small integer
  static constexpr float kLn2Low = 0x1.7f7d1cp-20F;  // ln 2 - kLn2High

  /// 2^raised * exp(t) for kSmallest <= t <= 0, up to the polynomial's 3e-9 and float rounding;
  /// NaN stays. exp(r) = 1 + r + r^2 (c2 + c3 r + .. + c6 r^4) on |r| <= ln 2 / 2.
  GLC_HOST_DEVICE static F exponential(F t, float raised) {
    const F rounder = V::splat(kRounder);
    const F n = V::fma(t, V::splat(kInvLn2), rounder) - rounder;
    const F r = V::fma(n, V::splat(-kLn2Low), V::fma(n, V::splat(-kLn2High), t));
    F p = V::splat(0x1.6a244cp-10F);
    p = V::fma(p, r, V::splat(0x1.1239d4p-7F));
    p = V::fma(p, r, V::splat(0x1.5558f2p-5F));
    p = V::fma(p, r, V::splat(0x1.555492p-3F));
    p = V::fma(p, r, V::splat(0x1.fffffcp-2F));
    const F fraction = V::fma(r * r, p, r) + V::splat(1.0F);
    return V::scale(fraction, n + V::splat(raised));
  }

  /// floor(2^30 * exp(t)) for t <= 0; 0 below kVanishing.
  GLC_HOST_DEVICE static U weight(F t) {
    const F limit = V::splat(kVanishing);
    const F scaled = exponential(V::max(limit, t), kWeightBits);
    return V::truncated(V::select(V::less(t, limit), V::splat(0.0F), scaled));
  }

  /// exp(logit - largest); below exp(kSmallest) that. For estimates.
  GLC_HOST_DEVICE static F share(F logit, F largest) {
    return exponential(V::max(V::splat(kSmallest), logit - largest), 0.0F);
  }

  /// n < V::kLanes values, `pad` beyond them.
  static F load_some(const float* values, std::int64_t n, float pad) {
    alignas(64) static constexpr float kLane[] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static_assert(V::kLanes <= std::size(kLane));
    const auto there = V::less(V::load(kLane), V::splat(static_cast<float>(n)));
    return V::select(there, V::load(values, V::first(n)), V::splat(pad));
  }

  static F load_at(const float* values, std::int64_t i, std::int64_t n, float pad) {
    return n - i < V::kLanes ? load_some(values + i, n - i, pad) : V::load(values + i);
  }

  /// f(vector, which) for n values, `pad` beyond them; each vector goes to one of kSums in turn, so
  /// that sums and maxima do not wait for each other.
  template <class Visit>
  static void each_vector(const float* values, std::int64_t n, float pad, Visit f) {
    std::int64_t i = 0;
    for (; i + kSums * V::kLanes <= n; i += kSums * V::kLanes) {
      for (int which = 0; which < kSums; ++which) {
        f(V::load(values + i + which * V::kLanes), which);
      }
    }
    for (int which = 0; i < n; i += V::kLanes, ++which) {
      f(load_at(values, i, n, pad), which);
    }
  }

  /// The largest of n >= 1 values, NaN set aside; *odd is 0 when all are finite, else NaN.
  static float largest(const float* values, std::int64_t n, float* odd) {
    F top[kSums];
    F differences[kSums];
    for (int k = 0; k < kSums; ++k) {
      top[k] = V::splat(-std::numeric_limits<float>::infinity());
      differences[k] = V::splat(0.0F);
    }
    each_vector(values, n, values[0], [&](F v, int k) {
      top[k] = V::max(v, top[k]);
      differences[k] = differences[k] + (v - v);
    });
    alignas(64) float tops[V::kLanes];
    alignas(64) float odds[V::kLanes];
    V::store(tops, V::max(V::max(top[0], top[1]), V::max(top[2], top[3])));
    V::store(odds, (differences[0] + differences[1]) + (differences[2] + differences[3]));
    for (int half = V::kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        tops[i] = tops[i + half] > tops[i] ? tops[i + half] : tops[i];
        odds[i] += odds[i + half];
      }
    }
    *odd = odds[0];
    return tops[0];
  }

  /// Weights of n logits, below 2^31 each; returns their sum, which is exact.
  static double weights(const float* logits, float largest, std::int32_t* out, std::int64_t n) {
    const F top = V::splat(largest);
    typename V::Sum sum;
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const U weight_of =
          weight(load_at(logits, i, n, -std::numeric_limits<float>::infinity()) - top);
      sum.add(V::from_signed(weight_of));
      if (n - i < V::kLanes) {
        alignas(64) std::uint32_t copy[V::kLanes];
        V::store(copy, weight_of);
        for (std::int64_t j = i; j < n; ++j) {
          out[j] = static_cast<std::int32_t>(copy[j - i]);
        }
      } else {
        V::store(reinterpret_cast<std::uint32_t*>(out + i), weight_of);
      }
    }
    return sum.total();
  }

  /// Replaces weight j by j + floor(ratio * (weights before it)).
  static void starts(std::int32_t* weights_in, std::int64_t n, WideRatio ratio) {
    __extension__ using Uint128 = unsigned __int128;
    std::uint64_t below = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      const auto high = static_cast<std::uint64_t>((Uint128{below} * ratio.factor) >> 64);
      below += static_cast<std::uint32_t>(weights_in[j]);
      weights_in[j] =
          static_cast<std::int32_t>(static_cast<std::uint64_t>(j) + (high >> ratio.shift));
    }
  }

  /// The sum of share(logit, largest), in an order that depends on n alone.
  static double total(const float* logits, float largest, std::int64_t n) {
    const F top = V::splat(largest);
    F sums[kSums];
    for (F& sum : sums) sum = V::splat(0.0F);
    each_vector(logits, n, -std::numeric_limits<float>::infinity(), [&](F v, int k) {
      sums[k] = sums[k] + share(v, top);
    });
    typename V::Sum lanes;
    lanes.add((sums[0] + sums[1]) + (sums[2] + sums[3]));
    return lanes.total();
  }

  /// out = factor * share(logit, largest); n is a multiple of V::kLanes.
  static void shares(const float* logits, float largest, float factor, float* out, std::int64_t n) {
    const F top = V::splat(largest);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      V::store(out + i, V::splat(factor) * share(V::load(logits + i), top));
    }
  }
};

/// One instruction set's kernels.
struct CategoricalBackend {
  float (*largest)(const float* values, std::int64_t n, float* odd);
  double (*weights)(const float* logits, float largest, std::int32_t* out, std::int64_t n);
  void (*starts)(std::int32_t* weights, std::int64_t n, WideRatio ratio);
  double (*total)(const float* logits, float largest, std::int64_t n);
  void (*shares)(const float* logits, float largest, float factor, float* out, std::int64_t n);

  template <class V>
  static CategoricalBackend of() {
    using Kernel = CategoricalKernel<V>;
    return {.largest = &Kernel::largest,
            .weights = &Kernel::weights,
            .starts = &Kernel::starts,
            .total = &Kernel::total,
            .shares = &Kernel::shares};
  }
};

CategoricalBackend categorical_avx2();
CategoricalBackend categorical_avx512();
CategoricalBackend categorical_neon();

/// Of the instruction set in force now.
CategoricalBackend categorical_backend();

}  // namespace glc::entropy

// SPDX-License-Identifier: Apache-2.0
// Rates on the CPU: runs of floats in several short loops over scratch memory. In one long loop a
// processor holds too few vectors at a time to keep its units busy; these fit a third more.
#pragma once

#include <cstdint>

#include "entropy/gaussian_bits_kernel.h"

namespace glc::entropy {

/// Inputs of n elements each. All sizes are multiples of 16: callers pad.
struct BitsRun {
  const float* y;
  const float* mean;
  const float* scale;
  const float* noise;  // or null: round
  std::int64_t n;
};

/// Slopes for a gradient of 1: all null, or none where they are written.
template <class T>
struct SlopesRun {
  T* y;
  T* scale;
};

struct GradientsRun {
  float* y;
  float* mean;
  float* scale;
};

template <class V>
class GaussianBitsLoops {
  using Kernel = GaussianBitsKernel<V>;
  using F = typename V::F;
  using U = typename V::U;

  static constexpr std::int64_t kBlock = 256;

  /// What is known of a block of bins; of edges and tails the far ones come first.
  struct Scratch {
    alignas(64) float symbol[kBlock];
    alignas(64) float inverse[kBlock];
    alignas(64) float edge[2 * kBlock];
    alignas(64) float density[2 * kBlock];
    alignas(64) float beyond[2 * kBlock];
  };

  template <bool kNoise>
  static void find_edges(const BitsRun& run, std::int64_t first, std::int64_t n, Scratch& s) {
    const F zero = V::splat(0.0F);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const std::int64_t at = first + i;
      const F shift = kNoise ? V::load(run.noise + at) : zero;
      const auto e = Kernel::template edges<kNoise>(
          V::load(run.y + at), V::load(run.mean + at), V::load(run.scale + at), shift);
      V::store(s.symbol + i, e.symbol);
      V::store(s.inverse + i, e.inverse);
      V::store(s.edge + i, e.far);
      V::store(s.edge + kBlock + i, e.near);
    }
  }

  static void find_tails(std::int64_t n, Scratch& s) {
    for (int side = 0; side < 2; ++side) {
      for (std::int64_t i = side * kBlock; i < side * kBlock + n; i += V::kLanes) {
        const auto tail = Kernel::tail(V::load(s.edge + i));
        V::store(s.density + i, tail.density);
        V::store(s.beyond + i, tail.beyond);
      }
    }
  }

  /// f(first, n, scratch) for each block of the run, its edges and tails being known.
  template <class Visit>
  static void each_block(const BitsRun& run, Visit f) {
    Scratch s;
    for (std::int64_t first = 0; first < run.n; first += kBlock) {
      const std::int64_t n = run.n - first < kBlock ? run.n - first : kBlock;
      run.noise != nullptr ? find_edges<true>(run, first, n, s)
                           : find_edges<false>(run, first, n, s);
      find_tails(n, s);
      f(first, n, s);
    }
  }

  static F probability(const Scratch& s, std::int64_t i) {
    const float* const near = s.beyond + kBlock;
    return Kernel::probability(
        V::load(s.edge + kBlock + i), V::load(near + i), V::load(s.beyond + i));
  }

  static auto slopes(const Scratch& s, std::int64_t i, F probability, F raw_scale) {
    const typename Kernel::Edges e{.symbol = V::load(s.symbol + i),
                                   .scale = Kernel::clamped(raw_scale),
                                   .inverse = V::load(s.inverse + i),
                                   .far = V::load(s.edge + i),
                                   .near = V::load(s.edge + kBlock + i)};
    return Kernel::slopes_of(
        e, V::load(s.density + kBlock + i), V::load(s.density + i), probability, raw_scale);
  }

  static void put_slopes(const BitsRun& run,
                         const SlopesRun<float>& out,
                         std::int64_t first,
                         std::int64_t i,
                         const Scratch& s,
                         F probability) {
    const std::int64_t at = first + i;
    const auto by = slopes(s, i, probability, V::load(run.scale + at));
    const F one = Kernel::passed(probability, V::splat(1.0F));
    V::store(out.y + at, one * by.y);
    V::store(out.scale + at, one * by.scale);
  }

 public:
  static void forward(const BitsRun& run, float* bits, const SlopesRun<float>& out) {
    const bool with_slopes = out.y != nullptr;
    each_block(run, [&](std::int64_t first, std::int64_t n, const Scratch& s) {
      for (std::int64_t i = 0; i < n; i += V::kLanes) {
        const F p = probability(s, i);
        V::store(bits + first + i, Kernel::bits_of(p));
        if (with_slopes) put_slopes(run, out, first, i, s, p);
      }
    });
  }

  static void backward(const BitsRun& run, const float* grad, const GradientsRun& out) {
    each_block(run, [&](std::int64_t first, std::int64_t n, const Scratch& s) {
      for (std::int64_t i = 0; i < n; i += V::kLanes) {
        const std::int64_t at = first + i;
        const F p = probability(s, i);
        const auto by = slopes(s, i, p, V::load(run.scale + at));
        const F passed = Kernel::passed(p, V::load(grad + at));
        const F by_y = passed * by.y;
        V::store(out.y + at, by_y);
        V::store(out.mean + at, V::flip(by_y, V::splat(-0.0F)));
        V::store(out.scale + at, passed * by.scale);
      }
    });
  }

  /// The sum of the bits of the first `count` elements, in double precision and in an order that
  /// depends on n alone. Bounded at 1, several probabilities share a logarithm: their product.
  static double total(const BitsRun& run, std::int64_t count, const SlopesRun<float>& out) {
    constexpr std::int64_t kFactors = 6;  // kFloor to the 6th is a normal number
    const F one = V::splat(1.0F);
    const F lanes = V::from_signed(V::iota());
    const bool with_slopes = out.y != nullptr;
    typename V::Sum sum;
    each_block(run, [&](std::int64_t first, std::int64_t n, const Scratch& s) {
      for (std::int64_t begin = 0; begin < n; begin += kFactors * V::kLanes) {
        const std::int64_t after = begin + kFactors * V::kLanes;
        const std::int64_t end = after < n ? after : n;
        F product = one;
        for (std::int64_t i = begin; i < end; i += V::kLanes) {
          const std::int64_t left = count - first - i;
          const F p = probability(s, i);
          if (with_slopes) put_slopes(run, out, first, i, s, p);
          F factor = V::min(one, p);
          if (left < V::kLanes) {
            factor = V::select(V::less(lanes, V::splat(static_cast<float>(left))), factor, one);
          }
          product = product * factor;
        }
        sum.add((product - product) - Kernel::log2(product));  // log2 would lose a NaN
      }
    });
    return sum.total();
  }

  /// Gradients from slopes, which they may replace. False where the slopes do not tell them: the
  /// bound lets more of a negative gradient pass, and would hold one that is not finite.
  static bool scale_slopes(const SlopesRun<const float>& slopes,
                           const float* grad,
                           const GradientsRun& out,
                           std::int64_t n) {
    const F zero = V::splat(0.0F);
    const F end = V::splat(__builtin_huge_valf());
    auto told = V::equal(zero, zero);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F g = V::load(grad + i);
      told = V::all(told, V::less(V::select(V::less(g, zero), end, g), end));
      if (slopes.y != nullptr) {
        const F by_y = V::load(slopes.y + i) * g;
        V::store(out.y + i, by_y);
        V::store(out.mean + i, V::flip(by_y, V::splat(-0.0F)));
      }
      if (slopes.scale != nullptr) V::store(out.scale + i, V::load(slopes.scale + i) * g);
    }
    return V::every(told);
  }
  /// U[-1/2, 1/2) for 64 elements of a row, from element 64 block on. Element 64 block + 16 w + i
  /// takes the upper 24 bits of word w of Philox4x32-10 (Salmon et al. 2011) at the counter
  /// (16 block + i, row), 64 bits each.
  static void noise(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out) {
    constexpr int kGroup = 16;
    for (int i = 0; i < kGroup; i += V::kLanes) {
      U word[4];
      Kernel::philox(seed, row, block * kGroup + static_cast<std::uint64_t>(i), V::iota(), word);
      for (int w = 0; w < 4; ++w) {
        V::store(out + kGroup * w + i, Kernel::centred(word[w]));
      }
    }
  }
};

/// One instruction set's loops.
struct GaussianBitsBackend {
  void (*forward)(const BitsRun& run, float* bits, const SlopesRun<float>& out);
  void (*backward)(const BitsRun& run, const float* grad, const GradientsRun& out);
  double (*total)(const BitsRun& run, std::int64_t count, const SlopesRun<float>& out);
  bool (*scale_slopes)(const SlopesRun<const float>& slopes,
                       const float* grad,
                       const GradientsRun& out,
                       std::int64_t n);
  void (*noise)(std::uint64_t seed, std::uint64_t row, std::uint64_t block, float* out);

  template <class V>
  static GaussianBitsBackend of() {
    using Loops = GaussianBitsLoops<V>;
    return {.forward = &Loops::forward,
            .backward = &Loops::backward,
            .total = &Loops::total,
            .scale_slopes = &Loops::scale_slopes,
            .noise = &Loops::noise};
  }
};

GaussianBitsBackend gaussian_bits_avx2();
GaussianBitsBackend gaussian_bits_avx512();
GaussianBitsBackend gaussian_bits_neon();

}  // namespace glc::entropy

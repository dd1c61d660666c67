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

/// Where gradients go; that by the mean may be null.
struct GradientsRun {
  float* y;
  float* mean;
  float* scale;
};

/// Gradients that a forward pass leaves, for a gradient of the bits that is known; null: none.
struct AheadRun {
  float grad;
  GradientsRun out;
};

/// Gradients for a gradient of 1, those that are known.
struct SlopesRun {
  const float* y;
  const float* scale;
};

template <class V>
class GaussianBitsLoops {
  using Kernel = GaussianBitsKernel<V>;
  using F = typename V::F;
  using U = typename V::U;

  static constexpr std::int64_t kBlock = 256;

  /// Probabilities that share a logarithm, bounded at 1, as their product; kFloor to the 4th is a
  /// normal number.
  static constexpr std::int64_t kFactors = 4;

  /// What is known of a block of bins.
  struct Scratch {
    alignas(64) float symbol[kBlock];
    alignas(64) float inverse[kBlock];
    alignas(64) float far[kBlock];
    alignas(64) float near[kBlock];
    alignas(64) float density_far[kBlock];
    alignas(64) float beyond_far[kBlock];
    alignas(64) float probability[kBlock];
    alignas(64) float pull_on_symbol[kBlock];
    alignas(64) float pull_on_scale[kBlock];
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
      V::store(s.far + i, e.far);
      V::store(s.near + i, e.near);
    }
  }

  static void find_far_tails(std::int64_t n, Scratch& s) {
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const auto far = Kernel::tail(V::load(s.far + i));
      V::store(s.density_far + i, far.density);
      V::store(s.beyond_far + i, far.beyond);
    }
  }

  /// The far tails being known.
  template <bool kWithPull>
  static void find_probabilities(std::int64_t n, Scratch& s) {
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F edge = V::load(s.near + i);
      const auto near = Kernel::tail(edge);
      V::store(s.probability + i,
               Kernel::probability(edge, near.beyond, V::load(s.beyond_far + i)));
      if constexpr (kWithPull) {
        const auto pull =
            Kernel::pull(edge, near.density, V::load(s.far + i), V::load(s.density_far + i));
        V::store(s.pull_on_symbol + i, pull.on_symbol);
        V::store(s.pull_on_scale + i, pull.on_scale);
      }
    }
  }

  static auto slopes(const Scratch& s, std::int64_t i, F raw_scale) {
    const typename Kernel::Pull pull{.on_symbol = V::load(s.pull_on_symbol + i),
                                     .on_scale = V::load(s.pull_on_scale + i)};
    return Kernel::slopes_of(
        V::load(s.symbol + i), V::load(s.inverse + i), pull, V::load(s.probability + i), raw_scale);
  }

  /// What is known of the block from `first` on, and its length.
  template <bool kWithPull>
  static std::int64_t find_block(const BitsRun& run, std::int64_t first, Scratch& s) {
    const std::int64_t n = run.n - first < kBlock ? run.n - first : kBlock;
    run.noise != nullptr ? find_edges<true>(run, first, n, s) : find_edges<false>(run, first, n, s);
    find_far_tails(n, s);
    find_probabilities<kWithPull>(n, s);
    return n;
  }

  /// The gradients of a block, for one of the bits of grad(i).
  template <class Grad>
  static void put_gradients(const float* scale,
                            const GradientsRun& out,
                            std::int64_t first,
                            std::int64_t n,
                            const Scratch& s,
                            Grad grad) {
    const float* const raw_scale = scale + first;
    float* const to_y = out.y + first;
    float* const to_mean = out.mean == nullptr ? nullptr : out.mean + first;
    float* const to_scale = out.scale + first;
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const auto by = slopes(s, i, V::load(raw_scale + i));
      const F passed = Kernel::passed(V::load(s.probability + i), grad(i));
      const F by_y = passed * by.y;
      V::store(to_y + i, by_y);
      if (to_mean != nullptr) V::store(to_mean + i, V::flip(by_y, V::splat(-0.0F)));
      V::store(to_scale + i, passed * by.scale);
    }
  }

  template <bool kAhead>
  static void put_ahead(const BitsRun& run,
                        const AheadRun& ahead,
                        std::int64_t first,
                        std::int64_t n,
                        const Scratch& s) {
    if constexpr (kAhead) {
      const F grad = V::splat(ahead.grad);
      put_gradients(run.scale, ahead.out, first, n, s, [&](std::int64_t /*i*/) { return grad; });
    }
  }

  template <bool kAhead>
  static void find_bits(const BitsRun& run, float* bits, const AheadRun& ahead) {
    Scratch s;
    for (std::int64_t first = 0; first < run.n; first += kBlock) {
      const std::int64_t n = find_block<kAhead>(run, first, s);
      float* const to = bits + first;
      for (std::int64_t i = 0; i < n; i += V::kLanes) {
        V::store(to + i, Kernel::bits_of(V::load(s.probability + i)));
      }
      put_ahead<kAhead>(run, ahead, first, n, s);
    }
  }

  template <bool kAhead>
  static double find_total(const BitsRun& run, std::int64_t count, const AheadRun& ahead) {
    constexpr std::int64_t kGroup = kFactors * V::kLanes;
    static_assert(kBlock % kGroup == 0);
    const F one = V::splat(1.0F);
    typename V::Sum sum;
    Scratch s;
    for (std::int64_t first = 0; first < run.n; first += kBlock) {
      const std::int64_t n = find_block<kAhead>(run, first, s);
      put_ahead<kAhead>(run, ahead, first, n, s);
      const std::int64_t counted = count - first < n ? count - first : n;
      const std::int64_t end = (counted + kGroup - 1) / kGroup * kGroup;
      // NOLINTNEXTLINE(clang-analyzer-security.ArrayBound): 0 <= counted <= n <= kBlock
      for (std::int64_t i = counted; i < end; ++i) s.probability[i] = 1.0F;
      for (const float* p = s.probability; p < s.probability + end; p += kGroup) {
        F product = V::min(one, V::load(p));
        for (int k = 1; k < kFactors; ++k) {
          product = product * V::min(one, V::load(p + k * V::kLanes));
        }
        sum.add((product - product) - Kernel::log2(product));  // log2 would lose a NaN
      }
    }
    return sum.total();
  }

 public:
  static void forward(const BitsRun& run, float* bits, const AheadRun& ahead) {
    ahead.out.y != nullptr ? find_bits<true>(run, bits, ahead) : find_bits<false>(run, bits, ahead);
  }

  static void backward(const BitsRun& run, const float* grad, const GradientsRun& out) {
    Scratch s;
    for (std::int64_t first = 0; first < run.n; first += kBlock) {
      const std::int64_t n = find_block<true>(run, first, s);
      put_gradients(
          run.scale, out, first, n, s, [&](std::int64_t i) { return V::load(grad + first + i); });
    }
  }

  /// The sum of the bits of the first `count` elements, in double precision and in an order that
  /// depends on n alone.
  static double total(const BitsRun& run, std::int64_t count, const AheadRun& ahead) {
    return ahead.out.y != nullptr ? find_total<true>(run, count, ahead)
                                  : find_total<false>(run, count, ahead);
  }

  /// Gradients from slopes, which they may replace. False where the slopes do not tell them: the
  /// bound lets more of a negative gradient pass, and would hold one that is not finite.
  static bool scale_slopes(const SlopesRun& slopes,
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
  void (*forward)(const BitsRun& run, float* bits, const AheadRun& ahead);
  void (*backward)(const BitsRun& run, const float* grad, const GradientsRun& out);
  double (*total)(const BitsRun& run, std::int64_t count, const AheadRun& ahead);
  bool (*scale_slopes)(const SlopesRun& slopes,
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

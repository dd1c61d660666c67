// SPDX-License-Identifier: Apache-2.0
// Runs of the four-part ops: one template over the Vec trait of vec_avx512.h. A run is some lines
// of adjacent elements, whose even and odd elements may belong to two parts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace glc::entropy {

/// Which elements of a line are meant: a bit for the even ones, one for the odd.
enum class Taken : std::uint8_t { kNone = 0, kEven = 1, kOdd = 2, kAll = 3 };

struct FourPartLines {
  std::int64_t n;         // elements of a line
  std::int64_t lines;     // of them,
  std::int64_t distance;  // from one to the next
};

struct FourPartStepRun {
  const float* y;
  const float* mean;
  const float* before;  // null: zeros
  float* y_hat;
  Taken taken;  // the others become `before`
};

struct FourPartMergeRun {
  const float* y;
  std::array<const float*, 2> mean;  // of the part of the even elements, of the odd
  std::array<const float*, 2> scale;
  float* y_q;
  float* y_hat;
  float* mean_out;
  float* scale_out;
};

struct FourPartSpreadRun {
  const float* x;
  const float* minus;  // null: zeros
  std::size_t targets;
  std::array<float*, 4> to;
  std::array<Taken, 4> taken;
};

template <class V>
struct FourPartKernel {
  using F = typename V::F;
  using Mask = typename V::Mask;

  /// Adding 0 turns a symbol of -0 into 0, which is what its integer is.
  static F symbol(F y, F mean) { return V::round(y - mean) + V::splat(0.0F); }

  /// Of the elements from `first` of a line on.
  static Mask mask(Taken taken, std::int64_t first) {
    const F zero = V::splat(0.0F);
    switch (taken) {
      case Taken::kNone:
        return V::less(zero, zero);
      case Taken::kAll:
        return V::equal(zero, zero);
      default:
        return V::alternate((taken == Taken::kEven) == (first % 2 == 0));
    }
  }

  struct Step {
    struct Masks {
      Mask taken;
    };
    static Masks masks(const FourPartStepRun& run, std::int64_t first) {
      return {mask(run.taken, first)};
    }
    static void vector(const FourPartStepRun& run, const Masks& masks, std::int64_t i, auto at) {
      const F mean = at.load(run.mean + i);
      const F before = run.before == nullptr ? V::splat(0.0F) : at.load(run.before + i);
      at.store(run.y_hat + i,
               V::select(masks.taken, symbol(at.load(run.y + i), mean) + mean, before));
    }
  };

  struct Merge {
    struct Masks {
      Mask even;
    };
    static Masks masks(const FourPartMergeRun& /*run*/, std::int64_t first) {
      return {mask(Taken::kEven, first)};
    }
    static void vector(const FourPartMergeRun& run, const Masks& masks, std::int64_t i, auto at) {
      const auto chosen = [&](const std::array<const float*, 2>& from) {
        return V::select(masks.even, at.load(from[0] + i), at.load(from[1] + i));
      };
      const F mean = chosen(run.mean);
      const F y_q = symbol(at.load(run.y + i), mean);
      at.store(run.y_q + i, y_q);
      at.store(run.y_hat + i, y_q + mean);
      at.store(run.mean_out + i, mean);
      at.store(run.scale_out + i, chosen(run.scale));
    }
  };

  struct Spread {
    struct Masks {
      Mask taken[4];
    };
    static Masks masks(const FourPartSpreadRun& run, std::int64_t first) {
      return {{mask(run.taken[0], first),
               mask(run.taken[1], first),
               mask(run.taken[2], first),
               mask(run.taken[3], first)}};
    }
    static void vector(const FourPartSpreadRun& run, const Masks& masks, std::int64_t i, auto at) {
      F x = at.load(run.x + i);
      if (run.minus != nullptr) x = x - at.load(run.minus + i);
      for (std::size_t k = 0; k < run.targets; ++k)
        at.store(run.to[k] + i, V::where(masks.taken[k], x));
    }
  };

  struct WholeVectors {
    F load(const float* p) const { return V::load(p); }
    void store(float* p, F v) const { V::store(p, v); }
  };

  struct PartVectors {
    typename V::Part part;
    F load(const float* p) const { return V::load(p, part); }
    void store(float* p, F v) const { V::store(p, v, part); }
  };

  template <class Op, class Run>
  static void lines(const Run& run, const FourPartLines& over) {
    const auto aligned = Op::masks(run, 0);
    if (over.n < V::kLanes) {
      const PartVectors part{V::first(over.n)};
      for (std::int64_t line = 0; line < over.lines; ++line) {
        Op::vector(run, aligned, line * over.distance, part);
      }
      return;
    }
    const WholeVectors whole;
    const auto at_end = Op::masks(run, over.n);  // kLanes is even
    for (std::int64_t line = 0; line < over.lines; ++line) {
      const std::int64_t begin = line * over.distance;
      const std::int64_t last = begin + over.n - V::kLanes;
      for (std::int64_t i = begin; i <= last; i += V::kLanes) Op::vector(run, aligned, i, whole);
      // some elements once more: they get the same values again
      if (over.n % V::kLanes != 0) Op::vector(run, at_end, last, whole);
    }
  }
};

struct FourPartBackend {
  void (*step)(const FourPartStepRun& run, const FourPartLines& over);
  void (*merge)(const FourPartMergeRun& run, const FourPartLines& over);
  void (*spread)(const FourPartSpreadRun& run, const FourPartLines& over);

  template <class V>
  static FourPartBackend of() {
    using Kernel = FourPartKernel<V>;
    return {.step = &Kernel::template lines<typename Kernel::Step, FourPartStepRun>,
            .merge = &Kernel::template lines<typename Kernel::Merge, FourPartMergeRun>,
            .spread = &Kernel::template lines<typename Kernel::Spread, FourPartSpreadRun>};
  }
};

FourPartBackend four_part_avx2();
FourPartBackend four_part_avx512();
FourPartBackend four_part_neon();

}  // namespace glc::entropy

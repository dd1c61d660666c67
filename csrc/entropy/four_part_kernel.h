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
    static void vector(const FourPartStepRun& run, const Masks& masks, std::int64_t i) {
      const F mean = V::load(run.mean + i);
      const F before = run.before == nullptr ? V::splat(0.0F) : V::load(run.before + i);
      V::store(run.y_hat + i,
               V::select(masks.taken, symbol(V::load(run.y + i), mean) + mean, before));
    }
    /// f(pointer) for each input of the run, then each output.
    static void each_map(FourPartStepRun& run, auto in, auto out) {
      in(run.y), in(run.mean), in(run.before);
      out(run.y_hat);
    }
  };

  struct Merge {
    struct Masks {
      Mask even;
    };
    static Masks masks(const FourPartMergeRun& /*run*/, std::int64_t first) {
      return {mask(Taken::kEven, first)};
    }
    static void vector(const FourPartMergeRun& run, const Masks& masks, std::int64_t i) {
      const auto chosen = [&](const std::array<const float*, 2>& from) {
        return V::select(masks.even, V::load(from[0] + i), V::load(from[1] + i));
      };
      const F mean = chosen(run.mean);
      const F y_q = symbol(V::load(run.y + i), mean);
      V::store(run.y_q + i, y_q);
      V::store(run.y_hat + i, y_q + mean);
      V::store(run.mean_out + i, mean);
      V::store(run.scale_out + i, chosen(run.scale));
    }
    static void each_map(FourPartMergeRun& run, auto in, auto out) {
      in(run.y), in(run.mean[0]), in(run.mean[1]), in(run.scale[0]), in(run.scale[1]);
      out(run.y_q), out(run.y_hat), out(run.mean_out), out(run.scale_out);
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
    static void vector(const FourPartSpreadRun& run, const Masks& masks, std::int64_t i) {
      F x = V::load(run.x + i);
      if (run.minus != nullptr) x = x - V::load(run.minus + i);
      for (std::size_t k = 0; k < run.targets; ++k)
        V::store(run.to[k] + i, V::where(masks.taken[k], x));
    }
    static void each_map(FourPartSpreadRun& run, auto in, auto out) {
      in(run.x), in(run.minus);
      for (std::size_t k = 0; k < run.targets; ++k) out(run.to[k]);
    }
  };

  template <class Op, class Run>
  static void lines(const Run& run, const FourPartLines& over) {
    const auto aligned = Op::masks(run, 0);
    const auto at_end = Op::masks(run, over.n);  // kLanes is even
    for (std::int64_t line = 0; line < over.lines; ++line) {
      const std::int64_t begin = line * over.distance;
      if (over.n < V::kLanes) {
        short_line<Op>(run, begin, over.n);
        continue;
      }
      const std::int64_t last = begin + over.n - V::kLanes;
      for (std::int64_t i = begin; i <= last; i += V::kLanes) Op::vector(run, aligned, i);
      // some elements once more: they get the same values again
      if (over.n % V::kLanes != 0) Op::vector(run, at_end, last);
    }
  }

  /// Through memory as long as a vector.
  template <class Op, class Run>
  static void short_line(const Run& run, std::int64_t begin, std::int64_t n) {
    constexpr int kMaps = 9;  // of a run at most
    alignas(64) float copies[kMaps][V::kLanes] = {};
    Run padded = run;
    int map = 0;
    const auto lend = [&](auto& pointer) {
      float* const copy = copies[map++];
      for (std::int64_t i = 0; pointer != nullptr && i < n; ++i) copy[i] = pointer[begin + i];
      if (pointer != nullptr) pointer = copy;
    };
    Op::each_map(padded, lend, lend);
    Op::vector(padded, Op::masks(padded, 0), 0);
    map = 0;
    Run places = run;
    const auto skip = [&](const float* /*unused*/) { ++map; };
    const auto put = [&](float* to) {
      const float* const copy = copies[map++];
      for (std::int64_t i = 0; i < n; ++i) to[begin + i] = copy[i];
    };
    Op::each_map(places, skip, put);
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

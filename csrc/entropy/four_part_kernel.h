// SPDX-License-Identifier: Apache-2.0
// Runs of the four-part ops: one template over the Vec trait of vec_avx512.h. A run is some lines
// of a piece of the maps, whose even and odd elements may belong to two parts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace glc::entropy {

/// Which elements of a line are meant: a bit for the even ones, one for the odd.
enum class Taken : std::uint8_t { kNone = 0, kEven = 1, kOdd = 2, kAll = 3 };

inline constexpr std::int64_t kCacheLine = 16;  // floats

/// The lines of a piece, as they follow in memory: each cycle has one of every run, in their order.
struct FourPartLines {
  std::int64_t n;      // elements of a line
  std::int64_t count;  // of all runs together: the last cycle may be cut short
};

/// The lines of a run in one map; null without the map.
template <class T>
struct FourPartRows {
  T* first;
  std::int64_t distance;  // from one to the next

  [[nodiscard]] T* line(std::int64_t i) const {
    return first == nullptr ? nullptr : first + i * distance;
  }
};

struct FourPartStepRun {
  FourPartRows<const float> y;
  FourPartRows<const float> mean;
  FourPartRows<const float> before;  // null: zeros
  FourPartRows<float> y_hat;
  Taken taken;  // the others become `before`
};

struct FourPartMergeRun {
  FourPartRows<const float> y;
  std::array<FourPartRows<const float>, 2> mean;  // of the part of the even elements, of the odd
  std::array<FourPartRows<const float>, 2> scale;
  FourPartRows<float> y_q;
  FourPartRows<float> y_hat;
  FourPartRows<float> mean_out;
  FourPartRows<float> scale_out;
};

struct FourPartSpreadRun {
  FourPartRows<const float> x;
  FourPartRows<const float> minus;  // null: zeros
  std::size_t targets;
  std::array<FourPartRows<float>, 4> to;
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

  // An op on one line: the masks of the elements from `first` on, what becomes of the vector at i,
  // and asking for what is read there, for the line will be next.

  struct Step {
    Step(const FourPartStepRun& run, std::int64_t line)
        : y(run.y.line(line)),
          mean(run.mean.line(line)),
          before(run.before.line(line)),
          y_hat(run.y_hat.line(line)),
          taken(run.taken) {}

    [[nodiscard]] Mask masks(std::int64_t first) const { return mask(taken, first); }
    void vector(Mask chosen, std::int64_t i, auto at) const {
      F out = before == nullptr ? V::splat(0.0F) : at.load(before + i);
      if (taken != Taken::kNone) {
        const F center = at.load(mean + i);
        out = V::select(chosen, symbol(at.load(y + i), center) + center, out);
      }
      at.store(y_hat + i, out);
    }
    void fetch(std::int64_t i) const {
      if (before != nullptr) __builtin_prefetch(before + i);
      if (taken == Taken::kNone) return;
      __builtin_prefetch(y + i);
      __builtin_prefetch(mean + i);
    }

    const float* y;
    const float* mean;
    const float* before;
    float* y_hat;
    Taken taken;
  };

  struct Merge {
    Merge(const FourPartMergeRun& run, std::int64_t line)
        : y(run.y.line(line)),
          mean{run.mean[0].line(line), run.mean[1].line(line)},
          scale{run.scale[0].line(line), run.scale[1].line(line)},
          y_q(run.y_q.line(line)),
          y_hat(run.y_hat.line(line)),
          mean_out(run.mean_out.line(line)),
          scale_out(run.scale_out.line(line)) {}

    [[nodiscard]] static Mask masks(std::int64_t first) { return mask(Taken::kEven, first); }
    void vector(Mask even, std::int64_t i, auto at) const {
      const auto chosen = [&](const std::array<const float*, 2>& from) {
        return V::select(even, at.load(from[0] + i), at.load(from[1] + i));
      };
      const F center = chosen(mean);
      const F symbols = symbol(at.load(y + i), center);
      at.store(y_q + i, symbols);
      at.store(y_hat + i, symbols + center);
      at.store(mean_out + i, center);
      at.store(scale_out + i, chosen(scale));
    }
    void fetch(std::int64_t i) const {
      __builtin_prefetch(y + i);
      __builtin_prefetch(mean[0] + i);
      __builtin_prefetch(scale[0] + i);
      if (mean[0] == mean[1]) return;
      __builtin_prefetch(mean[1] + i);
      __builtin_prefetch(scale[1] + i);
    }

    const float* y;
    std::array<const float*, 2> mean;
    std::array<const float*, 2> scale;
    float* y_q;
    float* y_hat;
    float* mean_out;
    float* scale_out;
  };

  struct Spread {
    Spread(const FourPartSpreadRun& run, std::int64_t line)
        : x(run.x.line(line)),
          minus(run.minus.line(line)),
          targets(run.targets),
          to{run.to[0].line(line),
             run.to[1].line(line),
             run.to[2].line(line),
             run.to[3].line(line)},
          taken(run.taken) {}

    struct Masks {
      Mask of[4];
    };
    [[nodiscard]] Masks masks(std::int64_t first) const {
      return {{mask(taken[0], first),
               mask(taken[1], first),
               mask(taken[2], first),
               mask(taken[3], first)}};
    }
    void vector(const Masks& masks, std::int64_t i, auto at) const {
      F value = at.load(x + i);
      if (minus != nullptr) value = value - at.load(minus + i);
      for (std::size_t k = 0; k < targets; ++k) at.store(to[k] + i, V::where(masks.of[k], value));
    }
    void fetch(std::int64_t /*i*/) const {}  // all of x in turn, which the processor foresees

    const float* x;
    const float* minus;
    std::size_t targets;
    std::array<float*, 4> to;
    std::array<Taken, 4> taken;
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

  struct StreamedVectors {
    F load(const float* p) const { return V::load(p); }
    void store(float* p, F v) const { V::stream(p, v); }
  };

  /// f(run, line, whether the run has another one after it)
  template <class Run>
  static void each_line(const Run* runs, std::size_t n_runs, std::int64_t count, auto f) {
    const auto cycle = static_cast<std::int64_t>(n_runs);
    for (std::int64_t line = 0, left = count; left > 0; ++line) {
      for (std::size_t r = 0; r < n_runs && left > 0; ++r, --left) {
        f(runs[r], line, left > cycle);
      }
    }
  }

  /// Lines that are a vector long or longer.
  template <class Op, class Run>
  static void whole(const Run* runs, std::size_t n_runs, const FourPartLines& over, auto at) {
    each_line(runs, n_runs, over.count, [&](const Run& run, std::int64_t line, bool more) {
      if (more) {
        const Op next(run, line + 1);
        for (std::int64_t i = 0; i < over.n; i += kCacheLine) next.fetch(i);
      }
      const Op op(run, line);
      const auto aligned = op.masks(0);
      const std::int64_t last = over.n - V::kLanes;
      for (std::int64_t i = 0; i <= last; i += V::kLanes) op.vector(aligned, i, at);
      // kLanes is even; some elements once more: they get the same values again
      if (over.n % V::kLanes != 0) op.vector(op.masks(over.n), last, at);
    });
  }

  template <class Op, class Run>
  static void lines(const Run* runs, std::size_t n_runs, const FourPartLines& over) {
    if (over.n >= V::kLanes) {
      whole<Op>(runs, n_runs, over, WholeVectors{});
      return;
    }
    const PartVectors part{V::first(over.n)};
    each_line(runs, n_runs, over.count, [&](const Run& run, std::int64_t line, bool /*more*/) {
      const Op op(run, line);
      op.vector(op.masks(0), 0, part);
    });
  }

  template <class Op, class Run>
  static void streamed(const Run* runs, std::size_t n_runs, const FourPartLines& over) {
    whole<Op>(runs, n_runs, over, StreamedVectors{});
    V::drain();
  }
};

struct FourPartBackend {
  template <class Run>
  using Lines = void (*)(const Run* runs, std::size_t n_runs, const FourPartLines& over);

  Lines<FourPartStepRun> step;
  Lines<FourPartMergeRun> merge;
  Lines<FourPartSpreadRun> spread;

  // The same with stores past the caches, of whole cache lines; null where there are none.
  Lines<FourPartMergeRun> streamed_merge = nullptr;
  Lines<FourPartSpreadRun> streamed_spread = nullptr;

  template <class V>
  static FourPartBackend of() {
    using Kernel = FourPartKernel<V>;
    using Step = typename Kernel::Step;
    using Merge = typename Kernel::Merge;
    using Spread = typename Kernel::Spread;
    FourPartBackend out{.step = &Kernel::template lines<Step, FourPartStepRun>,
                        .merge = &Kernel::template lines<Merge, FourPartMergeRun>,
                        .spread = &Kernel::template lines<Spread, FourPartSpreadRun>};
    if constexpr (requires { V::drain(); }) {
      out.streamed_merge = &Kernel::template streamed<Merge, FourPartMergeRun>;
      out.streamed_spread = &Kernel::template streamed<Spread, FourPartSpreadRun>;
    }
    return out;
  }
};

FourPartBackend four_part_avx2();
FourPartBackend four_part_avx512();
FourPartBackend four_part_neon();

}  // namespace glc::entropy

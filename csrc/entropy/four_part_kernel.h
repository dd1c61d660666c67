// SPDX-License-Identifier: Apache-2.0
// One run of a four-part step: one template over the Vec trait of vec_avx512.h.
#pragma once

#include <cstdint>

namespace glc::entropy {

/// Which elements of a run belong to the part.
enum class Taken : std::uint8_t { kEven, kOdd, kAll };

/// Lines of adjacent elements. Outputs are written at the taken elements alone; null ones are left
/// out.
struct FourPartRun {
  const float* y;  // null: only scale and mean are moved
  const float* mean;
  const float* scale;
  float* y_q;
  float* y_hat;
  float* mean_out;
  float* scale_out;
  std::int64_t n;
  Taken taken;
  std::int64_t lines;     // of n elements each,
  std::int64_t distance;  // from one to the next
};

/// Lines of adjacent elements whose even and odd ones belong to two parts, or all to the first.
/// Nothing is null.
struct FourPartMergeRun {
  const float* y;
  const float* mean[2];  // of the part of the even elements, of the odd
  const float* scale[2];
  float* y_q;
  float* mean_out;
  float* scale_out;
  std::int64_t n;
  std::int64_t lines;
  std::int64_t distance;
};

template <class V>
struct FourPartKernel {
  using F = typename V::F;
  using Mask = typename V::Mask;

  /// Adding 0 turns a symbol of -0 into 0, which is what its integer is.
  static F symbol(F y, F mean) { return V::round(y - mean) + V::splat(0.0F); }

  static void vector(const FourPartRun& run, std::int64_t i, Mask taken) {
    const auto put = [&](float* to, F value) {
      V::store(to + i, V::select(taken, value, V::load(to + i)));
    };
    const F mean = run.mean == nullptr ? V::splat(0.0F) : V::load(run.mean + i);
    if (run.y != nullptr) {
      const F y_q = symbol(V::load(run.y + i), mean);
      if (run.y_q != nullptr) {
        put(run.y_q, y_q);
      }
      if (run.y_hat != nullptr) {
        put(run.y_hat, y_q + mean);
      }
    }
    if (run.mean_out != nullptr) {
      put(run.mean_out, mean);
    }
    if (run.scale_out != nullptr) {
      put(run.scale_out, V::load(run.scale + i));
    }
  }

  static Mask mask(Taken taken, std::int64_t first) {
    if (taken == Taken::kAll) {
      return V::equal(V::splat(0.0F), V::splat(0.0F));
    }
    return V::alternate((taken == Taken::kEven) == (first % 2 == 0));
  }

  static void step(const FourPartRun& run) {
    const Mask aligned = mask(run.taken, 0);
    const Mask at_end = mask(run.taken, run.n);  // kLanes is even
    for (std::int64_t line = 0; line < run.lines; ++line) {
      const std::int64_t begin = line * run.distance;
      if (run.n < V::kLanes) {
        short_step(run, begin);
        continue;
      }
      const std::int64_t last = begin + run.n - V::kLanes;
      for (std::int64_t i = begin; i <= last; i += V::kLanes) {
        vector(run, i, aligned);
      }
      if (run.n % V::kLanes != 0) {  // some elements once more: they get the same values again
        vector(run, last, at_end);
      }
    }
  }

  static void merge_vector(const FourPartMergeRun& run, std::int64_t i, Mask first) {
    const auto chosen = [&](const float* const* from) {
      return V::select(first, V::load(from[0] + i), V::load(from[1] + i));
    };
    const F mean = chosen(run.mean);
    V::store(run.y_q + i, symbol(V::load(run.y + i), mean));
    V::store(run.mean_out + i, mean);
    V::store(run.scale_out + i, chosen(run.scale));
  }

  static void merge(const FourPartMergeRun& run) {
    const Mask even = V::alternate(true);
    for (std::int64_t line = 0; line < run.lines; ++line) {
      const std::int64_t begin = line * run.distance;
      std::int64_t i = 0;
      for (; i + V::kLanes <= run.n; i += V::kLanes) {
        merge_vector(run, begin + i, even);
      }
      if (i < run.n && run.n >= V::kLanes) {
        i = run.n - V::kLanes;
        merge_vector(run, begin + i, V::alternate(i % 2 == 0));
        continue;
      }
      for (; i < run.n; ++i) {
        const std::int64_t at = begin + i;
        alignas(64) float one[V::kLanes] = {run.y[at]};
        const float mean = run.mean[i % 2][at];
        V::store(one, symbol(V::load(one), V::splat(mean)));
        run.y_q[at] = one[0];
        run.mean_out[at] = mean;
        run.scale_out[at] = run.scale[i % 2][at];
      }
    }
  }

  /// Through memory as long as a vector.
  static void short_step(const FourPartRun& run, std::int64_t begin) {
    constexpr int kMaps = 7;
    alignas(64) float copies[kMaps][V::kLanes] = {};
    const auto in = [&](int map, const float* from) -> const float* {
      for (std::int64_t i = 0; from != nullptr && i < run.n; ++i) {
        copies[map][i] = from[begin + i];
      }
      return from == nullptr ? nullptr : copies[map];
    };
    const auto out = [&](int map, float* from) -> float* {
      return in(map, from) == nullptr ? nullptr : copies[map];
    };
    const FourPartRun padded = {.y = in(0, run.y),
                                .mean = in(1, run.mean),
                                .scale = in(2, run.scale),
                                .y_q = out(3, run.y_q),
                                .y_hat = out(4, run.y_hat),
                                .mean_out = out(5, run.mean_out),
                                .scale_out = out(6, run.scale_out),
                                .n = V::kLanes,
                                .taken = run.taken,
                                .lines = 1,
                                .distance = 0};
    vector(padded, 0, mask(run.taken, 0));
    const auto back = [&](int map, float* to) {
      for (std::int64_t i = 0; to != nullptr && i < run.n; ++i) {
        to[begin + i] = copies[map][i];
      }
    };
    back(3, run.y_q);
    back(4, run.y_hat);
    back(5, run.mean_out);
    back(6, run.scale_out);
  }
};

struct FourPartBackend {
  void (*step)(const FourPartRun& run);
  void (*merge)(const FourPartMergeRun& run);

  template <class V>
  static FourPartBackend of() {
    return {.step = &FourPartKernel<V>::step, .merge = &FourPartKernel<V>::merge};
  }
};

FourPartBackend four_part_avx2();
FourPartBackend four_part_avx512();
FourPartBackend four_part_neon();

}  // namespace glc::entropy

// SPDX-License-Identifier: Apache-2.0
// One run of a four-part step: one template over the Vec trait of vec_avx512.h.
#pragma once

#include <cstdint>

namespace glc::entropy {

/// Which elements of a run belong to the part.
enum class Taken : std::uint8_t { kEven, kOdd, kAll };

/// Adjacent elements. Outputs are written at the taken elements alone; null ones are left out.
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
};

/// Adjacent elements whose even and odd ones belong to two parts, or all to the first. Null outputs
/// are left out; y_q needs y and both means.
struct FourPartMergeRun {
  const float* y;
  const float* mean[2];  // of the part of the even elements, of the odd
  const float* scale[2];
  float* y_q;
  float* mean_out;
  float* scale_out;
  std::int64_t n;
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
    if (run.n < V::kLanes) {
      return short_step(run);
    }
    const Mask aligned = mask(run.taken, 0);
    std::int64_t i = 0;
    for (; i + V::kLanes <= run.n; i += V::kLanes) {
      vector(run, i, aligned);
    }
    if (i < run.n) {  // once more over some elements: they get the same values again
      const std::int64_t last = run.n - V::kLanes;
      vector(run, last, mask(run.taken, last));
    }
  }

  static void merge(const FourPartMergeRun& run) {
    const Mask even = V::alternate(true);
    const auto chosen = [&](const float* const* from, std::int64_t i) {
      return V::select(even, V::load(from[0] + i), V::load(from[1] + i));
    };
    std::int64_t i = 0;
    for (; i + V::kLanes <= run.n; i += V::kLanes) {
      if (run.mean_out != nullptr || run.y_q != nullptr) {
        const F mean = chosen(run.mean, i);
        if (run.y_q != nullptr) {
          V::store(run.y_q + i, symbol(V::load(run.y + i), mean));
        }
        if (run.mean_out != nullptr) {
          V::store(run.mean_out + i, mean);
        }
      }
      if (run.scale_out != nullptr) {
        V::store(run.scale_out + i, chosen(run.scale, i));
      }
    }
    for (; i < run.n; ++i) {
      if (run.y_q != nullptr) {
        alignas(64) float one[V::kLanes] = {};
        one[0] = run.y[i];
        const F y = V::load(one);
        one[0] = run.mean[i % 2][i];
        V::store(one, symbol(y, V::load(one)));
        run.y_q[i] = one[0];
      }
      if (run.mean_out != nullptr) {
        run.mean_out[i] = run.mean[i % 2][i];
      }
      if (run.scale_out != nullptr) {
        run.scale_out[i] = run.scale[i % 2][i];
      }
    }
  }

  /// Through memory as long as a vector.
  static void short_step(const FourPartRun& run) {
    constexpr int kMaps = 7;
    alignas(64) float copies[kMaps][V::kLanes] = {};
    const auto in = [&](int map, const float* from) -> const float* {
      for (std::int64_t i = 0; from != nullptr && i < run.n; ++i) {
        copies[map][i] = from[i];
      }
      return from == nullptr ? nullptr : copies[map];
    };
    const auto out = [&](int map, float* from) -> float* {
      return in(map, from) == nullptr ? nullptr : copies[map];
    };
    FourPartRun padded = {.y = in(0, run.y),
                          .mean = in(1, run.mean),
                          .scale = in(2, run.scale),
                          .y_q = out(3, run.y_q),
                          .y_hat = out(4, run.y_hat),
                          .mean_out = out(5, run.mean_out),
                          .scale_out = out(6, run.scale_out),
                          .n = V::kLanes,
                          .taken = run.taken};
    vector(padded, 0, mask(run.taken, 0));
    const auto back = [&](int map, float* to) {
      for (std::int64_t i = 0; to != nullptr && i < run.n; ++i) {
        to[i] = copies[map][i];
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

}  // namespace glc::entropy

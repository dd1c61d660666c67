// SPDX-License-Identifier: Apache-2.0
// Runs of bfloat16 to floats and back: one template over the Vec trait of vec_avx512.h.
#pragma once

#include <cstdint>

#include "glc/bfloat16.h"

namespace glc::entropy {

template <class V>
struct BFloat16Kernel {
  using F = typename V::F;
  using U = typename V::U;

  static void widen(const BFloat16* from, float* to, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const U halves = V::load_halves(reinterpret_cast<const std::uint16_t*>(from) + i);
      V::store(to + i, V::floats(V::shift_left(halves, 16)));
    }
  }

  /// Half to even; NaN stays one.
  static void narrow(const float* from, BFloat16* to, std::int64_t n) {
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F v = V::load(from + i);
      const U odd = V::both(V::shift_right(V::bits(v), 16), V::splat(1U));
      const U nearest = V::add(V::bits(v), V::add(odd, V::splat(0x7FFFU)));
      const F quiet = v + V::splat(0.0F);  // of a NaN
      const F kept = V::select(V::equal(v, v), V::floats(nearest), quiet);
      V::store_halves(reinterpret_cast<std::uint16_t*>(to) + i, V::shift_right(V::bits(kept), 16));
    }
  }
};

/// One instruction set's loops; n is a multiple of 16.
struct BFloat16Backend {
  void (*widen)(const BFloat16* from, float* to, std::int64_t n);
  void (*narrow)(const float* from, BFloat16* to, std::int64_t n);

  template <class V>
  static BFloat16Backend of() {
    return {.widen = &BFloat16Kernel<V>::widen, .narrow = &BFloat16Kernel<V>::narrow};
  }
};

BFloat16Backend bfloat16_avx2();
BFloat16Backend bfloat16_avx512();
BFloat16Backend bfloat16_neon();

/// Of the best instruction set in force.
const BFloat16Backend& bfloat16_backend();

}  // namespace glc::entropy

// SPDX-License-Identifier: Apache-2.0
// Rounding of residuals: one template over the Vec trait of vec_avx512.h.
#pragma once

#include <cstdint>

namespace glc::entropy {

/// symbols[i] = y[i] - mean[i] rounded half to even. False, and symbols undefined, unless all
/// residuals are below 2^23 and all scales finite. n is a multiple of 16.
using RoundResiduals = bool (*)(const float* y,
                                const float* mean,
                                const float* scale,
                                std::int32_t* symbols,
                                std::int64_t n);

template <class V>
bool round_residuals(const float* y,
                     const float* mean,
                     const float* scale,
                     std::int32_t* symbols,
                     std::int64_t n) {
  using F = typename V::F;
  const F limit = V::splat(8388608.0F);
  const F infinity = V::splat(__builtin_inff());
  auto ordinary = V::less(V::splat(0.0F), limit);
  for (std::int64_t i = 0; i < n; i += V::kLanes) {
    const F residual = V::load(y + i) - V::load(mean + i);
    ordinary = V::all(ordinary, V::less(V::abs(residual), limit));
    ordinary = V::all(ordinary, V::less(V::abs(V::load(scale + i)), infinity));
    V::store_integers(symbols + i, residual);
  }
  return V::every(ordinary);
}

RoundResiduals round_residuals_avx2();
RoundResiduals round_residuals_avx512();

}  // namespace glc::entropy

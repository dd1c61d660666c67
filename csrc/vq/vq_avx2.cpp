// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include <immintrin.h>

#include "vq/vq_kernel.h"

namespace glc {
namespace {

struct Avx2 {
  using Float = __m256;
  using Int = __m256i;
  static constexpr int kWidth = 8;
  static constexpr int kCodes = 6;  // 12 sums, 2 latents and 1 code value fill 15 of 16 registers

  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static Int load_int(const std::int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store_int(std::int32_t* p, Int v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static Float broadcast(float v) { return _mm256_set1_ps(v); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static float fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static void keep_larger(Float score, std::int32_t number, Float& best, Int& index) {
    const __m256 larger = _mm256_cmp_ps(score, best, _CMP_GT_OQ);  // false for NaN
    best = _mm256_blendv_ps(best, score, larger);
    index = _mm256_blendv_epi8(index, _mm256_set1_epi32(number), _mm256_castps_si256(larger));
  }
};

}  // namespace

VqBackend vq_backend_avx2() {
  using Kernel = VqKernel<Avx2>;
  return {
      .panel_rows = Kernel::kPanelRows, .block = &Kernel::block, .half_norms = &Kernel::half_norms};
}

}  // namespace glc

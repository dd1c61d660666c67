// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include <immintrin.h>

#include "vq/vq_backend.h"

namespace glc {
namespace {

struct Avx2 {
  using Float = __m256;
  using Int = __m256i;
  static constexpr int kWidth = 8;
  static constexpr int kCodes = 6;  // 12 sums, 2 latents and 1 code value fill 15 of 16 registers
  static constexpr int kScreenCodes = 5;
  // Two products of 127 * 127 are the most that maddubs adds without saturating.
  static constexpr int kLevels = 63;
  static constexpr int kOffset = 64;

  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static Int load_int(const std::int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store_int(std::int32_t* p, Int v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static Float broadcast(float v) { return _mm256_set1_ps(v); }
  static Int broadcast_int(std::int32_t v) { return _mm256_set1_epi32(v); }
  static Float value(float v) { return broadcast(v); }
  static Int word(std::int32_t v) { return broadcast_int(v); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static float fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static Float larger(Float a, Float b) { return _mm256_max_ps(a, b); }  // b if a is NaN
  static void keep_larger(Float score, std::int32_t number, Float& best, Int& index) {
    const __m256 larger = _mm256_cmp_ps(score, best, _CMP_GT_OQ);  // false for NaN
    best = _mm256_blendv_ps(best, score, larger);
    index = _mm256_blendv_epi8(index, _mm256_set1_epi32(number), _mm256_castps_si256(larger));
  }
  static std::uint32_t not_less(Float a, Float b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }

  static Int dot4(Int sum, Int latents, Int codes) {
    const Int pairs = _mm256_maddubs_epi16(latents, codes);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static Int add_int(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static Int round(Float v) { return _mm256_cvtps_epi32(v); }
  static Float to_float(Int v) { return _mm256_cvtepi32_ps(v); }
  static Int put_byte(Int word, Int value, int byte) {
    const Int low = _mm256_and_si256(value, _mm256_set1_epi32(0xFF));
    return _mm256_or_si256(word, _mm256_slli_epi32(low, 8 * byte));
  }
};

}  // namespace

VqBackend vq_backend_avx2() {
  return {.exact = vq_exact_backend_of<Avx2>(), .screen = vq_screen_backend_of<Avx2>()};
}

}  // namespace glc

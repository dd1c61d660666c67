// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the entropy kernels for AVX2 with FMA; see vec_avx512.h.
#pragma once

#include <cstdint>
#include <immintrin.h>

namespace glc::entropy {
namespace {

struct VecAvx2 {
  static constexpr int kLanes = 8;
  using F = __m256;
  using U = __m256i;
  using Mask = __m256;

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static void stream(float* p, F v) { _mm256_stream_ps(p, v); }
  static void drain() { _mm_sfence(); }
  using Part = __m256i;
  static Part first(std::int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), iota());
  }
  static F load(const float* p, Part part) { return _mm256_maskload_ps(p, part); }
  static void store(float* p, F v, Part part) { _mm256_maskstore_ps(p, part, v); }
  static F splat(float v) { return _mm256_set1_ps(v); }
  static U splat(std::uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }
  static U iota() { return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0); }
  static U bits(F v) { return _mm256_castps_si256(v); }
  static F floats(U v) { return _mm256_castsi256_ps(v); }

  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F fnma(F a, F b, F c) { return _mm256_fnmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F abs(F v) { return _mm256_andnot_ps(splat(-0.0F), v); }
  static F flip(F v, F sign) { return _mm256_xor_ps(v, _mm256_and_ps(sign, splat(-0.0F))); }
  static F quotient(F a, F b) { return a / b; }
  static F estimate(F a, F b) { return a / b; }
  static constexpr bool kHasExp2 = false;
  static F round_small(F v) { return round(v); }
  static F round(F v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F scale(F v, F n) {
    const U exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return floats(_mm256_add_epi32(bits(v), exponent));
  }

  static Mask less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static Mask equal(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
  static F select(Mask m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
  static F where(Mask m, F v) { return _mm256_and_ps(m, v); }
  static Mask alternate(bool even) {
    return _mm256_castsi256_ps(_mm256_set1_epi64x(even ? 0x00000000FFFFFFFF : -0x100000000));
  }
  static Mask all(Mask a, Mask b) { return _mm256_and_ps(a, b); }
  static bool every(Mask m) { return _mm256_movemask_ps(m) == 0xFF; }
  static void store_integers(std::int32_t* p, F v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_cvtps_epi32(round(v)));
  }

  static U load(const std::uint32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store(std::uint32_t* p, U v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static void store_bytes(std::uint8_t* p, U v) {
    const __m128i low = _mm256_castsi256_si128(v);
    const __m128i words = _mm_packus_epi32(low, _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  static U load_halves(const std::uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store_halves(std::uint16_t* p, U v) {
    const __m128i low = _mm256_castsi256_si128(v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi32(low, _mm256_extracti128_si256(v, 1)));
  }
  static U min(U a, U b) { return _mm256_min_epu32(a, b); }
  static U max(U a, U b) { return _mm256_max_epu32(a, b); }
  static U add_if_greater(U v, U a, U b) { return _mm256_sub_epi32(v, _mm256_cmpgt_epi32(a, b)); }

  static U add(U a, U b) { return _mm256_add_epi32(a, b); }
  static U sub(U a, U b) { return _mm256_sub_epi32(a, b); }
  static U both(U a, U b) { return _mm256_and_si256(a, b); }
  static U differ(U a, U b) { return _mm256_xor_si256(a, b); }
  static U shift_left(U v, int n) { return _mm256_sll_epi32(v, _mm_cvtsi32_si128(n)); }
  static U shift_right(U v, int n) { return _mm256_srl_epi32(v, _mm_cvtsi32_si128(n)); }
  static F from_signed(U v) { return _mm256_cvtepi32_ps(v); }
  static U truncated(F v) { return _mm256_cvttps_epi32(v); }
  static U shift_right_signed(U v, int n) { return _mm256_sra_epi32(v, _mm_cvtsi32_si128(n)); }
  static U multiply(U a, U b, U* high) {
    const U even = _mm256_mul_epu32(a, b);
    const U odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }

  struct Sum {
    __m256d low = _mm256_setzero_pd();
    __m256d high = _mm256_setzero_pd();
    void add(F v) {
      low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
      high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
    }
    [[nodiscard]] double total() const {
      const __m256d four = _mm256_add_pd(low, high);
      const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
      return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
    }
  };
};

}  // namespace
}  // namespace glc::entropy

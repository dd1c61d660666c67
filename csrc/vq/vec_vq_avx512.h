// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the vq kernels for AVX-512 F, BW, DQ and VL. In an anonymous namespace on
// purpose: each file that is compiled for an instruction set gets its own copy.
#pragma once

#include <cstdint>
#include <immintrin.h>

namespace glc {
namespace {

struct Avx512 {
  using Float = __m512;
  using Int = __m512i;
  static constexpr int kWidth = 16;
  static constexpr int kCodes = 12;  // 24 sums, 2 latents and 1 code value fill 27 of 32 registers
  static constexpr int kScreenCodes = 12;
  static constexpr int kLevels = 127;
  static constexpr int kOffset = 128;

  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
  static Int load_int(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void store_int(std::int32_t* p, Int v) { _mm512_storeu_si512(p, v); }
  static Float broadcast(float v) { return _mm512_set1_ps(v); }
  static Int broadcast_int(std::int32_t v) { return _mm512_set1_epi32(v); }
  static Float value(float v) { return broadcast(v); }
  static Int word(std::int32_t v) { return broadcast_int(v); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static float fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static Float larger(Float a, Float b) { return _mm512_max_ps(a, b); }  // b if a is NaN
  static void keep_larger(Float score, std::int32_t number, Float& best, Int& index) {
    const __mmask16 larger = _mm512_cmp_ps_mask(score, best, _CMP_GT_OQ);  // false for NaN
    best = _mm512_mask_mov_ps(best, larger, score);
    index = _mm512_mask_mov_epi32(index, larger, _mm512_set1_epi32(number));
  }
  static std::uint32_t not_less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }

  static Int add_int(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int round(Float v) { return _mm512_cvtps_epi32(v); }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
  static Int put_byte(Int word, Int value, int byte) {
    const Int low = _mm512_and_si512(value, _mm512_set1_epi32(0xFF));
    return _mm512_or_si512(word, _mm512_slli_epi32(low, static_cast<unsigned>(8 * byte)));
  }
};

}  // namespace
}  // namespace glc

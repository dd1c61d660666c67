// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the entropy kernels for AVX-512 F, BW, DQ and VL. In an anonymous namespace on
// purpose: each file that is compiled for an instruction set gets its own copy. Vectors of floats
// take the operators + - * / as they are.
#pragma once

#include <cstdint>
#include <immintrin.h>

namespace glc::entropy {
namespace {

struct VecAvx512 {
  static constexpr int kLanes = 16;
  using F = __m512;
  using U = __m512i;
  using Mask = __mmask16;

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  /// Past the caches, to a multiple of a vector; other threads see it after `drain`. Not
  /// everywhere.
  static void stream(float* p, F v) { _mm512_stream_ps(p, v); }
  static void drain() { _mm_sfence(); }
  /// The first n lanes, n < kLanes: other lanes are loaded as 0, and not stored.
  using Part = __mmask16;
  static Part first(std::int64_t n) { return static_cast<Part>((1U << n) - 1U); }
  static F load(const float* p, Part part) { return _mm512_maskz_loadu_ps(part, p); }
  static void store(float* p, F v, Part part) { _mm512_mask_storeu_ps(p, part, v); }
  static F splat(float v) { return _mm512_set1_ps(v); }
  static U splat(std::uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
  static U iota() { return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
  static U bits(F v) { return _mm512_castps_si512(v); }
  static F floats(U v) { return _mm512_castsi512_ps(v); }

  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  /// c - a * b
  static F fnma(F a, F b, F c) { return _mm512_fnmadd_ps(a, b, c); }
  /// b where a or b is NaN.
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F abs(F v) { return _mm512_abs_ps(v); }
  /// v, or -v where the sign is negative.
  static F flip(F v, F sign) { return _mm512_xor_ps(v, _mm512_and_ps(sign, splat(-0.0F))); }
  static F round(F v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // A device has quicker ways to these two, of normal numbers and of |v| < 2^22.
  static F quotient(F a, F b) { return a / b; }
  static F estimate(F a, F b) { return a / b; }
  static constexpr bool kHasExp2 = false;
  static F round_small(F v) { return round(v); }
  /// v * 2^n for whole n, where nothing under- or overflows.
  static F scale(F v, F n) { return _mm512_scalef_ps(v, n); }

  static Mask less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static Mask equal(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static F select(Mask m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
  static F where(Mask m, F v) { return _mm512_maskz_mov_ps(m, v); }
  /// Lanes 0, 2, .. or 1, 3, ..
  static Mask alternate(bool even) { return even ? 0x5555 : 0xAAAA; }
  static Mask all(Mask a, Mask b) { return a & b; }
  static bool every(Mask m) { return m == 0xFFFFU; }
  /// Rounded half to even.
  static void store_integers(std::int32_t* p, F v) {
    _mm512_storeu_si512(p,
                        _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  static U load(const std::uint32_t* p) { return _mm512_loadu_si512(p); }
  static void store(std::uint32_t* p, U v) { _mm512_storeu_si512(p, v); }
  /// The lowest byte of each lane.
  static void store_bytes(std::uint8_t* p, U v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }
  /// 16 bits a lane; stored ones are below 2^16.
  static U load_halves(const std::uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_halves(std::uint16_t* p, U v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }
  /// Unsigned, as is max.
  static U min(U a, U b) { return _mm512_min_epu32(a, b); }
  static U max(U a, U b) { return _mm512_max_epu32(a, b); }
  /// v + (a > b ? 1 : 0), a and b below 2^31.
  static U add_if_greater(U v, U a, U b) {
    return _mm512_mask_add_epi32(v, _mm512_cmpgt_epi32_mask(a, b), v, _mm512_set1_epi32(1));
  }

  static U add(U a, U b) { return _mm512_add_epi32(a, b); }
  static U sub(U a, U b) { return _mm512_sub_epi32(a, b); }
  static U both(U a, U b) { return _mm512_and_si512(a, b); }
  static U differ(U a, U b) { return _mm512_xor_si512(a, b); }
  static U shift_left(U v, int n) { return _mm512_sll_epi32(v, _mm_cvtsi32_si128(n)); }
  static U shift_right(U v, int n) { return _mm512_srl_epi32(v, _mm_cvtsi32_si128(n)); }
  static F from_signed(U v) { return _mm512_cvtepi32_ps(v); }
  /// Towards zero, to signed integers; |v| < 2^31.
  static U truncated(F v) { return _mm512_cvttps_epi32(v); }
  static U shift_right_signed(U v, int n) { return _mm512_sra_epi32(v, _mm_cvtsi32_si128(n)); }
  /// Both halves of the 64-bit products.
  static U multiply(U a, U b, U* high) {
    const U even = _mm512_mul_epu32(a, b);
    const U odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);
    *high = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
  }

  /// Adds the lanes to sums of double precision.
  struct Sum {
    __m512d low = _mm512_setzero_pd();
    __m512d high = _mm512_setzero_pd();
    void add(F v) {
      low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
      high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
    }
    [[nodiscard]] double total() const { return _mm512_reduce_add_pd(_mm512_add_pd(low, high)); }
  };
};

}  // namespace
}  // namespace glc::entropy

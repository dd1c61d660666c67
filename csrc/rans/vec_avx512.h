// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of rans_simd.h for AVX-512 F, BW, DQ and VL. In an anonymous namespace on purpose:
// each file that is compiled for an instruction set gets its own copy.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "rans/entries.h"
#include "rans/luts.h"
#include "rans/vec_avx2.h"

namespace glc::rans {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16;
  using U32 = __m512i;
  using Mask = __mmask16;

  static U32 load(const std::uint32_t* p) { return _mm512_loadu_si512(p); }
  static U32 load(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(std::uint32_t* p, U32 v) { _mm512_storeu_si512(p, v); }
  static void store(std::int32_t* p, U32 v) { _mm512_storeu_si512(p, v); }
  static U32 splat(std::uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }

  static U32 rows(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static U32 rows(const std::uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static U32 rows(const std::int32_t* p) { return _mm512_loadu_si512(p); }

  static U32 add(U32 a, U32 b) { return _mm512_add_epi32(a, b); }
  static U32 sub(U32 a, U32 b) { return _mm512_sub_epi32(a, b); }
  static U32 mul(U32 a, U32 b) { return _mm512_mullo_epi32(a, b); }
  /// The high halves of the 64-bit products.
  static U32 mul_high(U32 a, U32 b) {
    const U32 even = _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32);
    const U32 odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    return _mm512_mask_blend_epi32(0xAAAA, even, odd);
  }
  static U32 both(U32 a, U32 b) { return _mm512_and_si512(a, b); }
  static U32 shift_left(U32 v, U32 n) { return _mm512_sllv_epi32(v, n); }
  static U32 shift_right(U32 v, U32 n) { return _mm512_srlv_epi32(v, n); }
  static U32 min_signed(U32 a, U32 b) { return _mm512_min_epi32(a, b); }

  static U32 min_unsigned(U32 a, U32 b) { return _mm512_min_epu32(a, b); }
  static Mask equal(U32 a, U32 b) { return _mm512_cmpeq_epi32_mask(a, b); }
  static Mask either(Mask a, Mask b) { return a | b; }

  /// a > b for values below 2^31.
  static Mask greater(U32 a, U32 b) { return _mm512_cmpgt_epi32_mask(a, b); }
  static std::uint32_t bits(Mask m) { return m; }
  static Mask none() { return 0; }
  static U32 where(Mask m, U32 v) { return _mm512_maskz_mov_epi32(m, v); }
  /// a where the mask is set, else b.
  static U32 select(Mask m, U32 a, U32 b) { return _mm512_mask_blend_epi32(m, b, a); }
  static U32 with_lane(U32 v, int lane, std::uint32_t value) {
    return _mm512_mask_set1_epi32(v, static_cast<Mask>(1U << lane), static_cast<int>(value));
  }

  /// The 8-byte entries table[index], their first and second halves.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(const Entry* table, U32 index, U32& low, U32& high) {
    static_assert(sizeof(Entry) == 8);
    split(_mm512_i32gather_epi64(_mm512_castsi512_si256(index), table, 8),
          _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(index, 1), table, 8),
          low,
          high);
  }
  /// The 16-byte entries table[index], their four quarters.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(
      const Entry* table, U32 index, U32& a, U32& b, U32& c, U32& d) {
    static_assert(sizeof(Entry) == 16);
    std::uint32_t at[kLanes];
    store(at, index);
    const auto entry = [&](int lane) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + at[lane]));
    };
    const auto every_fourth = [&](int lane) {
      U32 v = _mm512_castsi128_si512(entry(lane));
      v = _mm512_inserti32x4(v, entry(lane + 4), 1);
      v = _mm512_inserti32x4(v, entry(lane + 8), 2);
      return _mm512_inserti32x4(v, entry(lane + 12), 3);
    };
    const U32 e0 = every_fourth(0);
    const U32 e1 = every_fourth(1);
    const U32 e2 = every_fourth(2);
    const U32 e3 = every_fourth(3);
    const U32 ab01 = _mm512_unpacklo_epi32(e0, e1);
    const U32 cd01 = _mm512_unpackhi_epi32(e0, e1);
    const U32 ab23 = _mm512_unpacklo_epi32(e2, e3);
    const U32 cd23 = _mm512_unpackhi_epi32(e2, e3);
    a = _mm512_unpacklo_epi64(ab01, ab23);
    b = _mm512_unpackhi_epi64(ab01, ab23);
    c = _mm512_unpacklo_epi64(cd01, cd23);
    d = _mm512_unpackhi_epi64(cd01, cd23);
  }
  /// The 4-byte entries table[index].
  [[gnu::always_inline]] static U32 lookup(const std::uint32_t* table, U32 index) {
    return _mm512_i32gather_epi32(index, table, 4);
  }
  /// The entries table[indices[lane]], their first and second halves.
  template <class Entry, class Index>
  [[gnu::always_inline]] static void lookup(const Entry* table,
                                            const Index* indices,
                                            U32& low,
                                            U32& high) {
    const auto four = [&](int i) {
      return _mm256_set_m128i(load_two(table + indices[i + 2], table + indices[i + 3]),
                              load_two(table + indices[i], table + indices[i + 1]));
    };
    const auto eight = [&](int i) {
      return _mm512_inserti64x4(_mm512_castsi256_si512(four(i)), four(i + 4), 1);
    };
    split(eight(0), eight(8), low, high);
  }

  /// Lanes below 2^16 take a word each; reads 32 bytes.
  [[gnu::always_inline]] static U32 refill(U32 x, const std::uint8_t*& words) {
    const Mask lacking = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(0x10000));
    const __m256i next = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
    words += 2 * _mm_popcnt_u32(lacking);
    const U32 word = _mm512_maskz_expand_epi32(lacking, _mm512_cvtepu16_epi32(next));
    return _mm512_mask_or_epi32(x, lacking, _mm512_slli_epi32(x, 16), word);
  }
  /// Lanes in the mask give up a word each; writes 16 bytes below words, twice.
  [[gnu::always_inline]] static U32 spill(U32 x, Mask spilling, std::uint8_t*& words) {
    const __m256i low = _mm512_cvtepi32_epi16(x);
    spill_half(_mm256_extracti128_si256(low, 1), static_cast<std::uint32_t>(spilling) >> 8, words);
    spill_half(_mm256_castsi256_si128(low), spilling & 0xFFU, words);
    return _mm512_mask_srli_epi32(x, spilling, x, 16);
  }

  /// Stores the low bytes of kVecs vectors of values below 256.
  template <int kVecs>
  static void store_bytes(std::uint8_t* p, const U32 (&v)[kVecs]) {
    for (int i = 0; i < kVecs; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16 * i), _mm512_cvtepi32_epi8(v[i]));
    }
  }

  /// True when one of the 64 bytes from p on is in the set.
  static bool any_member(const std::uint8_t* p, const ByteSet& set) {
    return Avx2::any_member(p, set);
  }

 private:
  template <class Entry>
  static __m128i load_two(const Entry* a, const Entry* b) {
    static_assert(sizeof(Entry) == 8);
    const __m128 low = _mm_castsi128_ps(_mm_loadu_si64(a));
    return _mm_castps_si128(_mm_loadh_pi(low, reinterpret_cast<const __m64*>(b)));
  }
  static void split(__m512i e0to7, __m512i e8to15, U32& low, U32& high) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    low = _mm512_permutex2var_epi32(e0to7, even, e8to15);
    high = _mm512_permutex2var_epi32(e0to7, _mm512_or_si512(even, _mm512_set1_epi32(1)), e8to15);
  }
  static void spill_half(__m128i low, std::uint32_t mask, std::uint8_t*& words) {
    const auto* shuffle = reinterpret_cast<const __m128i*>(kSpill<8>[mask].data());
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words - 16),
                     _mm_shuffle_epi8(low, _mm_load_si128(shuffle)));
    words -= 2 * _mm_popcnt_u32(mask);
  }
};

}  // namespace
}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of rans_simd.h for AVX2. In an anonymous namespace on purpose: each file that is
// compiled for an instruction set gets its own copy.
//
// Lookups load entry by entry. The gather instruction was measured 15 to 40 % slower on Zen 5.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "rans/entries.h"
#include "rans/luts.h"

namespace glc::rans {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  using U32 = __m256i;
  using Mask = __m256i;

  static U32 load(const std::uint32_t* p) { return _mm256_loadu_si256(as_vector(p)); }
  static U32 load(const std::int32_t* p) { return _mm256_loadu_si256(as_vector(p)); }
  static void store(std::uint32_t* p, U32 v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static void store(std::int32_t* p, U32 v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  static U32 splat(std::uint32_t v) { return _mm256_set1_epi32(static_cast<int>(v)); }

  static U32 rows(const std::uint8_t* p) { return _mm256_cvtepu8_epi32(_mm_loadu_si64(p)); }
  static U32 rows(const std::uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static U32 rows(const std::int32_t* p) { return _mm256_loadu_si256(as_vector(p)); }

  static U32 add(U32 a, U32 b) { return _mm256_add_epi32(a, b); }
  static U32 sub(U32 a, U32 b) { return _mm256_sub_epi32(a, b); }
  static U32 mul(U32 a, U32 b) { return _mm256_mullo_epi32(a, b); }
  /// The high halves of the 64-bit products.
  static U32 mul_high(U32 a, U32 b) {
    const U32 even = _mm256_srli_epi64(_mm256_mul_epu32(a, b), 32);
    const U32 odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return _mm256_blend_epi32(even, odd, 0xAA);
  }
  static U32 both(U32 a, U32 b) { return _mm256_and_si256(a, b); }
  static U32 shift_left(U32 v, U32 n) { return _mm256_sllv_epi32(v, n); }
  static U32 shift_right(U32 v, U32 n) { return _mm256_srlv_epi32(v, n); }
  static U32 min_signed(U32 a, U32 b) { return _mm256_min_epi32(a, b); }
  static U32 min_unsigned(U32 a, U32 b) { return _mm256_min_epu32(a, b); }

  static Mask none() { return _mm256_setzero_si256(); }
  static Mask either(Mask a, Mask b) { return _mm256_or_si256(a, b); }
  static Mask equal(U32 a, U32 b) { return _mm256_cmpeq_epi32(a, b); }
  /// a > b for values below 2^31.
  static Mask greater(U32 a, U32 b) { return _mm256_cmpgt_epi32(a, b); }
  static std::uint32_t bits(Mask m) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m)));
  }
  static U32 where(Mask m, U32 v) { return _mm256_and_si256(m, v); }
  /// a where the mask is set, else b.
  static U32 select(Mask m, U32 a, U32 b) { return _mm256_blendv_epi8(b, a, m); }
  static U32 with_lane(U32 v, int lane, std::uint32_t value) {
    const U32 lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_epi8(
        v, splat(value), equal(lanes, splat(static_cast<std::uint32_t>(lane))));
  }

  /// The 8-byte entries table[index], their first and second halves.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(const Entry* table, U32 index, U32& low, U32& high) {
    const __m128i i0 = _mm256_castsi256_si128(index);
    const __m128i i1 = _mm256_extracti128_si256(index, 1);
    split(two(table, i0, 0), two(table, i0, 1), two(table, i1, 0), two(table, i1, 1), low, high);
  }
  /// The 16-byte entries table[index], their four quarters.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(
      const Entry* table, U32 index, U32& a, U32& b, U32& c, U32& d) {
    static_assert(sizeof(Entry) == 16);
    const __m128i i0 = _mm256_castsi256_si128(index);
    const __m128i i1 = _mm256_extracti128_si256(index, 1);
    const auto i01 = static_cast<std::uint64_t>(_mm_cvtsi128_si64(i0));
    const auto i23 = static_cast<std::uint64_t>(_mm_extract_epi64(i0, 1));
    const auto i45 = static_cast<std::uint64_t>(_mm_cvtsi128_si64(i1));
    const auto i67 = static_cast<std::uint64_t>(_mm_extract_epi64(i1, 1));
    const auto entries = [table](std::uint64_t low, std::uint64_t high) {
      return _mm256_set_m128i(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + high)),
                              _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + low)));
    };
    const U32 e04 = entries(static_cast<std::uint32_t>(i01), static_cast<std::uint32_t>(i45));
    const U32 e15 = entries(i01 >> 32, i45 >> 32);
    const U32 e26 = entries(static_cast<std::uint32_t>(i23), static_cast<std::uint32_t>(i67));
    const U32 e37 = entries(i23 >> 32, i67 >> 32);
    const U32 ab01 = _mm256_unpacklo_epi32(e04, e15);
    const U32 cd01 = _mm256_unpackhi_epi32(e04, e15);
    const U32 ab23 = _mm256_unpacklo_epi32(e26, e37);
    const U32 cd23 = _mm256_unpackhi_epi32(e26, e37);
    a = _mm256_unpacklo_epi64(ab01, ab23);
    b = _mm256_unpackhi_epi64(ab01, ab23);
    c = _mm256_unpacklo_epi64(cd01, cd23);
    d = _mm256_unpackhi_epi64(cd01, cd23);
  }
  /// The 4-byte entries table[index].
  [[gnu::always_inline]] static U32 lookup(const std::uint32_t* table, U32 index) {
    return _mm256_set_m128i(four(table, _mm256_extracti128_si256(index, 1)),
                            four(table, _mm256_castsi256_si128(index)));
  }
  /// The entries table[indices[lane]], their first and second halves.
  template <class Entry, class Index>
  [[gnu::always_inline]] static void lookup(const Entry* table,
                                            const Index* indices,
                                            U32& low,
                                            U32& high) {
    const auto pair = [&](int i) { return load_two(table + indices[i], table + indices[i + 1]); };
    split(pair(0), pair(2), pair(4), pair(6), low, high);
  }

  /// Lanes below 2^16 take a word each; reads 16 bytes.
  [[gnu::always_inline]] static U32 refill(U32 x, const std::uint8_t*& words) {
    const Mask lacking = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
    const std::uint32_t mask = bits(lacking);
    const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
    const __m128i word = _mm_shuffle_epi8(next, shuffle(kRefill<8>[mask].data()));
    words += 2 * _mm_popcnt_u32(mask);
    const U32 refilled = _mm256_or_si256(_mm256_slli_epi32(x, 16), _mm256_cvtepu16_epi32(word));
    return _mm256_blendv_epi8(x, refilled, lacking);
  }
  /// Lanes in the mask give up a word each; writes 16 bytes below words.
  [[gnu::always_inline]] static U32 spill(U32 x, Mask spilling, std::uint8_t*& words) {
    const std::uint32_t mask = bits(spilling);
    const U32 low = _mm256_and_si256(x, _mm256_set1_epi32(0xFFFF));
    const __m128i packed =
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words - 16),
                     _mm_shuffle_epi8(packed, shuffle(kSpill<8>[mask].data())));
    words -= 2 * _mm_popcnt_u32(mask);
    return _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), spilling);
  }

  /// Stores the low bytes of kVecs vectors of values below 256.
  template <int kVecs>
  static void store_bytes(std::uint8_t* p, const U32 (&v)[kVecs]) {
    if constexpr (kVecs == 4) {
      const U32 a = _mm256_packus_epi32(v[0], v[1]);
      const U32 b = _mm256_packus_epi32(v[2], v[3]);
      const U32 order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      const U32 bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
    } else {
      for (int i = 0; i < kVecs; ++i) {
        const __m128i words =
            _mm_packus_epi32(_mm256_castsi256_si128(v[i]), _mm256_extracti128_si256(v[i], 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 8 * i), _mm_packus_epi16(words, words));
      }
    }
  }

  /// True when one of the 64 bytes from p on is in the set.
  static bool any_member(const std::uint8_t* p, const ByteSet& set) {
    const __m256i low =
        _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(set.low)));
    const __m256i high =
        _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(set.high)));
    const __m256i bits = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    __m256i any = _mm256_setzero_si256();
    for (int i = 0; i < 2; ++i) {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * i));
      const __m256i index = _mm256_and_si256(v, nibble);
      const __m256i eight =
          _mm256_blendv_epi8(_mm256_shuffle_epi8(low, index), _mm256_shuffle_epi8(high, index), v);
      const __m256i bit =
          _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
      any = _mm256_or_si256(any, _mm256_and_si256(eight, bit));
    }
    return _mm256_testz_si256(any, any) == 0;
  }

 private:
  template <class T>
  static const __m256i* as_vector(const T* p) {
    return reinterpret_cast<const __m256i*>(p);
  }
  static __m128i shuffle(const std::uint8_t* p) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(p));
  }
  template <class Entry>
  static __m128i load_two(const Entry* a, const Entry* b) {
    static_assert(sizeof(Entry) == 8);
    const __m128 low = _mm_castsi128_ps(_mm_loadu_si64(a));
    return _mm_castps_si128(_mm_loadh_pi(low, reinterpret_cast<const __m64*>(b)));
  }
  /// Entries of the indices 2 * half and 2 * half + 1.
  template <class Entry>
  static __m128i two(const Entry* table, __m128i index, int half) {
    const auto pair = static_cast<std::uint64_t>(half == 0 ? _mm_cvtsi128_si64(index)
                                                           : _mm_extract_epi64(index, 1));
    return load_two(table + static_cast<std::uint32_t>(pair), table + (pair >> 32));
  }
  static __m128i four(const std::uint32_t* table, __m128i index) {
    const auto i01 = static_cast<std::uint64_t>(_mm_cvtsi128_si64(index));
    const auto i23 = static_cast<std::uint64_t>(_mm_extract_epi64(index, 1));
    const auto at = [table](std::uint64_t i) { return static_cast<int>(table[i]); };
    __m128i v = _mm_cvtsi32_si128(at(static_cast<std::uint32_t>(i01)));
    v = _mm_insert_epi32(v, at(i01 >> 32), 1);
    v = _mm_insert_epi32(v, at(static_cast<std::uint32_t>(i23)), 2);
    return _mm_insert_epi32(v, at(i23 >> 32), 3);
  }
  static void split(__m128i e01, __m128i e23, __m128i e45, __m128i e67, U32& low, U32& high) {
    const __m256 a = _mm256_castsi256_ps(_mm256_set_m128i(e45, e01));
    const __m256 b = _mm256_castsi256_ps(_mm256_set_m128i(e67, e23));
    low = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
    high = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD));
  }
};

}  // namespace
}  // namespace glc::rans

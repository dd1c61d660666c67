// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of rans_simd.h for AArch64, where NEON is part of the baseline.
#pragma once

#include <arm_neon.h>
#include <cstdint>
#include <cstring>

#include "rans/entries.h"
#include "rans/luts.h"

namespace glc::rans {
namespace {

struct Neon {
  static constexpr int kLanes = 4;
  using U32 = uint32x4_t;
  using Mask = uint32x4_t;

  static U32 load(const std::uint32_t* p) { return vld1q_u32(p); }
  static U32 load(const std::int32_t* p) { return vreinterpretq_u32_s32(vld1q_s32(p)); }
  static void store(std::uint32_t* p, U32 v) { vst1q_u32(p, v); }
  static void store(std::int32_t* p, U32 v) { vst1q_s32(p, vreinterpretq_s32_u32(v)); }
  static U32 splat(std::uint32_t v) { return vdupq_n_u32(v); }

  static U32 rows(const std::uint8_t* p) {
    std::uint32_t four;
    std::memcpy(&four, p, sizeof(four));
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vmovl_u16(vget_low_u16(vmovl_u8(bytes)));
  }
  static U32 rows(const std::uint16_t* p) { return vmovl_u16(vld1_u16(p)); }
  static U32 rows(const std::int32_t* p) { return vreinterpretq_u32_s32(vld1q_s32(p)); }

  static U32 add(U32 a, U32 b) { return vaddq_u32(a, b); }
  static U32 sub(U32 a, U32 b) { return vsubq_u32(a, b); }
  static U32 mul(U32 a, U32 b) { return vmulq_u32(a, b); }
  /// The high halves of the 64-bit products.
  static U32 mul_high(U32 a, U32 b) {
    const uint64x2_t low = vmull_u32(vget_low_u32(a), vget_low_u32(b));
    const uint64x2_t high = vmull_high_u32(a, b);
    return vuzp2q_u32(vreinterpretq_u32_u64(low), vreinterpretq_u32_u64(high));
  }
  static U32 both(U32 a, U32 b) { return vandq_u32(a, b); }
  static U32 shift_left(U32 v, U32 n) { return vshlq_u32(v, vreinterpretq_s32_u32(n)); }
  static U32 shift_right(U32 v, U32 n) { return vshlq_u32(v, vnegq_s32(vreinterpretq_s32_u32(n))); }
  static U32 min_signed(U32 a, U32 b) {
    return vreinterpretq_u32_s32(vminq_s32(vreinterpretq_s32_u32(a), vreinterpretq_s32_u32(b)));
  }
  static U32 min_unsigned(U32 a, U32 b) { return vminq_u32(a, b); }

  static Mask none() { return vdupq_n_u32(0); }
  static Mask either(Mask a, Mask b) { return vorrq_u32(a, b); }
  static Mask equal(U32 a, U32 b) { return vceqq_u32(a, b); }
  /// a > b for values below 2^31.
  static Mask greater(U32 a, U32 b) { return vcgtq_u32(a, b); }
  static std::uint32_t bits(Mask m) {
    static constexpr std::uint32_t kBits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(kBits)));
  }
  static U32 where(Mask m, U32 v) { return vandq_u32(m, v); }
  /// a where the mask is set, else b.
  static U32 select(Mask m, U32 a, U32 b) { return vbslq_u32(m, a, b); }
  static U32 with_lane(U32 v, int lane, std::uint32_t value) {
    static constexpr std::uint32_t kNumbers[4] = {0, 1, 2, 3};
    const Mask there = vceqq_u32(vld1q_u32(kNumbers), splat(static_cast<std::uint32_t>(lane)));
    return vbslq_u32(there, splat(value), v);
  }

  /// The 8-byte entries table[index], their first and second halves.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(const Entry* table, U32 index, U32& low, U32& high) {
    const U32 a = two(table + vgetq_lane_u32(index, 0), table + vgetq_lane_u32(index, 1));
    const U32 b = two(table + vgetq_lane_u32(index, 2), table + vgetq_lane_u32(index, 3));
    low = vuzp1q_u32(a, b);
    high = vuzp2q_u32(a, b);
  }
  /// The 16-byte entries table[index], their four quarters.
  template <class Entry>
  [[gnu::always_inline]] static void lookup(
      const Entry* table, U32 index, U32& a, U32& b, U32& c, U32& d) {
    static_assert(sizeof(Entry) == 16);
    const U32 e0 = four(table + vgetq_lane_u32(index, 0));
    const U32 e1 = four(table + vgetq_lane_u32(index, 1));
    const U32 e2 = four(table + vgetq_lane_u32(index, 2));
    const U32 e3 = four(table + vgetq_lane_u32(index, 3));
    const uint64x2_t ab01 = vreinterpretq_u64_u32(vzip1q_u32(e0, e1));
    const uint64x2_t cd01 = vreinterpretq_u64_u32(vzip2q_u32(e0, e1));
    const uint64x2_t ab23 = vreinterpretq_u64_u32(vzip1q_u32(e2, e3));
    const uint64x2_t cd23 = vreinterpretq_u64_u32(vzip2q_u32(e2, e3));
    a = vreinterpretq_u32_u64(vzip1q_u64(ab01, ab23));
    b = vreinterpretq_u32_u64(vzip2q_u64(ab01, ab23));
    c = vreinterpretq_u32_u64(vzip1q_u64(cd01, cd23));
    d = vreinterpretq_u32_u64(vzip2q_u64(cd01, cd23));
  }
  /// The 4-byte entries table[index].
  [[gnu::always_inline]] static U32 lookup(const std::uint32_t* table, U32 index) {
    U32 v = vld1q_dup_u32(table + vgetq_lane_u32(index, 0));
    v = vld1q_lane_u32(table + vgetq_lane_u32(index, 1), v, 1);
    v = vld1q_lane_u32(table + vgetq_lane_u32(index, 2), v, 2);
    return vld1q_lane_u32(table + vgetq_lane_u32(index, 3), v, 3);
  }
  /// The entries table[indices[lane]], their first and second halves.
  template <class Entry, class Index>
  [[gnu::always_inline]] static void lookup(const Entry* table,
                                            const Index* indices,
                                            U32& low,
                                            U32& high) {
    const U32 a = two(table + indices[0], table + indices[1]);
    const U32 b = two(table + indices[2], table + indices[3]);
    low = vuzp1q_u32(a, b);
    high = vuzp2q_u32(a, b);
  }

  /// Lanes below 2^16 take a word each; reads 8 bytes.
  [[gnu::always_inline]] static U32 refill(U32 x, const std::uint8_t*& words) {
    const Mask lacking = vcltq_u32(x, vdupq_n_u32(0x10000));
    const std::uint32_t mask = bits(lacking);
    const uint8x8_t word = vtbl1_u8(vld1_u8(words), vld1_u8(kRefill<4>[mask].data()));
    words += 2 * __builtin_popcount(mask);
    const U32 refilled = vorrq_u32(vshlq_n_u32(x, 16), vmovl_u16(vreinterpret_u16_u8(word)));
    return vbslq_u32(lacking, refilled, x);
  }
  /// Lanes in the mask give up a word each; writes 8 bytes below words.
  [[gnu::always_inline]] static U32 spill(U32 x, Mask spilling, std::uint8_t*& words) {
    const std::uint32_t mask = bits(spilling);
    const uint8x8_t low = vreinterpret_u8_u16(vmovn_u32(x));
    const uint8x8_t packed = vtbl1_u8(low, vld1_u8(kSpill<4>[mask].data()));
    vst1_u8(words - 8, packed);
    words -= 2 * __builtin_popcount(mask);
    return vbslq_u32(spilling, vshrq_n_u32(x, 16), x);
  }

  /// Stores the low bytes of kVecs vectors of values below 256.
  template <int kVecs>
  static void store_bytes(std::uint8_t* p, const U32 (&v)[kVecs]) {
    static_assert(kVecs % 2 == 0);
    for (int i = 0; i < kVecs; i += 2) {
      const uint16x8_t words = vcombine_u16(vmovn_u32(v[i]), vmovn_u32(v[i + 1]));
      vst1_u8(p + 4 * i, vmovn_u16(words));
    }
  }

  /// True when one of the 64 bytes from p on is in the set.
  static bool any_member(const std::uint8_t* p, const ByteSet& set) {
    const uint8x16_t low = vld1q_u8(set.low);
    const uint8x16_t high = vld1q_u8(set.high);
    uint8x16_t any = vdupq_n_u8(0);
    for (int i = 0; i < 4; ++i) {
      const uint8x16_t v = vld1q_u8(p + 16 * i);
      const uint8x16_t index = vandq_u8(v, vdupq_n_u8(15));
      const uint8x16_t eight =
          vbslq_u8(vcgeq_u8(v, vdupq_n_u8(128)), vqtbl1q_u8(high, index), vqtbl1q_u8(low, index));
      const uint8x16_t shift = vandq_u8(vshrq_n_u8(v, 4), vdupq_n_u8(7));
      const uint8x16_t bit = vshlq_u8(vdupq_n_u8(1), vreinterpretq_s8_u8(shift));
      any = vorrq_u8(any, vandq_u8(eight, bit));
    }
    return vmaxvq_u8(any) != 0;
  }

 private:
  template <class Entry>
  static U32 four(const Entry* p) {
    return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
  }
  template <class Entry>
  static U32 two(const Entry* a, const Entry* b) {
    static_assert(sizeof(Entry) == 8);
    std::uint64_t low;
    std::uint64_t high;
    std::memcpy(&low, a, sizeof(low));
    std::memcpy(&high, b, sizeof(high));
    return vreinterpretq_u32_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
  }
};

}  // namespace
}  // namespace glc::rans

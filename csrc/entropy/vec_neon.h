// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the entropy kernels for AArch64, where NEON is part of the baseline; see
// vec_avx512.h.
#pragma once

#include <arm_neon.h>
#include <cstdint>

#include "entropy/vec_lanes.h"

namespace glc::entropy {
namespace {

struct VecNeon {
  static constexpr int kLanes = 4;
  using F = float32x4_t;
  using U = uint32x4_t;
  using Mask = uint32x4_t;

  static F load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, F v) { vst1q_f32(p, v); }
  using Part = std::int64_t;
  static Part first(std::int64_t n) { return n; }
  static F load(const float* p, Part part) { return load_lanes<F>(p, part); }
  static void store(float* p, F v, Part part) { store_lanes<F>(p, v, part); }
  static F splat(float v) { return vdupq_n_f32(v); }
  static U splat(std::uint32_t v) { return vdupq_n_u32(v); }
  static U iota() { return U{0, 1, 2, 3}; }
  static U bits(F v) { return vreinterpretq_u32_f32(v); }
  static F floats(U v) { return vreinterpretq_f32_u32(v); }

  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F fnma(F a, F b, F c) { return vfmsq_f32(c, a, b); }
  // fmax would return the NaN, fmaxnm the number, wherever either stands
  static F max(F a, F b) { return select(vcgtq_f32(a, b), a, b); }
  static F min(F a, F b) { return select(vcltq_f32(a, b), a, b); }
  static F abs(F v) { return vabsq_f32(v); }
  static F flip(F v, F sign) { return floats(bits(v) ^ (bits(sign) & splat(0x80000000U))); }
  static F quotient(F a, F b) { return a / b; }
  static F estimate(F a, F b) { return a / b; }
  static constexpr bool kHasExp2 = false;
  static F round_small(F v) { return round(v); }
  static F round(F v) { return vrndnq_f32(v); }
  static F scale(F v, F n) {
    const U whole = vreinterpretq_u32_s32(vcvtq_s32_f32(n));
    return floats(vaddq_u32(bits(v), vshlq_n_u32(whole, 23)));
  }

  static Mask less(F a, F b) { return vcltq_f32(a, b); }
  static Mask equal(F a, F b) { return vceqq_f32(a, b); }
  static F select(Mask m, F yes, F no) { return vbslq_f32(m, yes, no); }
  static F where(Mask m, F v) { return floats(vandq_u32(m, bits(v))); }
  static Mask alternate(bool even) {
    return vreinterpretq_u32_u64(vdupq_n_u64(even ? 0x00000000FFFFFFFF : 0xFFFFFFFF00000000));
  }
  static Mask all(Mask a, Mask b) { return vandq_u32(a, b); }
  static bool every(Mask m) { return vminvq_u32(m) != 0; }
  static void store_integers(std::int32_t* p, F v) { vst1q_s32(p, vcvtnq_s32_f32(v)); }

  static U load(const std::uint32_t* p) { return vld1q_u32(p); }
  static void store(std::uint32_t* p, U v) { vst1q_u32(p, v); }
  static void store_bytes(std::uint8_t* p, U v) {
    const uint16x4_t words = vmovn_u32(v);
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    const std::uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    __builtin_memcpy(p, &four, sizeof(four));
  }
  static U load_halves(const std::uint16_t* p) { return vmovl_u16(vld1_u16(p)); }
  static void store_halves(std::uint16_t* p, U v) { vst1_u16(p, vmovn_u32(v)); }
  static U min(U a, U b) { return vminq_u32(a, b); }
  static U max(U a, U b) { return vmaxq_u32(a, b); }
  static U add_if_greater(U v, U a, U b) { return vsubq_u32(v, vcgtq_u32(a, b)); }

  static U add(U a, U b) { return vaddq_u32(a, b); }
  static U sub(U a, U b) { return vsubq_u32(a, b); }
  static U both(U a, U b) { return vandq_u32(a, b); }
  static U differ(U a, U b) { return veorq_u32(a, b); }
  static U shift_left(U v, int n) { return vshlq_u32(v, vdupq_n_s32(n)); }
  static U shift_right(U v, int n) { return vshlq_u32(v, vdupq_n_s32(-n)); }
  static F from_signed(U v) { return vcvtq_f32_s32(vreinterpretq_s32_u32(v)); }
  static U truncated(F v) { return vreinterpretq_u32_s32(vcvtq_s32_f32(v)); }
  static U shift_right_signed(U v, int n) {
    return vreinterpretq_u32_s32(vshlq_s32(vreinterpretq_s32_u32(v), vdupq_n_s32(-n)));
  }
  static U multiply(U a, U b, U* high) {
    const U first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), vget_low_u32(b)));
    const U second = vreinterpretq_u32_u64(vmull_high_u32(a, b));
    *high = vuzp2q_u32(first, second);
    return vuzp1q_u32(first, second);
  }

  struct Sum {
    float64x2_t low = vdupq_n_f64(0.0);
    float64x2_t high = vdupq_n_f64(0.0);
    void add(F v) {
      low = vaddq_f64(low, vcvt_f64_f32(vget_low_f32(v)));
      high = vaddq_f64(high, vcvt_high_f64_f32(v));
    }
    [[nodiscard]] double total() const { return vaddvq_f64(vaddq_f64(low, high)); }
  };
};

}  // namespace
}  // namespace glc::entropy

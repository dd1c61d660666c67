// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the vq kernels for AArch64: two registers a vector, so that a panel fills four.
// In an anonymous namespace on purpose: each file that is compiled for an instruction set gets its
// own copy.
#pragma once

#include <arm_neon.h>
#include <cstdint>

namespace glc {
namespace {

struct Neon {
  struct Float {
    float32x4_t low, high;
  };
  struct Int {
    int32x4_t low, high;
  };
  /// One number in lane 0, which multiplies every lane: loading it takes no vector operation, as
  /// loading it into every lane would.
  struct Value {
    float32x2_t lane;
  };
  static constexpr int kWidth = 8;
  static constexpr int kCodes = 5;  // 20 sums, 4 latents and 5 code values fill 29 of 32 registers
  static constexpr int kScreenCodes = 5;
  static constexpr int kLevels = 127;
  static constexpr int kOffset = 0;  // products of signed bytes

  static Float load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static void store(float* p, Float v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
  }
  static Int load_int(const std::int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4)}; }
  static void store_int(std::int32_t* p, Int v) {
    vst1q_s32(p, v.low);
    vst1q_s32(p + 4, v.high);
  }
  static Float broadcast(float v) { return {vdupq_n_f32(v), vdupq_n_f32(v)}; }
  static Int broadcast_int(std::int32_t v) { return {vdupq_n_s32(v), vdupq_n_s32(v)}; }
  static Value value(float v) { return {vset_lane_f32(v, vdup_n_f32(0.0F), 0)}; }
  static Float fma(Float a, Float b, Float c) {
    return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
  }
  static Float fma(Float a, Value b, Float c) {
    return {vfmaq_lane_f32(c.low, a.low, b.lane, 0), vfmaq_lane_f32(c.high, a.high, b.lane, 0)};
  }
  static float fma_one(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static Float larger(Float a, Float b) {  // b if a is NaN; b never is
    return {vmaxnmq_f32(a.low, b.low), vmaxnmq_f32(a.high, b.high)};
  }
  static void keep_larger(Float score, std::int32_t number, Float& best, Int& index) {
    const int32x4_t here = vdupq_n_s32(number);
    const uint32x4_t low = vcgtq_f32(score.low, best.low);  // false for NaN
    const uint32x4_t high = vcgtq_f32(score.high, best.high);
    best = {vbslq_f32(low, score.low, best.low), vbslq_f32(high, score.high, best.high)};
    index = {vbslq_s32(low, here, index.low), vbslq_s32(high, here, index.high)};
  }
  static std::uint32_t not_less(Float a, Float b) {
    static constexpr std::uint8_t kBits[kWidth] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t lanes = vuzp1q_u16(vreinterpretq_u16_u32(vcgeq_f32(a.low, b.low)),
                                        vreinterpretq_u16_u32(vcgeq_f32(a.high, b.high)));
    return vaddv_u8(vand_u8(vmovn_u16(lanes), vld1_u8(kBits)));
  }

  static Int add_int(Int a, Int b) { return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)}; }
  static Int round(Float v) { return {vcvtnq_s32_f32(v.low), vcvtnq_s32_f32(v.high)}; }
  static Float to_float(Int v) { return {vcvtq_f32_s32(v.low), vcvtq_f32_s32(v.high)}; }
  static Int put_byte(Int word, Int value, int byte) {
    const int32x4_t lowest = vdupq_n_s32(0xFF);
    const int32x4_t shift = vdupq_n_s32(8 * byte);
    return {vorrq_s32(word.low, vshlq_s32(vandq_s32(value.low, lowest), shift)),
            vorrq_s32(word.high, vshlq_s32(vandq_s32(value.high, lowest), shift))};
  }
};

}  // namespace
}  // namespace glc

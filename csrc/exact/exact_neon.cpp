// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Neon {
  using Float = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr int kRows = 8;  // 24 sums, 3 vectors of pixels and the weights in 32 registers

  static Float load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, Float v) { vst1q_f32(p, v); }
  static Float broadcast(float v) { return vdupq_n_f32(v); }
  static Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float where_positive(Float v, Float yes, Float no) {
    return vbslq_f32(vcgtzq_f32(v), yes, no);
  }
};

}  // namespace

Backend backend_neon() { return Kernel<Neon>::backend(Simd::kNeon); }

}  // namespace glc::exact

// SPDX-License-Identifier: Apache-2.0
// WebAssembly with relaxed vectors: its multiply-add is fused where the CPU's is, which is to be
// asked first.
#include <wasm_simd128.h>

#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Relaxed {
  using Float = v128_t;
  static constexpr int kWidth = 4;
  static constexpr int kRows = 4;

  static Float load(const float* p) { return wasm_v128_load(p); }
  static void store(float* p, Float v) { wasm_v128_store(p, v); }
  static Float broadcast(float v) { return wasm_f32x4_splat(v); }
  static Float fma(Float a, Float b, Float c) { return wasm_f32x4_relaxed_madd(a, b, c); }
  static Float add(Float a, Float b) { return wasm_f32x4_add(a, b); }
  static Float mul(Float a, Float b) { return wasm_f32x4_mul(a, b); }
  static Float where_positive(Float v, Float yes, Float no) {
    return wasm_v128_bitselect(yes, no, wasm_f32x4_gt(v, wasm_f32x4_splat(0.0F)));
  }
};

}  // namespace

Backend backend_relaxed() { return Kernel<Relaxed>::backend(Simd::kScalar); }

float relaxed_madd(float a, float b, float c) {
  return wasm_f32x4_extract_lane(
      Relaxed::fma(Relaxed::broadcast(a), Relaxed::broadcast(b), Relaxed::broadcast(c)), 0);
}

}  // namespace glc::exact

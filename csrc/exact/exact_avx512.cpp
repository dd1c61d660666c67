// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX-512: include nothing here with inline functions that other files share.
#include <immintrin.h>

#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Avx512 {
  using Float = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kRows = 8;  // 24 sums and 3 vectors of pixels in 32 registers

  static Float load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
  static Float broadcast(float v) { return _mm512_set1_ps(v); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float where_positive(Float v, Float yes, Float no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ), yes);
  }
};

}  // namespace

Backend backend_avx512() { return Kernel<Avx512>::backend(Simd::kAvx512); }

}  // namespace glc::exact

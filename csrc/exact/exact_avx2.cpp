// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include <immintrin.h>

#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Avx2 {
  using Float = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kRows = 4;  // 12 sums, 3 vectors of pixels and 1 weight in 16 registers

  static Float load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
  static Float broadcast(float v) { return _mm256_set1_ps(v); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float where_positive(Float v, Float yes, Float no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GT_OQ));
  }
};

}  // namespace

Backend backend_avx2() { return Kernel<Avx2>::backend(Simd::kAvx2); }

}  // namespace glc::exact

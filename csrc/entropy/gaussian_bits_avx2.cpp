// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include "entropy/gaussian_bits_kernel.h"

namespace glc::entropy {
namespace {

struct Avx2 {
  static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
};

}  // namespace

void gaussian_bits_avx2(const GaussianBitsParams& params) {
  if (params.by_symbol != nullptr) {
    GaussianBitsKernel<Avx2>::run<true>(params);
  } else {
    GaussianBitsKernel<Avx2>::run<false>(params);
  }
}

}  // namespace glc::entropy

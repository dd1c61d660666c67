// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include "entropy/categorical_kernel.h"

namespace glc::entropy {
namespace {

struct CategoricalAvx2 {
  static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
};

}  // namespace

CategoricalWeights categorical_weights_avx2() {
  return &CategoricalKernel<CategoricalAvx2>::weights;
}

}  // namespace glc::entropy

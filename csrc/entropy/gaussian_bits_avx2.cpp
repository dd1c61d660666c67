// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2 and FMA: include nothing here with inline functions that other files share.
#include "entropy/gaussian_bits_kernel.h"

namespace glc::entropy {
namespace {

struct Avx2 {
  static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
};

}  // namespace

GaussianBitsBackend gaussian_bits_avx2() {
  using Kernel = GaussianBitsKernel<Avx2>;
  return {.forward = &Kernel::forward, .backward = &Kernel::backward};
}

}  // namespace glc::entropy

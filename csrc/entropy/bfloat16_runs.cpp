// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_features.h"
#include "entropy/bfloat16_kernel.h"
#include "entropy/vec_portable.h"

namespace glc::entropy {
namespace {

BFloat16Backend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force(Simd::kAvx512) == Simd::kAvx512) {
    return bfloat16_avx512();
  }
  if (simd_in_force() == Simd::kAvx2) {
    return bfloat16_avx2();
  }
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    return bfloat16_neon();
  }
#endif
  return BFloat16Backend::of<VecPortable>();
}

}  // namespace

const BFloat16Backend& bfloat16_backend() {
  static const BFloat16Backend chosen = choose();
  return chosen;
}

}  // namespace glc::entropy

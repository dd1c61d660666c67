// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_features.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_bits_kernel.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

// An estimate: a fused operation is welcome where the target has it, but not worth emulating.
struct Portable {
  static float fma(float a, float b, float c) { return a * b + c; }
};

void gaussian_bits_portable(const GaussianBitsParams& params) {
  if (params.by_symbol != nullptr) {
    GaussianBitsKernel<Portable>::run<true>(params);
  } else {
    GaussianBitsKernel<Portable>::run<false>(params);
  }
}

using Kernel = void (*)(const GaussianBitsParams&);

Kernel choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force() >= Simd::kAvx2) {
    return &gaussian_bits_avx2;
  }
#endif
  return &gaussian_bits_portable;
}

}  // namespace

void gaussian_bits(std::span<const float> symbol,
                   std::span<const float> scale,
                   std::span<float> bits,
                   std::span<float> by_symbol,
                   std::span<float> by_scale) {
  check_size("gaussian_bits", "scale", symbol.size(), scale.size());
  check_size("gaussian_bits", "bits", symbol.size(), bits.size());
  const bool slopes = !by_symbol.empty() || !by_scale.empty();
  if (slopes) {
    check_size("gaussian_bits", "by_symbol", symbol.size(), by_symbol.size());
    check_size("gaussian_bits", "by_scale", symbol.size(), by_scale.size());
  }
  static const Kernel kernel = choose();
  kernel({.symbol = symbol.data(),
          .scale = scale.data(),
          .bits = bits.data(),
          .by_symbol = slopes ? by_symbol.data() : nullptr,
          .by_scale = slopes ? by_scale.data() : nullptr,
          .n = ssize(symbol)});
}

}  // namespace glc::entropy

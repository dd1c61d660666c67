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

GaussianBitsBackend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force() >= Simd::kAvx2) {
    return gaussian_bits_avx2();
  }
#endif
  using Kernel = GaussianBitsKernel<Portable>;
  return {.forward = &Kernel::forward, .backward = &Kernel::backward};
}

const GaussianBitsBackend& backend() {
  static const GaussianBitsBackend chosen = choose();
  return chosen;
}

}  // namespace

void gaussian_bits(std::span<const float> y,
                   std::span<const float> mean,
                   std::span<const float> scale,
                   std::span<const float> noise,
                   std::span<float> bits,
                   std::span<float> by_symbol,
                   std::span<float> by_scale) {
  constexpr std::string_view kOp = "gaussian_bits";
  check_size(kOp, "mean", y.size(), mean.size());
  check_size(kOp, "scale", y.size(), scale.size());
  check_size(kOp, "bits", y.size(), bits.size());
  if (!noise.empty()) {
    check_size(kOp, "noise", y.size(), noise.size());
  }
  const bool slopes = !by_symbol.empty() || !by_scale.empty();
  if (slopes) {
    check_size(kOp, "by_symbol", y.size(), by_symbol.size());
    check_size(kOp, "by_scale", y.size(), by_scale.size());
  }
  backend().forward({.y = y.data(),
                     .mean = mean.data(),
                     .scale = scale.data(),
                     .noise = noise.empty() ? nullptr : noise.data(),
                     .bits = bits.data(),
                     .by_symbol = slopes ? by_symbol.data() : nullptr,
                     .by_scale = slopes ? by_scale.data() : nullptr,
                     .n = ssize(y)});
}

void gaussian_bits_backward(std::span<const float> grad,
                            std::span<const float> bits,
                            std::span<const float> by_symbol,
                            std::span<const float> by_scale,
                            std::span<float> grad_y,
                            std::span<float> grad_mean,
                            std::span<float> grad_scale) {
  constexpr std::string_view kOp = "gaussian_bits_backward";
  check_size(kOp, "bits", grad.size(), bits.size());
  check_size(kOp, "by_symbol", grad.size(), by_symbol.size());
  check_size(kOp, "by_scale", grad.size(), by_scale.size());
  check_size(kOp, "grad_y", grad.size(), grad_y.size());
  check_size(kOp, "grad_mean", grad.size(), grad_mean.size());
  check_size(kOp, "grad_scale", grad.size(), grad_scale.size());
  backend().backward({.grad = grad.data(),
                      .bits = bits.data(),
                      .by_symbol = by_symbol.data(),
                      .by_scale = by_scale.data(),
                      .grad_y = grad_y.data(),
                      .grad_mean = grad_mean.data(),
                      .grad_scale = grad_scale.data(),
                      .n = ssize(grad)});
}

}  // namespace glc::entropy

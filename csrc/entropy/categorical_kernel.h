// SPDX-License-Identifier: Apache-2.0
// Weights of the categorical cdf: normative arithmetic (docs/format.md), so every instantiation
// must give the same integers. A template over a tag naming the instruction set, so that each file
// that instantiates it gets symbols of its own; fma is fused in all of them.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace glc::entropy {

template <class Isa>
struct CategoricalKernel {
  static constexpr int kWeightBits = 30;
  static constexpr float kVanishing = -21.0F;        // 2^30 * exp(-21) < 1
  static constexpr float kRounder = 12582912.0F;     // 1.5 * 2^23: adding it rounds half to even
  static constexpr float kInvLn2 = 0x1.715476p+0F;   // 1 / ln 2
  static constexpr float kLn2High = 0x1.62e4p-1F;    // ln 2 to 15 bits: exact times a small integer
  static constexpr float kLn2Low = 0x1.7f7d1cp-20F;  // ln 2 - kLn2High

  /// floor(2^30 * exp(t)) for t <= 0, up to the polynomial's 3e-9 and float rounding. exp(r) =
  /// 1 + r + r^2 (c2 + c3 r + .. + c6 r^4) on |r| <= ln 2 / 2.
  GLC_HOST_DEVICE static std::int32_t weight(float t) {
    const float used = t < kVanishing ? kVanishing : t;
    const float n = Isa::fma(used, kInvLn2, kRounder) - kRounder;
    const float r = Isa::fma(n, -kLn2Low, Isa::fma(n, -kLn2High, used));
    float p = 0x1.6a244cp-10F;
    p = Isa::fma(p, r, 0x1.1239d4p-7F);
    p = Isa::fma(p, r, 0x1.5558f2p-5F);
    p = Isa::fma(p, r, 0x1.555492p-3F);
    p = Isa::fma(p, r, 0x1.fffffcp-2F);
    const float fraction = Isa::fma(r * r, p, r) + 1.0F;
    const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + kWeightBits);
    const float scaled =
        __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, fraction) + (exponent << 23));
    return t < kVanishing ? 0 : static_cast<std::int32_t>(scaled);
  }

  static void weights(const float* __restrict logits,
                      float largest,
                      std::int32_t* __restrict out,
                      std::int64_t n) {
    for (std::int64_t j = 0; j < n; ++j) {
      out[j] = weight(logits[j] - largest);
    }
  }
};

using CategoricalWeights = void (*)(const float*, float, std::int32_t*, std::int64_t);

CategoricalWeights categorical_weights_avx2();

}  // namespace glc::entropy

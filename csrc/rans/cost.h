// SPDX-License-Identifier: Apache-2.0
//
// What a symbol costs and how many lanes that is worth (docs/format.md, "Lanes"), host and device.
#pragma once

#include <cstdint>

#include "rans/escape_number.h"

namespace glc::rans {

inline constexpr std::uint64_t kLaneBytes = 512;

/// -log2(freq / 2^bits) in units of 2^-16 bit; log2 by repeated squaring of the mantissa, 16
/// fractional bits, truncated. freq >= 1.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t fixed_point_cost(std::uint32_t freq,
                                                                       int bits) {
  const int exponent = digits_of(freq) - 1;
  std::uint64_t mantissa = std::uint64_t{freq} << (31 - exponent);  // [2^31, 2^32)
  auto log2 = static_cast<std::uint32_t>(exponent);
  for (int i = 0; i < 16; ++i) {
    mantissa = (mantissa * mantissa) >> 31;
    const bool carry = (mantissa >> 32) != 0;
    log2 = log2 << 1 | (carry ? 1U : 0U);
    mantissa >>= carry ? 1 : 0;
  }
  return (static_cast<std::uint32_t>(bits) << 16) - log2;
}

/// log2 of the lanes that a payload of this cost is worth.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t log2_lanes_for(std::uint64_t cost) {
  const std::uint64_t n_bytes = cost >> (16 + 3);
  std::uint32_t log2_lanes = 5;
  while (log2_lanes > 0 && n_bytes < kLaneBytes << log2_lanes) --log2_lanes;
  return log2_lanes;
}

}  // namespace glc::rans

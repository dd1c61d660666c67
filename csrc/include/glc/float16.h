// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace glc {

/// IEEE binary16. A type of its own, so that it is not taken for an integer.
struct Float16 {
  std::uint16_t bits;
};

/// The same value; a NaN keeps its payload.
[[nodiscard]] constexpr float to_float(Float16 v) {
  const std::uint32_t sign = (v.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = v.bits & 0x7FFFU;
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | magnitude << 13);
  // the exponent's bias is 112 less; the product also makes denormals normal
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(scaled));
}

}  // namespace glc

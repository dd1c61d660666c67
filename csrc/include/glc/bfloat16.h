// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace glc {

/// The upper half of a float. A type of its own, so that it is not taken for an integer.
struct BFloat16 {
  std::uint16_t bits;
};

/// The same value.
[[nodiscard]] constexpr float to_float(float v) { return v; }
[[nodiscard]] constexpr float to_float(BFloat16 v) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(v.bits) << 16);
}

}  // namespace glc

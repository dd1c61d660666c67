// SPDX-License-Identifier: Apache-2.0
//
// Little-endian fields at any address, on any machine; compilers make one move of each.
#pragma once

#include <cstdint>

namespace glc {

[[nodiscard]] inline std::uint32_t load_u16(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8;
}
[[nodiscard]] inline std::uint32_t load_u32(const std::uint8_t* p) {
  return load_u16(p) | load_u16(p + 2) << 16;
}

/// Stores the low 16 bits.
inline void store_u16(std::uint8_t* p, std::uint32_t value) {
  p[0] = static_cast<std::uint8_t>(value);
  p[1] = static_cast<std::uint8_t>(value >> 8);
}
inline void store_u32(std::uint8_t* p, std::uint32_t value) {
  store_u16(p, value);
  store_u16(p + 2, value >> 16);
}

}  // namespace glc

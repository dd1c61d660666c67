// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "glc/bitstream.h"

namespace glc::bitstream {

inline constexpr std::array<std::uint8_t, 3> kMagic{'G', 'L', 'C'};
inline constexpr std::size_t kCrcBytes = 4;
inline constexpr std::string_view kContext = "container";
inline constexpr std::uint8_t kLanesMask = 7;
inline constexpr std::uint8_t kDescriptorMask = 0x1F;
inline constexpr std::uint8_t kReservedBit = 0x80;

/// Whether a byte describes a coder stream: 1 to 32 lanes with or without escapes, or segments.
[[nodiscard]] constexpr bool is_descriptor(std::uint8_t byte) {
  return byte == kSegmentsBit ||
         ((byte & ~(kLanesMask | kEscapeBit)) == 0 && (byte & kLanesMask) <= kMaxLog2Lanes);
}

}  // namespace glc::bitstream

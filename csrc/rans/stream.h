// SPDX-License-Identifier: Apache-2.0
//
// The pieces of the stream around the words; docs/format.md is the specification.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/byte_reader.h"
#include "glc/rans.h"
#include "rans/escape_number.h"
#include "rans/rans_state.h"

namespace glc::rans {

inline constexpr int kStateBytes = 4;

[[nodiscard]] inline std::uint8_t descriptor_of(int lanes, bool escape) {
  const auto log2_lanes = static_cast<unsigned>(std::countr_zero(static_cast<unsigned>(lanes)));
  return static_cast<std::uint8_t>(log2_lanes | (escape ? kDescriptorEscape : 0U));
}

/// A symbol outside its row: its place in the push and its number.
struct Escape {
  std::size_t symbol;
  std::uint64_t raw;
};

/// Stores the final states: per lane high word, low word.
inline void store_states(const std::uint32_t* states, int lanes, std::uint8_t* out) {
  for (int lane = 0; lane < lanes; ++lane, out += kStateBytes) {
    const std::uint32_t x = states[lane];
    out[0] = static_cast<std::uint8_t>(x >> 16);
    out[1] = static_cast<std::uint8_t>(x >> 24);
    out[2] = static_cast<std::uint8_t>(x);
    out[3] = static_cast<std::uint8_t>(x >> 8);
  }
}

/// Reads what store_states wrote. Throws BitstreamError when cut, or on a state below 2^16.
inline void load_states(ByteReader& reader, int lanes, std::uint32_t* states) {
  for (int lane = 0; lane < lanes; ++lane) {
    const std::size_t at = reader.position();
    const std::uint32_t high = reader.u16("state");
    const std::uint32_t low = reader.u16("state");
    if (high == 0) reader.fail("state", "expected at least 65536, got " + std::to_string(low), at);
    states[lane] = high << kWordBits | low;
  }
}

}  // namespace glc::rans

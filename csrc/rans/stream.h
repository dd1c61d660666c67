// SPDX-License-Identifier: Apache-2.0
//
// The pieces of the stream around the words; docs/format.md is the specification.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/little_endian.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/escape_number.h"
#include "rans/rans_state.h"
#include "rans/stream_check.h"

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

/// Puts every lane where an encoder begins.
inline void start_states(std::uint32_t* states, int lanes, std::uint32_t check) {
  for (int lane = 0; lane < lanes; ++lane) states[lane] = start_state(lane, check);
}

/// The first lane that is not back there, or `lanes`.
[[nodiscard]] inline int lane_astray(const std::uint32_t* states, int lanes, std::uint32_t check) {
  int lane = 0;
  while (lane < lanes && states[lane] == start_state(lane, check)) ++lane;
  return lane;
}

/// Stores the final states: per lane high word, low word.
inline void store_states(const std::uint32_t* states, int lanes, std::uint8_t* out) {
  for (int lane = 0; lane < lanes; ++lane, out += kStateBytes) {
    const std::uint32_t x = states[lane];
    store_u16(out, x >> 16);
    store_u16(out + 2, x);
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

/// What precedes the states of a stream in one piece.
struct StreamHead {
  int lanes;
  std::span<const std::uint8_t> escapes;  ///< numbers of the escapes, empty without
  std::size_t escapes_begin;              ///< their offset
};

/// Bytes of an escape section, at most.
inline constexpr std::uint64_t kMaxEscapeSection = UINT32_MAX;

/// Throws InvalidArgument for an escape section that no reader takes.
inline void check_escape_section(std::uint64_t n_bytes) {
  if (n_bytes > kMaxEscapeSection) {
    throw InvalidArgument(
        "rans: finish: expected escapes of at most 4294967295 bytes in one piece, got " +
        std::to_string(n_bytes) + "; cut it into segments");
  }
}

/// Writes the descriptor and, unless it is empty, the escape section. Throws InvalidArgument when
/// that is too long.
inline void write_stream_head(int lanes, std::span<const std::uint8_t> escapes, ByteWriter& out) {
  check_escape_section(escapes.size());
  out.u8(descriptor_of(lanes, !escapes.empty()));
  if (escapes.empty()) return;
  out.varint(escapes.size());
  out.bytes(escapes);
}

/// Reads the same but for the descriptor, already taken from the reader or kept elsewhere. Throws
/// BitstreamError.
inline StreamHead read_stream_head(std::uint8_t descriptor, ByteReader& reader) {
  const std::size_t start = reader.position();
  const int log2_lanes = descriptor & kDescriptorLanesMask;
  if (log2_lanes > 5) reader.fail("descriptor", "expected at most 32 lanes", start);
  if ((descriptor & ~(kDescriptorLanesMask | kDescriptorEscape)) != 0) {
    reader.fail("descriptor", "reserved bits are set", start);
  }
  StreamHead head{.lanes = 1 << log2_lanes, .escapes = {}, .escapes_begin = 0};
  if ((descriptor & kDescriptorEscape) == 0) return head;
  const std::size_t at = reader.position();
  const std::uint64_t n_bytes = reader.varint("escape section", kMaxEscapeSection);
  if (n_bytes == 0) reader.fail("escape section", "expected at least one byte, got 0", at);
  head.escapes_begin = reader.position();
  head.escapes = reader.bytes(static_cast<std::size_t>(n_bytes), "escape section");
  return head;
}

}  // namespace glc::rans

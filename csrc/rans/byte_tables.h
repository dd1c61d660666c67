// SPDX-License-Identifier: Apache-2.0
//
// The one row of order-0 bytes: 12-bit frequencies of the 256 values and of an escape bin after
// them. Values too rare for a slot of 4096 share the escape bin: the escape section then names
// them by their place in the list of rare values. docs/format.md, "Order-0 bytes".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/byte_reader.h"
#include "rans/bit_io.h"
#include "rans/entries.h"

namespace glc::rans {

inline constexpr std::uint32_t kByteTotal = 1U << kByteBits;
inline constexpr std::size_t kByteEscape = 256;  ///< the escape bin

/// Bytes whose escapes are looked for, and resolved, at a time: places in a block have 32 bits,
/// data in one piece may be longer than that. A whole number of periods of the sum (stream_check.h)
/// and of steps of every number of lanes.
inline constexpr std::size_t kByteBlock = std::size_t{1} << 20;

using ByteCounts = std::array<std::uint64_t, 256>;

struct ByteTable {
  std::array<std::uint32_t, kByteEscape + 1> freqs{};
  std::vector<std::uint8_t> rare;  ///< values that share the escape bin, the most frequent first
};

/// The table that codes bytes of these counts, of which one is not 0, in fewest bits: integers
/// only, so the same everywhere.
[[nodiscard]] ByteTable byte_table_for(const ByteCounts& counts);

/// Bits that the bytes cost by the table, in units of 2^-16, with their escape numbers.
[[nodiscard]] std::uint64_t byte_cost(const ByteTable& table, const ByteCounts& counts);

/// Writes the rare values, where there are some, and the frequencies.
[[nodiscard]] std::vector<std::uint8_t> write_byte_table(const ByteTable& table);
/// Longest list of rare values and of frequencies, in bytes.
inline constexpr std::size_t kMaxByteTableBytes = 2 + 256 + 257 * 25 / 8 + 1;

/// Reads what write_byte_table wrote. Throws BitstreamError.
[[nodiscard]] ByteTable read_byte_table(ByteReader& reader, bool rare_values);

/// The encoder's entry of each value; a rare one's is the escape bin's.
[[nodiscard]] std::array<EncodeEntry, 256> byte_entries(const ByteTable& table);

/// What decodes bytes: a slot of the escape bin yields the first rare value, which has no bin of
/// its own, until the escape section replaces it.
struct ByteDecoder {
  explicit ByteDecoder(const ByteTable& table);

  /// The value that stands for an escape, or -1.
  [[nodiscard]] int marker() const { return rare.empty() ? -1 : rare.front(); }
  /// Puts the rare values that the numbers name at the places, and makes the sum of the bytes
  /// theirs; where the bytes begin, a period of the sum does. Returns what is wrong, or nullptr.
  [[nodiscard]] const char* read_escapes(BitReader& numbers,
                                         std::span<const std::uint32_t> places,
                                         std::uint8_t* bytes,
                                         std::uint32_t& sum) const;

  std::array<std::uint32_t, kByteTotal> slots;  // entries.h
  std::span<const std::uint8_t> rare;           // borrowed
};

/// What finds the rare values in data and writes their numbers.
class RareValues {
 public:
  explicit RareValues(std::span<const std::uint8_t> rare);
  /// Their numbers in order, padded to whole bytes.
  [[nodiscard]] std::vector<std::uint8_t> numbers_of(std::span<const std::uint8_t> data) const;

 private:
  ByteSet set_{};
  std::array<std::uint8_t, 256> place_{};
};

}  // namespace glc::rans

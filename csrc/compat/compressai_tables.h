// SPDX-License-Identifier: Apache-2.0
//
//   encode  row r, bin b  ->  encode[rows[r].encode_base + b]
//   decode  row r, slot s ->  walk starts[rows[r].starts_base + coarse[r * 256 + s / 256] ...]
//                             until the slot lies below the next start
//
// A row of n bins has n + 2 starts: those of its bins, its end, and one that no slot reaches. So a
// walk stops inside the row, and at bin n when the slot lies past the end of the row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace glc::compressai {

inline constexpr int kBits = 16;
inline constexpr std::uint32_t kTotal = 1U << kBits;
inline constexpr std::size_t kBuckets = 256;
inline constexpr std::uint32_t kNoSlot = kTotal + 1;

/// What coding a bin needs. With f its frequency and x below 2^63, x / f is
/// floor(x * reciprocal / 2^64) >> shift, and the next state is x + bias + (x / f) * (2^16 - f).
struct EncodeBin {
  std::uint64_t reciprocal;
  std::uint32_t bias;
  std::uint16_t freq_minus_1;
  std::uint8_t shift;
  std::uint8_t kind;
};

/// The state after x, which must be below freq * 2^47 and so leaves room for the bin.
inline std::uint64_t encode_step(std::uint64_t x, const EncodeBin& bin) {
  __extension__ using Uint128 = unsigned __int128;
  const auto high = static_cast<std::uint64_t>((Uint128{x} * bin.reciprocal) >> 64);
  return x + bin.bias + (high >> bin.shift) * (kTotal - 1 - bin.freq_minus_1);
}

inline constexpr std::uint8_t kDirect = 0;
inline constexpr std::uint8_t kEscape = 1;
inline constexpr std::uint8_t kAbsent = 2;  ///< frequency 0

struct AnsRow {
  std::uint32_t encode_base;
  std::uint32_t starts_base;
  std::uint32_t n_direct;  ///< bins without the escape bin, which is number n_direct
  std::int32_t offset;
};

struct AnsTableData {
  std::vector<AnsRow> rows;
  std::vector<EncodeBin> encode;
  std::vector<std::uint32_t> starts;
  std::vector<std::uint16_t> coarse;  // [rows, kBuckets], a bin number
};

/// The bin of a slot below 2^16: its number (past the escape bin's when no bin has this slot), and
/// the slots it covers.
struct FoundBin {
  std::uint32_t number;
  std::uint32_t start;
  std::uint32_t freq;
};
inline FoundBin find_bin(const AnsTableData& data, std::size_t row, std::uint32_t slot) {
  const std::uint32_t* const starts = data.starts.data() + data.rows[row].starts_base;
  std::uint32_t bin = data.coarse[row * kBuckets + slot / kBuckets];
  while (starts[bin + 1] <= slot) ++bin;
  return {bin, starts[bin], starts[bin + 1] - starts[bin]};
}

/// Throws InvalidArgument unless there are n rows, all of them below n_rows.
void check_rows(std::span<const std::int32_t> rows, std::size_t n, std::size_t n_rows);

}  // namespace glc::compressai

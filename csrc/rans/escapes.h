// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "rans/bit_io.h"
#include "rans/rows_visit.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {

/// sum_power() without a branch, of which none is foreseen where escapes are many.
inline std::uint32_t table_sum_power(std::uint32_t n) {
  static constexpr auto kPowers = [] {
    std::array<std::array<std::uint32_t, 256>, 4> powers{};
    for (std::uint32_t byte = 0; byte < 4; ++byte) {
      for (std::uint32_t i = 0; i < 256; ++i) powers[byte][i] = sum_power(i << 8 * byte);
    }
    return powers;
  }();
  return kPowers[0][n & 0xFFU] * kPowers[1][n >> 8 & 0xFFU] * kPowers[2][n >> 16 & 0xFFU] *
         kPowers[3][n >> 24];
}

/// Puts the numbers of the escape section in place of the kEscapeValue at each place, and makes the
/// sum, which ends with these symbols, theirs. Returns what is wrong, or nullptr.
template <class Row>
[[nodiscard]] const char* read_escapes(BitReader& numbers,
                                       const Row* rows,
                                       const TableData& tables,
                                       std::span<const std::uint32_t> places,
                                       std::span<std::int32_t> symbols,
                                       std::uint32_t& sum) {
  std::uint32_t change = 0;
  const auto last = static_cast<std::uint32_t>(symbols.size() - 1);
  for (const std::uint32_t place : places) {
    const auto number = numbers.gamma(kMaxEscapeWidth);
    if (!number) return "escape section: truncated, or a number too large";
    const RowInfo& row = tables.rows[row_at(rows, place)];
    const std::int64_t symbol = escape_value(*number - 1, row.n_direct) + row.offset;
    if (symbol < INT32_MIN || symbol > INT32_MAX) {
      return "escape section: a symbol leaves the int32 range";
    }
    symbols[place] = static_cast<std::int32_t>(symbol);
    change += static_cast<std::uint32_t>(symbol - kEscapeValue) * table_sum_power(last - place);
  }
  sum += change;
  return nullptr;
}

}  // namespace glc::rans

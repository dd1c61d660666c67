// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "rans/bit_io.h"
#include "rans/rows_visit.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {

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
  std::size_t at = 0;
  for (const std::uint32_t place : places) {
    const auto number = numbers.gamma(kMaxEscapeWidth);
    if (!number) return "escape section: truncated, or a number too large";
    const RowInfo& row = tables.rows[row_at(rows, place)];
    const std::int64_t symbol = escape_value(*number - 1, row.n_direct) + row.offset;
    if (symbol < INT32_MIN || symbol > INT32_MAX) {
      return "escape section: a symbol leaves the int32 range";
    }
    symbols[place] = static_cast<std::int32_t>(symbol);
    change = change * sum_power(place - at) + static_cast<std::uint32_t>(symbol - kEscapeValue);
    at = place;
  }
  if (!places.empty()) sum += change * sum_power(symbols.size() - 1 - at);
  return nullptr;
}

}  // namespace glc::rans

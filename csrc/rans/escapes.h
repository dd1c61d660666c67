// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "rans/bit_io.h"
#include "rans/rows_visit.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {

/// Puts the numbers of the escape section in place of the kEscapeValue at each place. Returns what
/// is wrong, or nullptr.
template <class Row>
[[nodiscard]] const char* read_escapes(BitReader& numbers,
                                       const Row* rows,
                                       const TableData& tables,
                                       std::span<const std::uint32_t> places,
                                       std::int32_t* symbols) {
  for (const std::uint32_t place : places) {
    const auto number = numbers.gamma(kMaxEscapeWidth);
    if (!number) return "escape section: truncated, or a number too large";
    const RowInfo& row = tables.rows[row_at(rows, place)];
    const std::int64_t symbol = escape_value(*number - 1, row.n_direct) + row.offset;
    if (symbol < INT32_MIN || symbol > INT32_MAX) {
      return "escape section: a symbol leaves the int32 range";
    }
    symbols[place] = static_cast<std::int32_t>(symbol);
  }
  return nullptr;
}

}  // namespace glc::rans

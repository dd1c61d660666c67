// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "core/overlap.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/entries.h"

namespace glc::rans {

/// The row of symbol i. A negative int32 row becomes a huge one, so that a single unsigned
/// comparison checks it.
template <class Row>
std::uint32_t row_at(const Row* rows, std::size_t i) {
  if constexpr (std::is_same_v<Row, OneRow>) {
    return rows->row;
  } else {
    return static_cast<std::uint32_t>(rows[i]);
  }
}

/// The rows from symbol i on.
template <class Row>
const Row* rows_from(const Row* rows, std::size_t i) {
  return std::is_same_v<Row, OneRow> ? rows : rows + i;
}

/// Calls f with a pointer of the type that rows holds: [n] rows, or a OneRow for all.
template <class F>
auto visit_rows(const Rows& rows, F&& f) {
  switch (rows.type()) {
    case Rows::Type::kUint8:
      return f(static_cast<const std::uint8_t*>(rows.data()));
    case Rows::Type::kUint16:
      return f(static_cast<const std::uint16_t*>(rows.data()));
    case Rows::Type::kInt32:
      return f(static_cast<const std::int32_t*>(rows.data()));
    case Rows::Type::kScalar:
      break;
  }
  const OneRow one{static_cast<std::uint32_t>(rows.scalar())};
  return f(&one);
}

inline void check_row_count(const Rows& rows, std::size_t n) {
  if (!rows.is_scalar() && rows.size() != n) {
    throw InvalidArgument("rans: rows: expected one number or " + std::to_string(n) +
                          " rows, one per symbol, got " + std::to_string(rows.size()));
  }
}

/// Throws InvalidArgument where out shares memory with the rows or the stream that it is read from.
inline void check_apart(const Rows& rows,
                        std::span<const std::uint8_t> data,
                        std::span<const std::int32_t> out) {
  require_apart(data, out, "rans: out: expected memory apart from the stream's");
  if (rows.is_scalar()) return;
  const std::size_t row_bytes = rows.type() == Rows::Type::kUint8    ? 1
                                : rows.type() == Rows::Type::kUint16 ? 2
                                                                     : 4;
  const auto* const bytes = static_cast<const std::uint8_t*>(rows.data());
  require_apart(std::span(bytes, rows.size() * row_bytes),
                out,
                "rans: out: expected memory apart from the rows'");
}

[[noreturn]] inline void fail_bad_row(std::uint32_t row, std::size_t n_rows, std::size_t i) {
  throw InvalidArgument("rans: rows: expected 0.." + std::to_string(n_rows - 1) + ", got " +
                        std::to_string(static_cast<std::int32_t>(row)) + " for symbol " +
                        std::to_string(i));
}

/// Throws InvalidArgument unless rows has n of them, all below n_rows.
inline void check_rows(const Rows& rows, std::size_t n, std::size_t n_rows) {
  check_row_count(rows, n);
  visit_rows(rows, [&]<class Row>(const Row* typed) {
    if constexpr (std::is_same_v<Row, OneRow>) {
      if (typed->row >= n_rows && n != 0) fail_bad_row(typed->row, n_rows, 0);
    } else {
      using Unsigned = std::make_unsigned_t<Row>;
      Unsigned highest = 0;
      for (std::size_t i = 0; i < n; ++i) {
        highest = std::max(highest, static_cast<Unsigned>(typed[i]));
      }
      if (highest < n_rows) return;
      for (std::size_t i = 0; i < n; ++i) {
        if (row_at(typed, i) >= n_rows) fail_bad_row(row_at(typed, i), n_rows, i);
      }
    }
  });
}

}  // namespace glc::rans

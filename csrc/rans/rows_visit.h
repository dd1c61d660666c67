// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "glc/error.h"
#include "glc/rans.h"

namespace glc::rans {

/// The row of symbol i, for each way in which rows can be given.
template <class T>
struct RowArray {
  const T* rows;
  std::uint32_t operator()(std::size_t i) const { return static_cast<std::uint32_t>(rows[i]); }
};
struct RowConstant {
  std::uint32_t row;
  std::uint32_t operator()(std::size_t) const { return row; }
};

/// Calls f with the row accessor of the type that rows holds. A negative int32 row becomes a huge
/// one, so that a single unsigned comparison checks it.
template <class F>
auto visit_rows(const Rows& rows, F&& f) {
  switch (rows.type()) {
    case Rows::Type::kUint8:
      return f(RowArray<std::uint8_t>{static_cast<const std::uint8_t*>(rows.data())});
    case Rows::Type::kUint16:
      return f(RowArray<std::uint16_t>{static_cast<const std::uint16_t*>(rows.data())});
    case Rows::Type::kInt32:
      return f(RowArray<std::int32_t>{static_cast<const std::int32_t*>(rows.data())});
    case Rows::Type::kScalar:
      break;
  }
  return f(RowConstant{static_cast<std::uint32_t>(rows.scalar())});
}

inline void check_row_count(const Rows& rows, std::size_t n) {
  if (!rows.is_scalar() && rows.size() != n) {
    throw InvalidArgument("rans: rows: expected one number or " + std::to_string(n) +
                          " rows, one per symbol, got " + std::to_string(rows.size()));
  }
}

[[noreturn]] inline void fail_bad_row(std::uint32_t row, std::size_t n_rows, std::size_t i) {
  throw InvalidArgument("rans: rows: expected 0.." + std::to_string(n_rows - 1) + ", got " +
                        std::to_string(static_cast<std::int32_t>(row)) + " for symbol " +
                        std::to_string(i));
}

}  // namespace glc::rans

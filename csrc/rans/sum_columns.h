// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rans/stream_check.h"

namespace glc::rans {

/// Adds up the 16-bit words of whole periods (stream_check.h), each place of a period for itself,
/// in vectors of so many bytes; sums wrap. Words are as this machine reads them.
template <std::size_t kVectorBytes>
void sum_columns(const std::uint8_t* bytes, std::size_t n_periods, std::uint16_t* columns) {
  using Vector [[gnu::vector_size(kVectorBytes)]] = std::uint16_t;
  constexpr std::size_t kVectors = kSumPeriod / kVectorBytes;
  Vector sums[kVectors] = {};
  for (std::size_t p = 0; p < n_periods; ++p, bytes += kSumPeriod) {
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector words;
      std::memcpy(&words, bytes + kVectorBytes * v, kVectorBytes);
      sums[v] += words;
    }
  }
  std::memcpy(columns, sums, kSumPeriod);
}

/// Symbols in a row of sum_symbols: as many vectors as it takes not to wait for multiplications.
inline constexpr std::size_t kSumRow = 64;

/// What columns[c] becomes with columns[c] * factor + symbol for each symbol of column c, over whole
/// rows, in vectors of so many bytes; sums wrap.
template <std::size_t kVectorBytes>
void sum_symbols(const std::int32_t* symbols,
                 std::size_t n_rows,
                 std::uint32_t factor,
                 std::uint32_t* columns) {
  using Vector [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
  constexpr std::size_t kVectors = 4 * kSumRow / kVectorBytes;
  Vector sums[kVectors];
  std::memcpy(sums, columns, 4 * kSumRow);
  for (std::size_t row = 0; row < n_rows; ++row, symbols += kSumRow) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector some;
      std::memcpy(&some, symbols + kVectorBytes / 4 * v, kVectorBytes);
      sums[v] = sums[v] * factor + some;
    }
  }
  std::memcpy(columns, sums, 4 * kSumRow);
}

}  // namespace glc::rans

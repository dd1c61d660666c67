// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rans/stream_check.h"

namespace glc::rans {

/// Adds up the 16-bit words of whole periods (stream_check.h), each place of a period for itself,
/// in vectors of so many bytes; sums wrap. Words are as this machine reads them. Static, since each
/// file that includes this is compiled for another instruction set.
template <std::size_t kVectorBytes>
static void sum_columns(const std::uint8_t* bytes, std::size_t n_periods, std::uint16_t* columns) {
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

/// The sum of `before` and whole rows of symbols behind it, in vectors of so many bytes: a symbol
/// counts `factor` times what it would a row later, and weights[c] in column c of the last row.
template <std::size_t kVectorBytes>
static std::uint32_t sum_symbols(std::uint32_t before,
                                 const std::int32_t* symbols,
                                 std::size_t n_rows,
                                 std::uint32_t factor,
                                 const std::uint32_t* weights) {
  using Vector [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
  constexpr std::size_t kLanes = kVectorBytes / 4;
  constexpr std::size_t kVectors = kSumRow / kLanes;
  std::uint32_t lanes[kLanes] = {};
  lanes[kLanes - 1] = before;  // the last column of the row before, whose weight is 1
  Vector sums[kVectors] = {};
  std::memcpy(&sums[kVectors - 1], lanes, kVectorBytes);
  for (std::size_t row = 0; row < n_rows; ++row, symbols += kSumRow) {
#pragma GCC unroll 16
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector some;
      std::memcpy(&some, symbols + kLanes * v, kVectorBytes);
      sums[v] = sums[v] * factor + some;
    }
  }
  Vector total = {};
#pragma GCC unroll 16
  for (std::size_t v = 0; v < kVectors; ++v) {
    Vector some;
    std::memcpy(&some, weights + kLanes * v, kVectorBytes);
    total += sums[v] * some;
  }
  std::memcpy(lanes, &total, kVectorBytes);
  std::uint32_t sum = 0;
  for (const std::uint32_t part : lanes) sum += part;
  return sum;
}

}  // namespace glc::rans

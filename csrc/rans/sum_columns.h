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

}  // namespace glc::rans

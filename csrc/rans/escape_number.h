// SPDX-License-Identifier: Apache-2.0
//
// The number that stands for a symbol outside its row (docs/format.md, "Escapes"), host and device.
#pragma once

#include <cstdint>

#include "rans/rans_state.h"

namespace glc::rans {

/// Binary digits of n, 0 of 0.
[[nodiscard]] GLC_HOST_DEVICE constexpr int digits_of(std::uint64_t n) {
  int digits = 0;
  for (int step = 32; step > 0; step /= 2) {
    if (n >> step != 0) {
      n >>= step;
      digits += step;
    }
  }
  return digits + static_cast<int>(n);
}

/// Length of the Elias-gamma code of n >= 1.
[[nodiscard]] GLC_HOST_DEVICE constexpr int gamma_bits(std::uint64_t n) {
  return 2 * digits_of(n) - 1;
}

/// Number of an escaped v = symbol - offset: above the row even, below it odd.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint64_t escape_raw(std::int64_t v,
                                                                 std::uint32_t n_direct) {
  return v >= 0 ? 2 * static_cast<std::uint64_t>(v - std::int64_t{n_direct})
                : 2 * static_cast<std::uint64_t>(-v) - 1;
}

/// Inverse of escape_raw.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::int64_t escape_value(std::uint64_t raw,
                                                                  std::uint32_t n_direct) {
  return raw % 2 == 0 ? static_cast<std::int64_t>(raw / 2) + n_direct
                      : -static_cast<std::int64_t>(raw / 2) - 1;
}

/// raw + 1 of any int32 symbol and offset fits in this many bits.
inline constexpr int kMaxEscapeWidth = 34;

}  // namespace glc::rans

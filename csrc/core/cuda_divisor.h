// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>

#include "core/check.h"
#include "core/cuda_launch.h"

namespace glc::cuda {

/// Divides by a number known at the launch: a product of 64 bits, where a division of such numbers
/// is some seventy instructions. Exact for n < 2^64 / value (Granlund and Montgomery 1994).
class Divisor {
 public:
  Divisor() = default;

  /// For n up to `largest`. Throws InvalidArgument naming op where that is too far.
  Divisor(const char* op, std::int64_t value, std::int64_t largest)
      : value_(value < 1 ? 1U : static_cast<std::uint64_t>(value)) {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
    if (value_ == 1) return;
    const std::uint64_t limit = kMax / value_;
    if (static_cast<std::uint64_t>(largest) >= limit) {
      fail_argument(op, "y", "fewer than " + std::to_string(limit) + " elements", largest);
    }
    factor_ = limit + 1;  // 2^64 / value, rounded up or, for powers of two, exact
  }

  /// n / value and, in *rest, n % value.
  __device__ std::int64_t divided(std::int64_t n, std::int64_t* rest) const {
    const auto whole = static_cast<std::uint64_t>(n);
    const std::uint64_t quotient = factor_ == 0 ? whole : __umul64hi(whole, factor_);
    *rest = static_cast<std::int64_t>(whole - quotient * value_);
    return static_cast<std::int64_t>(quotient);
  }

 private:
  std::uint64_t value_ = 1;
  std::uint64_t factor_ = 0;  // 0: divide by 1
};

}  // namespace glc::cuda

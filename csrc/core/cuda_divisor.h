// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

#include "core/check.h"
#include "core/cuda_launch.h"

namespace glc::cuda {

/// Divides numbers below 2^31 by one that is known at the launch, with a product and a shift
/// (Granlund and Montgomery 1994), where a device divides in some seventy instructions.
class Divisor {
 public:
  static constexpr std::int64_t kLimit = std::int64_t{1} << 31;

  Divisor() = default;

  /// For numbers below `count`, which is refused, naming op, above kLimit. Below 1 counts as 1.
  Divisor(const char* op, std::int64_t value, std::int64_t count) {
    if (count > kLimit) {
      fail_argument(op, "y", "at most " + std::to_string(kLimit) + " units of work", count);
    }
    if (value <= 1) return;
    if (value > kLimit) value = kLimit;  // all quotients are 0
    value_ = static_cast<std::uint32_t>(value);
    const auto bits = static_cast<int>(std::bit_width(value_ - 1U));  // 2^bits >= value
    factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << (31 + bits)) + value_ - 1) / value_);
    shift_ = bits - 1;
  }

  /// n / value and, in *rest, n % value.
  __device__ std::uint32_t divided(std::uint32_t n, std::uint32_t* rest) const {
    const std::uint32_t quotient = factor_ == 0 ? n : __umulhi(n, factor_) >> shift_;
    *rest = n - quotient * value_;
    return quotient;
  }

 private:
  std::uint32_t value_ = 1;
  std::uint32_t factor_ = 0;  // 2^(32 + shift) / value, rounded up; 0: divide by 1
  int shift_ = 0;
};

}  // namespace glc::cuda

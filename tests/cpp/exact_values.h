// SPDX-License-Identifier: Apache-2.0
// Values that tell one order of sums, one rounding or one flushed denormal from another.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace glc::test {

using Floats = std::vector<float>;

/// Bit for bit, but a NaN is a NaN.
inline void check_same(const Floats& got, const Floats& expected, const std::string& what) {
  check_equal(got.size(), expected.size(), what.c_str());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool same =
        std::bit_cast<std::uint32_t>(got[i]) == std::bit_cast<std::uint32_t>(expected[i]);
    if (!same && !(std::isnan(got[i]) && std::isnan(expected[i]))) {
      std::fprintf(stderr, "output %zu: expected %a, got %a\n", i, expected[i], got[i]);
      check(false, what.c_str());
    }
  }
}

enum class Values : std::uint8_t { kNormal, kWide, kDenormal, kSmallIntegers, kNonFinite };
inline constexpr std::array kAllValues = {
    Values::kNormal, Values::kWide, Values::kDenormal, Values::kSmallIntegers, Values::kNonFinite};

inline Floats draw(std::int64_t n, Values kind, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Floats out(static_cast<std::size_t>(n));
  for (float& v : out) {
    const auto bits = static_cast<std::uint32_t>(random());
    const std::uint32_t sign = bits & 0x80000000U;
    switch (kind) {
      case Values::kNormal:
        v = normal(random);
        break;
      case Values::kWide:  // exponents -62 .. 62: sums cancel, absorb and stay finite
        v = std::bit_cast<float>((bits & 0x807FFFFFU) | ((65U + bits % 125U) << 23U));
        break;
      case Values::kDenormal:  // beside values near 1, so that products are denormal too
        v = random() % 2 == 0 ? std::bit_cast<float>(bits & 0x807FFFFFU) : normal(random);
        break;
      case Values::kSmallIntegers:  // exact sums, many zeros of both signs
        v = std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(bits % 3)));
        break;
      case Values::kNonFinite:
        v = normal(random);
        if (random() % 64 == 0) v = std::bit_cast<float>(sign | 0x7F800000U);
        if (random() % 512 == 0) v = std::numeric_limits<float>::quiet_NaN();
        break;
    }
  }
  return out;
}

inline std::int64_t between(std::int64_t low, std::int64_t high, std::mt19937& random) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

}  // namespace glc::test

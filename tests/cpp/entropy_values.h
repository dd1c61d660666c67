// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "glc/bfloat16.h"

namespace glc::test {

using Floats = std::vector<float>;

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();

inline Floats normal(std::size_t n, unsigned seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0F, spread);
  Floats out(n);
  std::ranges::generate(out, [&] { return draw(random); });
  return out;
}

template <class T>
T narrow(float v) {
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    return {static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, v) >> 16)};
  }
}

template <class T>
std::vector<T> narrowed(const Floats& values) {
  std::vector<T> out(values.size());
  std::ranges::transform(values, out.begin(), [](float v) { return narrow<T>(v); });
  return out;
}

}  // namespace glc::test

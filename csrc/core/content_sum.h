// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace glc {

/// A number that any one changed value changes, and other changes all but surely; at the speed of
/// memory. Two sums that wrap, of the bits and of what that sum was at each step, as in Fletcher's
/// checksum. Nobody is kept from making two contents alike.
inline std::uint64_t content_sum(std::span<const float> values) {
  using Words [[gnu::vector_size(64)]] = std::uint32_t;
  constexpr std::size_t kWords = sizeof(Words) / sizeof(std::uint32_t);
  Words bits = {};
  Words steps = {};
  const auto add = [&](const float* from, std::size_t n) {
    Words words = {};
    std::memcpy(&words, from, n * sizeof(float));
    bits += words;
    steps += bits;
  };
  std::size_t i = 0;
  for (; i + kWords <= values.size(); i += kWords) add(values.data() + i, kWords);
  if (i < values.size()) add(values.data() + i, values.size() - i);
  std::uint64_t sum = values.size();
  for (std::size_t lane = 0; lane < kWords; ++lane) {
    sum = sum * 0x9E3779B97F4A7C15U + bits[lane];
    sum = sum * 0x9E3779B97F4A7C15U + steps[lane];
  }
  return sum;
}

}  // namespace glc

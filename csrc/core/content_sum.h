// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace glc {

/// A number that any one changed value changes, and other changes all but surely; at the speed of
/// memory, which crc32c's tables (glc/bitstream.h) do not keep up with. Two sums that wrap, of the
/// bits and of what that sum was at each step, as in Fletcher's checksum. Nobody is kept from
/// making two contents alike.
inline std::uint64_t content_sum(std::span<const float> values) {
  using Words [[gnu::vector_size(16)]] = std::uint32_t;  // which every machine has registers for
  constexpr std::size_t kWords = sizeof(Words) / sizeof(std::uint32_t);
  constexpr std::size_t kVectors = 4;
  Words bits[kVectors] = {};
  Words steps[kVectors] = {};
  const auto add = [&](const float* from) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      Words words;
      std::memcpy(&words, from + v * kWords, sizeof(words));
      bits[v] += words;
      steps[v] += bits[v];
    }
  };
  constexpr std::size_t kStep = kVectors * kWords;
  std::size_t i = 0;
  for (; i + kStep <= values.size(); i += kStep) add(values.data() + i);
  float last[kStep] = {};
  for (std::size_t k = 0; i < values.size(); ++i, ++k) last[k] = values[i];
  add(last);
  std::uint64_t sum = values.size();
  for (std::size_t v = 0; v < kVectors; ++v) {
    for (std::size_t word = 0; word < kWords; ++word) {
      sum = sum * 0x9E3779B97F4A7C15U + bits[v][word];
      sum = sum * 0x9E3779B97F4A7C15U + steps[v][word];
    }
  }
  return sum;
}

}  // namespace glc

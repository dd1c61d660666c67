// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace cuda_on_cpu {

inline std::uint64_t next_random(std::uint64_t& state) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

template <class T>
void shuffle(T* items, std::size_t n, std::uint64_t& state) {
  for (std::size_t i = n; i > 1; --i) std::swap(items[i - 1], items[next_random(state) % i]);
}

}  // namespace cuda_on_cpu

// SPDX-License-Identifier: Apache-2.0
//
// Byte shuffles that move words between a stream and the lanes of a vector, by the mask of the
// lanes that renormalise. Words keep ascending lane order.
//
//   refill   word k of the stream -> the k-th lane of the mask; other lanes 0
//   spill    words of the lanes in the mask -> the top of the vector, so that a store that ends
//            where the stream begins prepends them
#pragma once

#include <array>
#include <cstdint>

namespace glc::rans {

template <int kLanes>
using ShuffleTable = std::array<std::array<std::uint8_t, 2 * kLanes>, 1 << kLanes>;

template <int kLanes, bool kSpill>
consteval ShuffleTable<kLanes> make_shuffles() {
  ShuffleTable<kLanes> table{};
  for (unsigned mask = 0; mask < table.size(); ++mask) {
    int n_words = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) n_words += static_cast<int>(mask >> lane & 1U);
    int word = kSpill ? kLanes - n_words : 0;
    table[mask].fill(0x80);  // a byte of zero
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      const std::size_t to = 2 * static_cast<std::size_t>(kSpill ? word : lane);
      const int from = 2 * (kSpill ? lane : word);
      table[mask][to] = static_cast<std::uint8_t>(from);
      table[mask][to + 1] = static_cast<std::uint8_t>(from + 1);
      ++word;
    }
  }
  return table;
}

template <int kLanes>
alignas(16) inline constexpr ShuffleTable<kLanes> kRefill = make_shuffles<kLanes, false>();
template <int kLanes>
alignas(16) inline constexpr ShuffleTable<kLanes> kSpill = make_shuffles<kLanes, true>();

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
//
// Which byte values are too rare for a bin of their own; integers only, host and device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rans/cost.h"

namespace glc::rans {

/// Estimates what a set of bins costs before their frequencies are settled: each has its share of
/// 2^16 slots but at least a 4096th, and all then shrink to fit.
class BinsEstimate {
 public:
  GLC_HOST_DEVICE explicit constexpr BinsEstimate(std::uint64_t n) : n_(n) {}
  GLC_HOST_DEVICE constexpr void add(std::uint64_t count) { change(count, 1); }
  GLC_HOST_DEVICE constexpr void remove(std::uint64_t count) { change(count, -1); }
  [[nodiscard]] GLC_HOST_DEVICE constexpr std::int64_t cost() const {
    const std::uint64_t fitting = (std::uint64_t{1} << 32) / slots_;
    const std::uint64_t shrunk = fitting < 65536 ? fitting : 65536;
    return cost_ +
           static_cast<std::int64_t>(n_ * fixed_point_cost(static_cast<std::uint32_t>(shrunk), 16));
  }

 private:
  GLC_HOST_DEVICE constexpr void change(std::uint64_t count, int sign) {
    if (count == 0) return;
    // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): n_ is the sum of all counts
    const std::uint64_t share = (count << 16) / n_;
    const auto slots = static_cast<std::uint32_t>(share > 16 ? share : 16);
    slots_ += sign > 0 ? slots : 0U - slots;
    cost_ += sign * static_cast<std::int64_t>(count * fixed_point_cost(slots, 16));
  }

  std::uint64_t n_;
  std::uint32_t slots_ = 0;
  std::int64_t cost_ = 0;
};

/// How many of the candidates, the rarest first, code n bytes in fewest bits when they share an
/// escape bin and a list of which the rarest is the last.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::size_t choose_rare(const std::uint64_t* counts,
                                                                const std::uint8_t* candidates,
                                                                std::size_t n_candidates,
                                                                std::uint64_t n) {
  std::size_t n_rare = 0;
  if (n_candidates == 0) return n_rare;
  BinsEstimate estimate(n);
  for (int value = 0; value < 256; ++value) estimate.add(counts[value]);
  std::int64_t least = estimate.cost();
  std::int64_t numbers = 0;
  std::uint64_t escapes = 0;
  // Each goes to the front of the list: those at places 2^j - 1 move on to where a number is two
  // bits longer.
  for (std::size_t k = 1; k <= n_candidates; ++k) {
    const std::uint64_t count = counts[candidates[k - 1]];
    for (std::size_t place = 1; place < k; place = 2 * place + 1) {
      numbers += static_cast<std::int64_t>(2 * counts[candidates[k - 1 - place]]) << 16;
    }
    numbers += static_cast<std::int64_t>(count) << 16;
    estimate.remove(count);
    estimate.remove(escapes);
    escapes += count;
    estimate.add(escapes);
    const std::int64_t head = static_cast<std::int64_t>(k * 8) << 16;
    const std::int64_t cost = estimate.cost() + numbers + head;
    if (cost < least) {
      least = cost;
      n_rare = k;
    }
  }
  return n_rare;
}

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
// Positive floats sort like their bit patterns. A key, the upper bits of a pattern, names an
// interval of scales. Where no interval holds more than one bound, one table entry per interval is
// all there is to know: how many bounds lie below it, and where inside it the bound is. So a row
// costs integer comparisons, one load, no search and no branch.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "entropy/gaussian_symbols_kernel.h"

namespace glc::entropy {

class RowFinder {
 public:
  /// Up to 255 finite, positive, increasing bounds.
  explicit RowFinder(std::span<const float> bounds) : bounds_(bounds) {
    for (shift_ = kMaxShift; shift_ >= 0; --shift_) {
      if (bounds.empty() || key(bounds.back()) - key(bounds.front()) + 2 > kMaxKeys) {
        break;
      }
      if (one_per_key()) {
        fill();
        return;
      }
    }
    shift_ = -1;  // no such table, or nothing to find
  }

  [[nodiscard]] bool has_table() const { return shift_ >= 0; }
  /// For kernels; borrowed.
  [[nodiscard]] RowTable table() const { return {entries_.data(), first_, last_, shift_}; }

  /// Number of bounds strictly below scale; 0 for NaN and what is not positive.
  std::uint8_t operator()(float scale) const {
    const auto below = std::ranges::lower_bound(
        bounds_, positive_bits(scale), {}, [](float b) { return std::bit_cast<std::uint32_t>(b); });
    return static_cast<std::uint8_t>(below - bounds_.begin());
  }

 private:
  static constexpr int kMaxShift = 20;
  static constexpr std::uint32_t kMaxKeys = 2048;
  static constexpr int kCountShift = 24;

  /// 0 for NaN and what is not positive.
  static std::uint32_t positive_bits(float scale) {
    constexpr std::uint32_t kInfinity = 0x7F800000U;
    const auto bits = std::bit_cast<std::uint32_t>(scale);
    return bits > kInfinity ? 0U : bits;
  }

  [[nodiscard]] std::uint32_t key(float bound) const {
    return std::bit_cast<std::uint32_t>(bound) >> shift_;
  }

  [[nodiscard]] bool one_per_key() const {
    return std::ranges::adjacent_find(bounds_, {}, [this](float b) { return key(b); }) ==
           bounds_.end();
  }

  void fill() {
    const std::uint32_t first_key = key(bounds_.front());
    const std::uint32_t keys = key(bounds_.back()) - first_key + 2;  // the last: above all bounds
    first_ = first_key << shift_;
    last_ = (keys << shift_) - 1U;
    std::size_t below = 0;
    for (std::uint32_t k = 0; k < keys; ++k) {
      entries_[k] = static_cast<std::uint32_t>(below) << kCountShift | 1U << shift_;
      if (below < bounds_.size() && key(bounds_[below]) == first_key + k) {
        const auto place = std::bit_cast<std::uint32_t>(bounds_[below]) & ((1U << shift_) - 1U);
        entries_[k] = static_cast<std::uint32_t>(below) << kCountShift | place;
        ++below;
      }
    }
  }

  std::span<const float> bounds_;
  int shift_ = -1;
  std::uint32_t first_ = 0;
  std::uint32_t last_ = 0;
  std::array<std::uint32_t, kMaxKeys> entries_;
};

}  // namespace glc::entropy

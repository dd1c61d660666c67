// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <span>
#include <utility>

#include "core/big_array.h"
#include "core/thread_pool.h"
#include "glc/exact.h"

namespace glc::networks {

/// Feature maps [c, h, w] of one picture, owned, not initialised.
class Map {
 public:
  Map() = default;
  /// Throws std::bad_alloc.
  Map(std::int64_t c, std::int64_t h, std::int64_t w)
      : c_(c), h_(h), w_(w), data_(big_array<float>(elements(c, h, w))) {}
  Map(Map&& other) noexcept { swap(other); }
  Map& operator=(Map&& other) noexcept {
    Map taken(std::move(other));
    swap(taken);
    return *this;
  }
  Map(const Map&) = delete;
  Map& operator=(const Map&) = delete;
  ~Map() = default;

  [[nodiscard]] std::int64_t c() const { return c_; }
  [[nodiscard]] std::int64_t h() const { return h_; }
  [[nodiscard]] std::int64_t w() const { return w_; }
  /// Of one channel.
  [[nodiscard]] std::int64_t plane() const { return h_ * w_; }
  [[nodiscard]] std::int64_t size() const { return c_ * plane(); }

  [[nodiscard]] float* channel(std::int64_t c) { return data_.get() + c * plane(); }
  [[nodiscard]] const float* channel(std::int64_t c) const { return data_.get() + c * plane(); }
  [[nodiscard]] exact::MapView<float> view() { return {data_.get(), 1, c_, h_, w_}; }
  [[nodiscard]] exact::MapView<const float> view() const { return {data_.get(), 1, c_, h_, w_}; }

 private:
  static std::size_t elements(std::int64_t c, std::int64_t h, std::int64_t w) {
    std::size_t n = 0;
    if (__builtin_mul_overflow(c, h, &n) || __builtin_mul_overflow(n, w, &n)) {
      throw std::bad_alloc();
    }
    return n;
  }
  void swap(Map& other) noexcept {
    std::swap(c_, other.c_);
    std::swap(h_, other.h_);
    std::swap(w_, other.w_);
    std::swap(data_, other.data_);
  }

  std::int64_t c_ = 0;
  std::int64_t h_ = 0;
  std::int64_t w_ = 0;
  BigArray<float> data_;
};

/// v moved to the bound it is beyond; a NaN stays one.
[[nodiscard]] inline float held_within(float v, float low, float high) {
  const float raised = v < low ? low : v;
  return raised > high ? high : raised;
}

/// Whether no value is infinite or none.
[[nodiscard]] inline bool all_finite(std::span<const float> values) {
  bool finite = true;
  for (const float v : values) finite &= std::abs(v) <= std::numeric_limits<float>::max();
  return finite;
}

/// Rows [first, last) of a map.
[[nodiscard]] inline Map rows_of(exact::MapView<const float> x,
                                 std::int64_t first,
                                 std::int64_t last) {
  Map out(x.c, last - first, x.w);
  for (std::int64_t c = 0; c < x.c; ++c) {
    std::copy_n(x.data + (c * x.h + first) * x.w, out.plane(), out.channel(c));
  }
  return out;
}

/// f(channel, its elements) for all channels, on several threads.
template <class F>
void for_channels(Map& map, F f) {
  parallel_for(static_cast<std::size_t>(map.c()), [&](std::size_t i) {
    const auto c = static_cast<std::int64_t>(i);
    f(c, std::span(map.channel(c), static_cast<std::size_t>(map.plane())));
  });
}

}  // namespace glc::networks

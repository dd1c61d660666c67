// SPDX-License-Identifier: Apache-2.0
//
// Cutting a call into tasks: tiles of pixels, and a piece of the workspace for every thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "core/check.h"
#include "core/thread_pool.h"
#include "exact/exact_backend.h"
#include "glc/exact.h"
#include "glc/threads.h"

namespace glc::exact {

/// Caller's memory: what all threads share first, then a piece for each of them.
class Workspace {
 public:
  static std::size_t bytes(std::int64_t shared, std::int64_t per_thread, int n_threads) {
    const std::int64_t floats = aligned(shared) + n_threads * aligned(per_thread);
    if (static_cast<std::uint64_t>(floats) > (SIZE_MAX - kAlign) / sizeof(float)) {
      throw std::bad_alloc();  // where addresses have 32 bits
    }
    return static_cast<std::size_t>(floats) * sizeof(float) + kAlign;
  }

  /// Throws InvalidArgument when there is not enough for one thread.
  Workspace(const char* op,
            std::span<std::byte> given,
            std::int64_t shared,
            std::int64_t per_thread) {
    const std::size_t least = bytes(shared, per_thread, 1);
    if (given.size() < least) {
      fail_argument(op, "workspace", "at least " + std::to_string(least) + " bytes", given.size());
    }
    void* at = given.data();
    std::size_t left = given.size();
    shared_ = static_cast<float*>(std::align(kAlign, 1, at, left));
    own_ = shared_ + aligned(shared);
    per_thread_ = aligned(per_thread);
    const auto floats = static_cast<std::int64_t>(left / sizeof(float)) - aligned(shared);
    n_threads_ =
        std::min<std::int64_t>(glc::threads(), floats / std::max<std::int64_t>(per_thread_, 1));
  }

  [[nodiscard]] float* shared() const { return shared_; }

  /// f(task, scratch) for 0 .. n - 1 on several threads.
  template <class F>
  void for_tasks(std::int64_t n, F f) const {
    std::atomic<std::int64_t> next = 0;
    parallel_for(static_cast<std::size_t>(std::min(n, n_threads_)), [&](std::size_t worker) {
      float* scratch = own_ + static_cast<std::int64_t>(worker) * per_thread_;
      for (std::int64_t task = next++; task < n; task = next++) f(task, scratch);
    });
  }

 private:
  static constexpr std::size_t kAlign = 64;

  static std::int64_t aligned(std::int64_t n_floats) {
    constexpr auto kFloats = static_cast<std::int64_t>(kAlign / sizeof(float));
    return (n_floats + kFloats - 1) / kFloats * kFloats;
  }

  float* shared_;
  float* own_;
  std::int64_t per_thread_;
  std::int64_t n_threads_;
};

inline std::int64_t tiles(const Backend& use, std::int64_t n_pixels) {
  return (n_pixels + use.pixels - 1) / use.pixels;
}

inline Tile tile_of(const Backend& use, std::int64_t i, std::int64_t n_pixels) {
  const std::int64_t first = i * use.pixels;
  return {.first = first, .n = std::min(use.pixels, n_pixels - first)};
}

/// A 1x1 convolution of every pixel sees one long row.
inline Window window_of(std::int64_t h, std::int64_t w, const Sampling& s, std::int64_t kernel) {
  if (kernel == 1 && s.stride == 1) {
    return {.h = 1, .w = h * w, .w_out = h * w, .step = 1, .row = 0, .col = 0};
  }
  const std::int64_t pad = kernel / 2;
  return {.h = h,
          .w = w,
          .w_out = s.count(w, s.col),
          .step = s.stride,
          .row = s.row - pad,
          .col = s.col - pad};
}

/// Panels per task: few enough for the sums to stay in the cache and for every thread to have work.
inline std::int64_t panels_per_task(const Backend& use,
                                    std::int64_t n_panels,
                                    std::int64_t n_tiles) {
  const std::int64_t most = (use.conv_scratch - use.block * use.pixels) / (use.rows * use.pixels);
  const std::int64_t wanted =
      std::max<std::int64_t>(3 * glc::threads() / std::max<std::int64_t>(n_tiles, 1), 1);
  const std::int64_t share =
      std::max<std::int64_t>(n_panels / wanted, std::min<std::int64_t>(n_panels, 4));
  return std::min(most, share);
}

}  // namespace glc::exact

// SPDX-License-Identifier: Apache-2.0
// How elementwise kernels walk a matrix: in runs within a row, spread over threads in tasks whose
// borders depend on the shape alone, so that sums per task do not depend on the threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/big_array.h"
#include "core/thread_pool.h"
#include "entropy/bfloat16_kernel.h"
#include "glc/bfloat16.h"
#include "glc/views.h"

namespace glc::entropy {

/// Elements of a run at most; all the scratch of a kernel fits the first cache. Runs start at
/// multiples of it.
inline constexpr std::int64_t kRun = 512;
/// Vectors are shorter than this and divide it.
inline constexpr std::int64_t kPad = 16;

/// For an output that its caller has just allocated: system memory on first touch costs more than
/// what a kernel here does with it, and less in large pages.
template <class T>
void expect_fresh(const MatrixView<T>& out) {
  constexpr std::size_t kWorthACall = std::size_t{4} << 20;
  const std::size_t bytes = static_cast<std::size_t>(out.size()) * sizeof(T);
  if (out.data != nullptr && out.contiguous() && bytes >= kWorthACall) {
    prefer_large_pages(out.data, bytes);
  }
}

/// `groups` times `rows` rows of `cols` elements. A task never spans two groups.
struct Tasks {
  static constexpr std::int64_t kElements = 32 * kRun;

  std::int64_t groups;
  std::int64_t rows;
  std::int64_t cols;

  [[nodiscard]] std::int64_t row_step() const {
    return std::clamp<std::int64_t>(kElements / std::max<std::int64_t>(cols, 1), 1, kElements);
  }
  [[nodiscard]] std::int64_t row_tasks() const { return (rows + row_step() - 1) / row_step(); }
  [[nodiscard]] std::int64_t col_tasks() const { return (cols + kElements - 1) / kElements; }
  [[nodiscard]] std::int64_t per_group() const { return row_tasks() * col_tasks(); }
  [[nodiscard]] std::int64_t count() const { return groups * per_group(); }

  /// f(task, row, first, last) for each run; the runs of a task in order, on one thread.
  template <class F>
  void for_each(F f) const {
    parallel_for(static_cast<std::size_t>(count()), [&](std::size_t i) {
      const auto task = static_cast<std::int64_t>(i);
      const std::int64_t group = task / per_group();
      const std::int64_t row = task % per_group() / col_tasks() * row_step();
      const std::int64_t col = task % col_tasks() * kElements;
      const std::int64_t col_end = std::min(cols, col + kElements);
      const std::int64_t first_row = group * rows + row;
      const std::int64_t last_row = group * rows + std::min(rows, row + row_step());
      for (std::int64_t r = first_row; r < last_row; ++r) {
        for (std::int64_t c = col; c < col_end; c += kRun) {
          f(task, r, c, std::min(col_end, c + kRun));
        }
      }
    });
  }
};

[[nodiscard]] constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

/// A run of input as floats, padded with ones; in place where that is possible.
template <class T>
class InputRun {
 public:
  const float* operator()(const T* p, std::int64_t n) {
    if constexpr (std::is_same_v<T, float>) {
      if (n % kPad == 0) {
        return p;
      }
      std::copy_n(p, n, scratch_);
    } else {
      // whole vectors, then the rest
      const std::int64_t most = n / kPad * kPad;
      bfloat16_backend().widen(p, scratch_, most);
      std::transform(p + most, p + n, scratch_ + most, [](BFloat16 v) { return to_float(v); });
    }
    std::fill(scratch_ + n, scratch_ + padded(n), 1.0F);
    return scratch_;
  }
  /// For a reader of n values and no more.
  const float* unpadded(const T* p, std::int64_t n) {
    if constexpr (std::is_same_v<T, float>) {
      return p;
    } else {
      return (*this)(p, n);
    }
  }

 private:
  alignas(64) float scratch_[kRun];
};

/// Where a kernel writes a run of output; `flush` brings it to its place. Null: nowhere.
template <class T>
class OutputRun {
 public:
  float* operator()(T* p, std::int64_t n) {
    place_ = p;
    n_ = n;
    if constexpr (std::is_same_v<T, float>) {
      if (p != nullptr && n % kPad == 0) {
        place_ = nullptr;
        return p;
      }
    }
    return scratch_;
  }
  void flush() {
    if (place_ == nullptr) {
      return;
    }
    if constexpr (std::is_same_v<T, float>) {
      std::copy_n(scratch_, n_, place_);
    } else {
      const std::int64_t most = n_ / kPad * kPad;
      bfloat16_backend().narrow(scratch_, place_, most);
      if (most < n_) {
        BFloat16 rest[kPad];
        bfloat16_backend().narrow(scratch_ + most, rest, kPad);
        std::copy_n(rest, n_ - most, place_ + most);
      }
    }
  }

 private:
  alignas(64) float scratch_[kRun];
  T* place_ = nullptr;
  std::int64_t n_ = 0;
};

}  // namespace glc::entropy

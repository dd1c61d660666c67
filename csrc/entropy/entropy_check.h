// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/check.h"
#include "glc/entropy.h"
#include "glc/views.h"

namespace glc::entropy {

inline void check_size(std::string_view op,
                       std::string_view argument,
                       std::size_t expected,
                       std::size_t got) {
  if (got != expected) {
    fail_argument(op, argument, std::to_string(expected) + " elements", got);
  }
}

template <class A, class B>
void check_shape(std::string_view op,
                 std::string_view argument,
                 const MatrixView<A>& expected,
                 const MatrixView<B>& got) {
  const auto text = [](const auto& view) {
    return std::to_string(view.rows) + " x " + std::to_string(view.cols);
  };
  if (expected.rows != got.rows || expected.cols != got.cols) {
    fail_argument(op, argument, text(expected), text(got));
  }
}

/// Of `groups` equal ones.
inline std::int64_t rows_per_group(std::string_view op,
                                   std::string_view argument,
                                   std::int64_t rows,
                                   std::int64_t groups) {
  if (groups == 0 ? rows != 0 : rows % groups != 0) {
    fail_argument(op, argument, "a divisor of " + std::to_string(rows) + " rows", groups);
  }
  return groups == 0 ? 0 : rows / groups;
}

/// Those of three outputs that are wanted.
template <class In, class Out>
void check_gradients(std::string_view op,
                     const MatrixView<In>& like,
                     const GaussianGradients<Out>& out) {
  if (out.y.data != nullptr) check_shape(op, "grad_y", like, out.y);
  if (out.mean.data != nullptr) check_shape(op, "grad_mean", like, out.mean);
  if (out.scale.data != nullptr) check_shape(op, "grad_scale", like, out.scale);
}

inline void check_cdf(std::string_view op,
                      const MatrixView<const float>& logits,
                      std::int32_t bits,
                      const MatrixView<std::int32_t>& cdf) {
  constexpr std::int32_t kMaxBits = 16;
  if (bits < 1 || bits > kMaxBits) {
    fail_argument(op, "bits", "1..16", bits);
  }
  const std::int64_t total = std::int64_t{1} << bits;
  if (logits.cols < 1 || logits.cols > total) {
    fail_argument(op, "logits", "1.." + std::to_string(total) + " columns", logits.cols);
  }
  const MatrixView<std::int32_t> expected(nullptr, logits.rows, logits.cols + 1);
  check_shape(op, "cdf", expected, cdf);
}

/// Shapes of a choice among logits. The entries of index are the caller's to check.
template <class T>
void check_choices_shape(std::string_view op,
                         const MatrixView<const T>& logits,
                         std::span<const std::int64_t> index,
                         const MatrixView<const float>& norms) {
  if (logits.cols < 1) {
    fail_argument(op, "logits", "at least 1 column", logits.cols);
  }
  if (logits.rows != 1 && logits.rows != ssize(index)) {
    fail_argument(op, "logits", "1 row, or " + std::to_string(index.size()), logits.rows);
  }
  check_shape(op, "norms", MatrixView<const float>(nullptr, logits.rows, 2), norms);
}

/// At most 255 finite, positive, strictly increasing bounds. The negated comparison catches NaN.
inline void check_bounds(std::string_view op, std::span<const float> bounds) {
  constexpr std::size_t kMaxBounds = 255;
  if (bounds.size() > kMaxBounds) {
    fail_argument(op, "bounds", "at most 255 values", bounds.size());
  }
  float previous = 0.0F;
  for (const float bound : bounds) {
    if (!(bound > previous) || bound - bound != 0.0F) {
      fail_argument(op, "bounds", "finite, positive, strictly increasing values", bound);
    }
    previous = bound;
  }
}

}  // namespace glc::entropy

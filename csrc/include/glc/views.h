// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace glc {

/// Borrowed row-major matrix [rows, cols]; row i starts at data + i * row_stride (in elements).
/// Owns nothing: the memory must outlive the call it is passed to.
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;

  constexpr MatrixView() = default;

  /// Contiguous matrix: row_stride == cols.
  constexpr MatrixView(T* data_in, std::int64_t rows_in, std::int64_t cols_in)
      : MatrixView(data_in, rows_in, cols_in, cols_in) {}

  constexpr MatrixView(T* data_in,
                       std::int64_t rows_in,
                       std::int64_t cols_in,
                       std::int64_t row_stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), row_stride(row_stride_in) {}

  [[nodiscard]] constexpr T* row(std::int64_t i) const { return data + i * row_stride; }

  [[nodiscard]] constexpr std::span<T> row_span(std::int64_t i) const {
    return {row(i), static_cast<std::size_t>(cols)};
  }

  [[nodiscard]] constexpr std::int64_t size() const { return rows * cols; }

  [[nodiscard]] constexpr bool contiguous() const { return row_stride == cols || rows <= 1; }

  /// A view of mutable data is also a view of constant data.
  template <class U = T>
    requires(!std::is_const_v<U>)
  constexpr operator MatrixView<const U>() const {
    return {data, rows, cols, row_stride};
  }
};

/// Signed size of a span, so that products and comparisons stay in one signed type.
template <class T, std::size_t kExtent>
[[nodiscard]] constexpr std::int64_t ssize(std::span<T, kExtent> s) {
  return static_cast<std::int64_t>(s.size());
}

}  // namespace glc

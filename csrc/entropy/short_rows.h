// SPDX-License-Identifier: Apache-2.0
// Matrices of short rows without gaps, such as [n, 1], as fewer and longer rows: a run costs as
// much as tens of elements beside what they cost.
#pragma once

#include <cstdint>

#include "glc/entropy.h"
#include "glc/views.h"

namespace glc::entropy {

inline constexpr std::int64_t kShortRow = 64;

/// Whether the matrices, those with data, have such rows.
template <class... T>
[[nodiscard]] bool can_join(const MatrixView<T>&... views) {
  return ((views.data == nullptr || (views.cols < kShortRow && views.contiguous())) && ...);
}
template <class T>
[[nodiscard]] bool can_join(const GaussianLatents<T>& in) {
  return can_join(in.y, in.mean, in.scale);
}
template <class T>
[[nodiscard]] bool can_join(const GaussianGradients<T>& out) {
  return can_join(out.y, out.mean, out.scale);
}

/// The same elements as so many rows.
template <class T>
[[nodiscard]] MatrixView<T> joined(const MatrixView<T>& view, std::int64_t rows) {
  return {view.data, rows, rows == 0 ? view.cols : view.size() / rows};
}
template <class T>
[[nodiscard]] GaussianLatents<T> joined(const GaussianLatents<T>& in, std::int64_t rows) {
  return {joined(in.y, rows), joined(in.mean, rows), joined(in.scale, rows)};
}
template <class T>
[[nodiscard]] GaussianGradients<T> joined(const GaussianGradients<T>& out, std::int64_t rows) {
  return {joined(out.y, rows), joined(out.mean, rows), joined(out.scale, rows)};
}

}  // namespace glc::entropy

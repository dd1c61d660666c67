// SPDX-License-Identifier: Apache-2.0
// What the CPU's and the device's entry points check.
#pragma once

#include <string_view>

#include "entropy/entropy_check.h"
#include "glc/four_part.h"

namespace glc::entropy {

inline void check_part(std::string_view op, const FourPartShape& shape, int part) {
  if (part < 0 || part >= kParts) {
    fail_argument(op, "part", "0..3", part);
  }
  if (shape.channels % kParts != 0 || shape.channels < 1) {
    fail_argument(op, "y", "a multiple of 4 channels", shape.channels);
  }
}

template <class T>
void check_map(std::string_view op,
               std::string_view name,
               const FourPartShape& shape,
               const MatrixView<T>& map) {
  const std::int64_t pixels = shape.height * shape.width;
  const std::int64_t rows = shape.channels_last ? shape.batch * pixels : shape.batch;
  const std::int64_t cols = shape.channels_last ? shape.channels : shape.channels * pixels;
  const MatrixView<T> expected(nullptr, rows, cols);
  check_shape(op, name, expected, map);
}

/// A map that may be left out.
template <class T>
void check_given(std::string_view op,
                 std::string_view name,
                 const FourPartShape& shape,
                 const MatrixView<T>& map) {
  if (map.data != nullptr) {
    check_map(op, name, shape, map);
  }
}

inline void check_maps(std::string_view op,
                       const FourPartShape& shape,
                       const FourPartStepMaps& maps) {
  check_map(op, "y", shape, maps.y);
  check_map(op, "mean", shape, maps.mean);
  check_given(op, "before", shape, maps.before);
  check_map(op, "y_hat", shape, maps.y_hat);
  if (maps.in_place() && maps.before.row_stride != maps.y_hat.row_stride && maps.y_hat.rows > 1) {
    fail_argument(op, "before", "y_hat's rows, being its memory", maps.before.row_stride);
  }
}

inline void check_maps(std::string_view op,
                       const FourPartShape& shape,
                       const FourPartSpreadMaps& maps) {
  check_map(op, "x", shape, maps.x);
  check_given(op, "minus", shape, maps.minus);
  for (const FourPartTarget& target : maps.targets) {
    check_given(op, "targets", shape, target.map);
  }
}

inline void check_maps(std::string_view op,
                       const FourPartShape& shape,
                       const FourPartMergeMaps& maps) {
  check_map(op, "y", shape, maps.y);
  for (const auto& mean : maps.means) {
    check_map(op, "means", shape, mean);
  }
  for (const auto& scale : maps.scales) {
    check_map(op, "scales", shape, scale);
  }
  check_map(op, "y_q", shape, maps.y_q);
  check_map(op, "y_hat", shape, maps.y_hat);
  check_map(op, "mean", shape, maps.mean);
  check_map(op, "scale", shape, maps.scale);
}

}  // namespace glc::entropy

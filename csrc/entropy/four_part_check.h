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

inline void check_maps(std::string_view op, const FourPartShape& shape, const FourPartMaps& maps) {
  const auto check = [&](std::string_view name, const auto& map) {
    if (map.data != nullptr) {
      check_map(op, name, shape, map);
    }
  };
  check("y", maps.y);
  check("mean", maps.mean);
  check("scale", maps.scale);
  check("y_q", maps.y_q);
  check("y_hat", maps.y_hat);
  check("mean_out", maps.mean_out);
  check("scale_out", maps.scale_out);
  if (maps.scale_out.data != nullptr && maps.scale.data == nullptr) {
    fail_argument(op, "scale", "a map, for scale_out", "none");
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
  check_map(op, "mean", shape, maps.mean);
  check_map(op, "scale", shape, maps.scale);
}

}  // namespace glc::entropy

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace glc::networks {

inline constexpr std::int64_t kColours = 3;

/// Borrowed rows of RGB, a picture's or those of a box in it.
template <class Byte>
struct Pixels {
  Byte* data;
  std::int64_t height;
  std::int64_t width;
  std::int64_t row_bytes = kColours * width;

  [[nodiscard]] Pixels box(std::int64_t top,
                           std::int64_t left,
                           std::int64_t box_height,
                           std::int64_t box_width) const {
    return {data + top * row_bytes + kColours * left, box_height, box_width, row_bytes};
  }
};

}  // namespace glc::networks

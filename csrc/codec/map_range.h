// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "glc/exact.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/tensors.h"

namespace glc::codec {

/// Between which values maps lie on photographs, as the encoder asks; see
/// glc/portable/map_range.py.
class MapRange {
 public:
  /// Throws InvalidArgument when bounds are missing, or of other shapes than the layout says.
  MapRange(const networks::LightLayout& layout, networks::Reader& reader);

  /// Whether photographs gave all bounds, so that maps within them are known to be drawn.
  [[nodiscard]] bool fitted() const { return fitted_; }

  /// Whether y [N, h, w] of a quality lies within so many times its range.
  [[nodiscard]] bool holds_y(const networks::Map& y, double quality, double times = 1.0) const;
  /// Whether l_hat [l_channels, h, w] lies within so many times its range.
  [[nodiscard]] bool holds_l_hat(const networks::Map& l_hat, double times) const;

  /// y of a quality held within its bounds, and near where it left them within a share of them.
  [[nodiscard]] networks::Map limit_y(const networks::Map& y, double quality, double share) const;

 private:
  struct Bounds {
    std::vector<float> low;  // of each channel
    std::vector<float> high;
  };

  /// Between two learned levels the wider of theirs, so many times as wide.
  [[nodiscard]] Bounds of_y(double quality, double times) const;
  static Bounds wider(Bounds bounds, double times);
  static bool holds(const networks::Map& x, const Bounds& bounds);

  bool fitted_ = true;
  std::vector<Bounds> y_;  // of each level
  Bounds l_hat_;
};

}  // namespace glc::codec

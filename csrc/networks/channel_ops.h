// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "networks/layout.h"
#include "networks/map.h"
#include "networks/tensors.h"

namespace glc::networks {

/// Per-channel scales of g_a or g_s: one learned for each rate level, in between interpolated
/// (facts D7).
class RateScale {
 public:
  /// `transform` names it. Throws InvalidArgument when there are no such weights.
  RateScale(const Layout& layout, Reader& reader, const std::string& transform);

  /// x times the scales of a quality, 0 .. levels - 1. Throws InvalidArgument for another.
  void apply(double quality, Map& x) const;

 private:
  std::int64_t levels_;
  std::int64_t channels_;
  std::vector<float> scales_;  // [levels, channels]
};

/// Values between which a map's channels lie on photographs; see glc/models/latent_range.py.
class Limits {
 public:
  /// Of the map with so many channels. Throws InvalidArgument when there are no such weights.
  Limits(Reader& reader, const std::string& map, std::int64_t channels);

  /// Moves what is beyond to the bound; a NaN stays one.
  void apply(Map& x) const;

 private:
  std::vector<float> low_;
  std::vector<float> high_;
};

}  // namespace glc::networks

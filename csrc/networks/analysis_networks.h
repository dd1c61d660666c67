// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "glc/vq.h"
#include "networks/channel_ops.h"
#include "networks/layers.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/pixels.h"
#include "networks/share.h"
#include "networks/strips.h"
#include "networks/tensors.h"

namespace glc::networks {

/// From a picture to what is coded of it: the light encoder E, g_a, and h_a with its nearest code
/// (facts C1, C2; design 6).
class AnalysisNetworks {
 public:
  /// Copies the weights. Throws InvalidArgument when they are not those of the layout.
  AnalysisNetworks(const LightLayout& layout,
                   Reader& reader,
                   std::int64_t strip_pixels = kStripPixels);

  /// What a picture of at least one pixel gives before the rate level matters, [N, h, w], with its
  /// sides padded by repeated pixels.
  [[nodiscard]] Map features(const Pixels<const std::uint8_t>& pixels,
                             Scratch& scratch,
                             const Share& progress = {}) const;

  /// Second half of g_a: features -> y [N, h, w].
  [[nodiscard]] Map analysis(exact::MapView<const float> features,
                             double quality,
                             Scratch& scratch) const;

  /// Nearest hyper codes of h_a(y): [N, h, w] -> [h / 4, w / 4].
  [[nodiscard]] std::vector<std::int32_t> hyper_index(exact::MapView<const float> y,
                                                      Scratch& scratch) const;

 private:
  [[nodiscard]] Map unshuffled(const Pixels<const std::uint8_t>& pixels,
                               std::int64_t first,
                               std::int64_t last,
                               std::int64_t width) const;

  LightLayout layout_;
  Strips strips_;
  Layers encoder_;  // E, behind its space-to-depth stem
  Limits l_;
  Layers first_;  // g_a, before its rate scaling
  Limits features_;
  RateScale scale_;
  Layers second_;                // and behind
  Layers hyper_analysis_;        // h_a
  std::vector<float> codebook_;  // [k, hyper_channels]
  VqCodebook search_;
};

}  // namespace glc::networks

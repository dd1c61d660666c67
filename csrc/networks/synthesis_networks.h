// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "networks/channel_ops.h"
#include "networks/layers.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/pixels.h"
#include "networks/share.h"
#include "networks/strips.h"
#include "networks/tensors.h"

namespace glc::networks {

/// From symbols to a picture: g_s and the light decoder D (facts C1; design 6).
class SynthesisNetworks {
 public:
  /// Copies the weights. Throws InvalidArgument when they are not those of the layout.
  SynthesisNetworks(const LightLayout& layout,
                    Reader& reader,
                    std::int64_t strip_pixels = kStripPixels);

  /// y_hat, multiplied by the step, [N, h, w] -> l_hat [l_channels, h, w].
  [[nodiscard]] Map synthesis(exact::MapView<const float> y_hat,
                              double quality,
                              Scratch& scratch) const;

  /// Draws y_hat, multiplied by the step, [N, h, w], as much of it as the picture has.
  /// Throws BitstreamError when what is drawn is not finite, InvalidArgument when y_hat does not
  /// reach as far as the picture.
  void draw(exact::MapView<const float> y_hat,
            double quality,
            const Pixels<std::uint8_t>& pixels,
            Scratch& scratch,
            const Share& progress = {}) const;

 private:
  [[nodiscard]] Map synthesize(Map&& y_hat,
                               double quality,
                               Scratch& scratch,
                               ChainProgress* progress = nullptr) const;
  [[nodiscard]] std::int64_t synthesis_margin(std::int64_t of_output) const {
    return margin(first_, margin(second_, of_output));
  }

  std::int64_t stride_;
  Strips strips_;
  RateScale scale_;
  Limits l_hat_;
  Layers first_;    // g_s, before its rate scaling
  Layers second_;   // and behind
  Layers decoder_;  // D, but for its last pixel shuffle
};

}  // namespace glc::networks

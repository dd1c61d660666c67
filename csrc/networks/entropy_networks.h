// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "networks/layers.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/share.h"
#include "networks/strips.h"
#include "networks/tensors.h"

namespace glc::networks {

/// What lies between hyper indices and the parameters of symbols: h_s and the context model (facts
/// C2, C3). Encoder and decoder run it alike, on exact layers.
class EntropyNetworks {
 public:
  /// Copies the weights. Throws InvalidArgument when they are not those of the layout.
  EntropyNetworks(const Layout& layout, Reader& reader, std::int64_t strip_pixels = kStripPixels);

  /// Hyper indices, each below the codebook's size, [z_height, z_width] -> what is known of y
  /// before its symbols, [5 N, 4 z_height, 4 z_width]: step, scale and mean as the network gives
  /// them, the step raised to 0.5 at least, the context. Throws InvalidArgument for an index that
  /// is out of range.
  [[nodiscard]] Map params(std::span<const std::int32_t> z_index,
                           std::int64_t z_height,
                           std::int64_t z_width,
                           Scratch& scratch,
                           const Share& progress = {}) const;

  /// Scales, then means, of context part 1, 2 or 3 at its positions.
  ///   seen [2 N, h, w]: y_hat of the parts before it, then the context -> [2 N, h / 2, w / 2]
  [[nodiscard]] Map part_params(int part,
                                exact::MapView<const float> seen,
                                Scratch& scratch,
                                const Share& progress = {}) const;

 private:
  struct Part {
    Layers adaptor;
    const Heads* heads;
  };

  [[nodiscard]] Map look_up(std::span<const std::int32_t> z_index,
                            std::int64_t z_height,
                            std::int64_t z_width) const;
  [[nodiscard]] Map run_params(const Map& z_hat, Scratch& scratch) const;

  std::int64_t n_;
  std::int64_t hyper_channels_;
  Strips strips_;
  std::vector<float> codebook_;  // [k, hyper_channels]
  Layers synthesis_;             // h_s, then the fusion of the prior
  std::unique_ptr<Conv> reduction_;
  Layers shared_;  // of the parts, behind their adaptors
  std::vector<std::unique_ptr<const Heads>> heads_;
  std::vector<Part> parts_;
};

}  // namespace glc::networks

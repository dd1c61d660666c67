// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace glc::networks {

/// Numbers by name, as a model's configuration gives them: one, or several of a kind.
using Fields = std::map<std::string, std::vector<std::int64_t>, std::less<>>;

/// What fixes the entropy path's layers; `GLCConfig` of glc/models/config.py says what each number
/// is.
struct Layout {
  std::int64_t latent_channels = 0;
  std::int64_t hyper_codebook_size = 0;
  std::int64_t hyper_channels = 0;
  std::vector<std::int64_t> fusion_widths;
  std::int64_t prior_channels = 0;
  std::int64_t prior_depth = 0;
  bool adaptor_blocks = false;
  std::int64_t levels = 0;
  std::int64_t pad_multiple = 0;  // pixels per hyper index, per side

  /// Throws InvalidArgument when a number is missing, or none that a model can have.
  static Layout from(const Fields& fields);

  /// Hyper indices along a side of so many pixels.
  [[nodiscard]] std::int64_t z_side(std::int64_t pixels) const {
    return (pixels + pad_multiple - 1) / pad_multiple;
  }
};

/// What fixes the other layers of a model that draws by exact layers: its autoencoder is a
/// `LightConfig`, its transforms are plain.
struct LightLayout : Layout {
  std::int64_t stem = 0;
  std::array<std::int64_t, 2> encoder_widths{};
  std::array<std::int64_t, 2> encoder_depths{};
  std::array<std::int64_t, 3> decoder_widths{};
  std::array<std::int64_t, 3> decoder_depths{};
  std::int64_t l_channels = 0;
  std::int64_t transform_blocks = 0;
  bool normalize_z = false;

  /// As Layout's.
  static LightLayout from(const Fields& fields);

  /// Pixels per latent position, per side.
  [[nodiscard]] std::int64_t stride() const { return 2 * stem; }
};

}  // namespace glc::networks

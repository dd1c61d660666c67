// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/model_file.h"
#include "codec/payload.h"
#include "glc/bitstream.h"
#include "glc/rans.h"
#include "networks/entropy_networks.h"
#include "networks/layout.h"
#include "networks/synthesis_networks.h"
#include "networks/tensors.h"

namespace glc::codec {

inline constexpr int kLevelsPerQuality = 21;

/// What encoder and decoder hold of a model alike. Never changes.
struct Model {
  /// Throws InvalidArgument when weights or tables are not what the layout says.
  Model(const ModelFile& file, networks::Reader& reader);

  /// Highest level that a file can name, of those the model has learned.
  [[nodiscard]] std::int64_t top_level() const;
  /// How the hyper indices of a level, 0 .. top_level(), are coded.
  [[nodiscard]] const IndexTables& index_of(int level) const;

  networks::LightLayout layout;
  std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint;
  rans::TableSet gaussian;
  std::vector<float> bounds;  // between the scales of its rows
  networks::EntropyNetworks entropy;
  networks::SynthesisNetworks synthesis;
  std::vector<IndexTables> index;  // of each learned level
};

/// Quality of a level, 0 .. 63.
[[nodiscard]] inline double quality_of(int level) {
  return static_cast<double>(level) / kLevelsPerQuality;
}

/// Whether no value is infinite or none.
[[nodiscard]] bool all_finite(std::span<const float> values);

/// Whether a model has to pad a picture to many times `max_pixels`, as one that is a pixel high.
[[nodiscard]] bool is_padded_too_far(const networks::Layout& layout,
                                     const bitstream::Header& header,
                                     std::uint64_t max_pixels);

}  // namespace glc::codec

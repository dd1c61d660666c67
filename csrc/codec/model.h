// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "codec/model_file.h"
#include "codec/payload.h"
#include "core/float_mode.h"
#include "glc/bitstream.h"
#include "glc/error.h"
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
  [[nodiscard]] const IndexTables& index_of(std::int64_t level) const {
    return index[nearest_level(level)];
  }
  /// Which learned level's prior of hyper indices a level uses.
  [[nodiscard]] std::size_t nearest_level(std::int64_t level) const;

  networks::LightLayout layout;
  std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint;
  rans::TableSet gaussian;
  std::vector<float> bounds;  // between the scales of its rows
  networks::EntropyNetworks entropy;
  networks::SynthesisNetworks synthesis;
  std::vector<IndexTables> index;  // of each learned level that a file can name
};

/// Quality of a level, 0 .. 63.
[[nodiscard]] inline double quality_of(int level) {
  return static_cast<double>(level) / kLevelsPerQuality;
}

/// Makes what a codec holds of a model, Held(file, reader), from an exported model. Tensors whose
/// names begin with one of `unused` may lie in it too. Throws BitstreamError, Unsupported.
template <class Held>
std::unique_ptr<const Held> held(std::span<const std::uint8_t> model,
                                 std::initializer_list<std::string_view> unused = {}) {
  const IeeeFloats mode;
  const ModelFile file = ModelFile::read(model);
  try {
    networks::Reader reader(file.tensors);
    auto made = std::make_unique<const Held>(file, reader);
    reader.require_all_read(unused);
    return made;
  } catch (const InvalidArgument& error) {  // the file's mistake, not the caller's
    throw BitstreamError(error.what());
  }
}

/// Whether a model has to pad a picture to many times `max_pixels`, as one that is a pixel high.
[[nodiscard]] bool is_padded_too_far(const networks::Layout& layout,
                                     const bitstream::Header& header,
                                     std::uint64_t max_pixels);

}  // namespace glc::codec

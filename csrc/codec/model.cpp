// SPDX-License-Identifier: Apache-2.0
#include "codec/model.h"

#include <algorithm>
#include <cstddef>

#include "glc/entropy.h"

namespace glc::codec {

Model::Model(const ModelFile& file, networks::Reader& reader)
    : layout(file.layout),
      fingerprint(file.fingerprint),
      gaussian(file.gaussian),
      bounds(file.bounds),
      entropy(layout, reader),
      synthesis(layout, reader) {
  const auto k = static_cast<std::size_t>(layout.hyper_codebook_size);
  const auto logits = reader.tensor("z_prior.logits", {layout.levels, layout.hyper_codebook_size});
  const std::size_t last = nearest_level(top_level());
  for (std::size_t level = 0; level <= last; ++level) {
    index.push_back(IndexTables::from(logits.subspan(level * k, k)));
  }
  entropy::gaussian_rows({}, bounds, {});  // checks the bounds
}

std::int64_t Model::top_level() const {
  return std::min<std::int64_t>(bitstream::kMaxLevel, kLevelsPerQuality * (layout.levels - 1));
}

std::size_t Model::nearest_level(std::int64_t level) const {
  const std::int64_t nearest = (2 * level + kLevelsPerQuality) / (2 * kLevelsPerQuality);
  return static_cast<std::size_t>(std::min(nearest, layout.levels - 1));
}

bool is_padded_too_far(const networks::Layout& layout,
                       const bitstream::Header& header,
                       std::uint64_t max_pixels) {
  const auto padded = [&](std::int64_t side) {
    return static_cast<double>(layout.z_side(side) * layout.pad_multiple);
  };
  const auto multiple = static_cast<double>(layout.pad_multiple);
  // far more than any picture but a thin one needs
  const double most = 2 * static_cast<double>(max_pixels) + multiple * multiple;
  return padded(header.height) * padded(header.width) > most;
}

}  // namespace glc::codec

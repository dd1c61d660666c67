// SPDX-License-Identifier: Apache-2.0
#include "networks/analysis_networks.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "core/thread_pool.h"

namespace glc::networks {
namespace {

constexpr float kZNormEps = 1e-6F;  // keeps an all-zero z finite

/// 0 .. 255 to [-1, 1].
float unit_of(std::uint8_t byte) { return (static_cast<float>(byte) / 255.0F - 0.5F) * 2.0F; }

MatrixView<const float> matrix(const std::vector<float>& values, std::int64_t columns) {
  return {values.data(), static_cast<std::int64_t>(values.size()) / columns, columns};
}

std::vector<float> codebook_of(const LightLayout& layout, Reader& reader) {
  const auto codes =
      reader.tensor("hyper_vq.codebook", {layout.hyper_codebook_size, layout.hyper_channels});
  return {codes.begin(), codes.end()};
}

/// z [d, h, w] as vectors [h w, d].
std::vector<float> vectors_of(const Map& z) {
  std::vector<float> out(static_cast<std::size_t>(z.size()));
  for (std::int64_t c = 0; c < z.c(); ++c) {
    for (std::int64_t i = 0; i < z.plane(); ++i) {
      out[static_cast<std::size_t>(i * z.c() + c)] = z.channel(c)[i];
    }
  }
  return out;
}

/// Divides a vector by its root mean square; squares are added in the order of the channels.
void normalize(std::span<float> vector) {
  float total = 0.0F;
  for (const float value : vector) total += value * value;
  const float scale = 1.0F / std::sqrt(total / static_cast<float>(vector.size()) + kZNormEps);
  for (float& value : vector) value *= scale;
}

}  // namespace

AnalysisNetworks::AnalysisNetworks(const LightLayout& layout,
                                   Reader& reader,
                                   std::int64_t strip_pixels)
    : layout_(layout),
      strips_{.pad_multiple = layout.pad_multiple, .pixels = strip_pixels},
      l_(reader, "l", layout.l_channels),
      features_(reader, "features", layout.latent_channels),
      scale_(layout, reader, "g_a"),
      codebook_(codebook_of(layout, reader)),
      search_(matrix(codebook_, layout.hyper_channels)) {
  const std::int64_t n = layout.latent_channels;
  const std::int64_t l = layout.l_channels;
  const auto [fine, coarse] = layout.encoder_widths;
  const auto [n_fine, n_coarse] = layout.encoder_depths;
  const std::string name = "latent_encoder.blocks";
  const auto at = [&](std::int64_t i) { return name + "." + std::to_string(i); };
  encoder_.push_back(
      std::make_unique<Conv>(reader, at(1), kColours * layout.stem * layout.stem, fine));
  add_blocks(encoder_, reader, name, 2, n_fine, fine);
  encoder_.push_back(std::make_unique<Conv>(
      reader, at(2 + n_fine), fine, coarse, Conv::Options{.kernel = 3, .stride = 2}));
  add_blocks(encoder_, reader, name, 3 + n_fine, n_coarse, coarse);
  encoder_.push_back(std::make_unique<Conv>(reader, at(3 + n_fine + n_coarse), coarse, l));

  if (l != n) first_.push_back(std::make_unique<Conv>(reader, "g_a.entry", l, n));
  add_blocks(first_, reader, "g_a.first", 0, layout.transform_blocks, n);
  add_blocks(second_, reader, "g_a.second", 0, layout.transform_blocks, n);

  hyper_analysis_.push_back(std::make_unique<DepthConvBlock>(reader, "h_a.layers.0", n, n));
  hyper_analysis_.push_back(std::make_unique<Conv>(
      reader, "h_a.layers.1", n, n, Conv::Options{.kernel = 3, .stride = 2, .slope = kDepthSlope}));
  hyper_analysis_.push_back(std::make_unique<Conv>(
      reader, "h_a.layers.3", n, layout.hyper_channels, Conv::Options{.kernel = 3, .stride = 2}));
}

Map AnalysisNetworks::features(const Pixels<const std::uint8_t>& pixels,
                               Scratch& scratch,
                               const Share& progress) const {
  const std::int64_t z_width = layout_.z_side(pixels.width);
  const std::int64_t n_cells = 4 * layout_.z_side(pixels.height);
  // in rows of the stem, of which a cell has stride / stem
  const std::int64_t per_cell = layout_.stride() / layout_.stem;
  const std::int64_t sees = (margin(encoder_, margin(first_, 0)) + per_cell - 1) / per_cell;
  Map out;
  const std::int64_t per_strip = 4 * strips_.z_rows(z_width);
  for_strips(n_cells, per_strip, sees, progress, [&](const Strip& strip, const Share& share) {
    ChainProgress told(share, {&encoder_, &first_});
    Map l = run(encoder_, unshuffled(pixels, strip.first, strip.last, 4 * z_width), scratch, &told);
    l_.apply(l);
    Map drawn = run(first_, std::move(l), scratch, &told);
    features_.apply(drawn);
    keep(strip, n_cells, std::move(drawn), out);
  });
  return out;
}

Map AnalysisNetworks::analysis(exact::MapView<const float> features,
                               double quality,
                               Scratch& scratch) const {
  const Cells cells = {.rows = 1, .per_z = 4, .margin = margin(second_, 0)};
  return over_rows(strips_, cells, features, {}, [&](Map&& rows) {
    scale_.apply(quality, rows);
    return run(second_, std::move(rows), scratch);
  });
}

std::vector<std::int32_t> AnalysisNetworks::hyper_index(exact::MapView<const float> y,
                                                        Scratch& scratch) const {
  const Cells cells = {.rows = 4, .per_z = 1, .margin = margin(hyper_analysis_, 0)};
  const Map z = over_rows(strips_, cells, y, {}, [&](Map&& rows) {
    return run(hyper_analysis_, std::move(rows), scratch);
  });
  std::vector<float> vectors = vectors_of(z);
  const std::int64_t channels = layout_.hyper_channels;
  const auto d = static_cast<std::size_t>(channels);
  for (std::size_t at = 0; layout_.normalize_z && at < vectors.size(); at += d) {
    normalize(std::span(vectors).subspan(at, d));
  }
  std::vector<std::int32_t> index(static_cast<std::size_t>(z.plane()));
  search_.nearest(matrix(vectors, channels), matrix(codebook_, channels), index);
  return index;
}

/// Pixels of the latent rows [first, last) in [-1, 1], space to depth by the stem, with what lies
/// beyond the picture repeated from its edges: [3 stem^2, rows, columns].
Map AnalysisNetworks::unshuffled(const Pixels<const std::uint8_t>& pixels,
                                 std::int64_t first,
                                 std::int64_t last,
                                 std::int64_t width) const {
  const std::int64_t stem = layout_.stem;
  const std::int64_t stride = layout_.stride();
  const std::int64_t per_cell = stride / stem;
  Map out(kColours * stem * stem, (last - first) * per_cell, width * per_cell);
  for_channels(out, [&](std::int64_t c, std::span<float> plane) {
    const std::int64_t colour = c / (stem * stem);
    const std::int64_t dy = c / stem % stem;
    const std::int64_t dx = c % stem;
    float* to = plane.data();
    for (std::int64_t i = 0; i < out.h(); ++i) {
      const std::int64_t row = std::min(first * stride + i * stem + dy, pixels.height - 1);
      const std::uint8_t* const from = pixels.data + row * pixels.row_bytes + colour;
      for (std::int64_t j = 0; j < out.w(); ++j) {
        *to++ = unit_of(from[kColours * std::min(j * stem + dx, pixels.width - 1)]);
      }
    }
  });
  return out;
}

}  // namespace glc::networks

// SPDX-License-Identifier: Apache-2.0
#include "networks/synthesis_networks.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/thread_pool.h"
#include "glc/error.h"

namespace glc::networks {
namespace {

constexpr std::int64_t kLastShuffle = 4;

/// x_hat in [-1, 1] to 0 .. 255, rounded half to even.
std::uint8_t byte_of(float x) {
  constexpr float kWhole = 12582912.0F;  // 1.5 * 2^23, whose neighbours are whole numbers
  const float value = (held_within(x, -1.0F, 1.0F) * 0.5F + 0.5F) * 255.0F;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>((value + kWhole) - kWhole));
}

/// One row of D's output, before its last pixel shuffle, as `kLastShuffle` rows of pixels.
/// Returns whether all of it is finite.
bool store_row(const Map& drawn, std::int64_t row, const Pixels<std::uint8_t>& to) {
  for (std::int64_t c = 0; c < drawn.c(); ++c) {
    const std::int64_t colour = c / (kLastShuffle * kLastShuffle);
    const std::int64_t dy = c / kLastShuffle % kLastShuffle;
    const std::int64_t dx = c % kLastShuffle;
    const float* const from = drawn.channel(c) + row * drawn.w();
    if (!all_finite({from, static_cast<std::size_t>(drawn.w())})) return false;
    if (dy >= to.height) continue;
    std::uint8_t* out = to.data + dy * to.row_bytes + kColours * dx + colour;
    const std::int64_t n =
        std::max<std::int64_t>(0, (to.width - dx + kLastShuffle - 1) / kLastShuffle);
    for (std::int64_t j = 0; j < n; ++j) out[kColours * kLastShuffle * j] = byte_of(from[j]);
  }
  return true;
}

}  // namespace

SynthesisNetworks::SynthesisNetworks(const LightLayout& layout,
                                     Reader& reader,
                                     std::int64_t strip_pixels)
    : stride_(layout.stride()),
      strips_{.pad_multiple = layout.pad_multiple, .pixels = strip_pixels},
      scale_(layout, reader, "g_s"),
      l_hat_(reader, "l_hat", layout.l_channels) {
  const std::int64_t n = layout.latent_channels;
  const std::int64_t l = layout.l_channels;
  add_blocks(first_, reader, "g_s.first", 0, layout.transform_blocks, n);
  add_blocks(second_, reader, "g_s.second", 0, layout.transform_blocks, n);
  if (l != n) second_.push_back(std::make_unique<Conv>(reader, "g_s.exit", n, l));

  const auto [coarse, middle, fine] = layout.decoder_widths;
  const auto [n_coarse, n_middle, n_fine] = layout.decoder_depths;
  const std::int64_t up = layout.stem / kLastShuffle;
  const std::string name = "latent_decoder.blocks";
  std::int64_t at = 0;
  const auto next = [&](const char* inside = "") {
    return name + "." + std::to_string(at++) + inside;
  };
  decoder_.push_back(std::make_unique<Conv>(reader, next(), l, coarse));
  add_blocks(decoder_, reader, name, at, n_coarse, coarse);
  at += n_coarse;
  decoder_.push_back(
      std::make_unique<Conv>(reader, next(".0"), coarse, 4 * middle, Conv::Options{.shuffle = 2}));
  add_blocks(decoder_, reader, name, at, n_middle, middle);
  at += n_middle;
  decoder_.push_back(std::make_unique<Conv>(
      reader, next(".0"), middle, up * up * fine, Conv::Options{.shuffle = up}));
  for (std::int64_t i = 0; i < n_fine; ++i) {
    decoder_.push_back(std::make_unique<Bottleneck>(reader, next(), fine));
  }
  decoder_.push_back(std::make_unique<Conv>(
      reader, next(), fine, kColours * kLastShuffle * kLastShuffle, Conv::Options{.kernel = 3}));
}

Map SynthesisNetworks::synthesis(exact::MapView<const float> y_hat,
                                 double quality,
                                 Scratch& scratch) const {
  const Cells cells = {.rows = 1, .per_z = 4, .margin = synthesis_margin(0)};
  return over_rows(strips_, cells, y_hat, {}, [&](Map&& rows) {
    return synthesize(std::move(rows), quality, scratch);
  });
}

void SynthesisNetworks::draw(exact::MapView<const float> y_hat,
                             double quality,
                             const Pixels<std::uint8_t>& pixels,
                             Scratch& scratch,
                             const Share& progress) const {
  require_one(y_hat);
  if (pixels.height > y_hat.h * stride_ || pixels.width > y_hat.w * stride_) {
    fail_argument("networks",
                  "pixels",
                  "at most " + std::to_string(stride_) + " a position of y_hat per side",
                  std::to_string(pixels.width) + "x" + std::to_string(pixels.height));
  }
  const std::int64_t per_strip = 4 * strips_.z_rows(y_hat.w / 4);
  const std::int64_t sees = synthesis_margin(margin(decoder_, 0));
  for_strips(y_hat.h, per_strip, sees, progress, [&](const Strip& strip, const Share& share) {
    ChainProgress told(share, {&first_, &second_, &decoder_});
    Map l_hat = synthesize(rows_of(y_hat, strip.first, strip.last), quality, scratch, &told);
    l_hat_.apply(l_hat);
    const Map drawn = run(decoder_, std::move(l_hat), scratch, &told);
    const std::int64_t per_cell = stride_ / kLastShuffle;  // rows of `drawn`
    const std::int64_t skipped = (strip.begin - strip.first) * per_cell;
    const std::int64_t top = strip.begin * stride_;
    const std::int64_t bottom = std::min(pixels.height, strip.end * stride_);
    const std::int64_t n = (bottom - top + kLastShuffle - 1) / kLastShuffle;
    std::atomic<bool> finite = true;
    parallel_for(static_cast<std::size_t>(std::max<std::int64_t>(0, n)), [&](std::size_t i) {
      const std::int64_t row = top + kLastShuffle * static_cast<std::int64_t>(i);
      const auto to = pixels.box(row, 0, bottom - row, pixels.width);
      if (!store_row(drawn, skipped + static_cast<std::int64_t>(i), to)) finite = false;
    });
    if (!finite) {
      throw BitstreamError(
          "decode: picture: expected finite values, got others; the file is damaged, or of a "
          "picture unlike all that its model was trained on (glc fit-prior helps that)");
    }
  });
}

Map SynthesisNetworks::synthesize(Map&& y_hat,
                                  double quality,
                                  Scratch& scratch,
                                  ChainProgress* progress) const {
  Map inner = run(first_, std::move(y_hat), scratch, progress);
  scale_.apply(quality, inner);
  return run(second_, std::move(inner), scratch, progress);
}

}  // namespace glc::networks

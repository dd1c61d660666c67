// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codec/model_file.h"
#include "codec/payload.h"
#include "core/check.h"
#include "core/float_mode.h"
#include "core/thread_pool.h"
#include "glc/bitstream.h"
#include "glc/codec.h"
#include "glc/entropy.h"
#include "glc/error.h"
#include "glc/four_part.h"
#include "networks/entropy_networks.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/synthesis_networks.h"

namespace glc::codec {
namespace {

constexpr std::uint8_t kProfile = 1;  // exact layers: the same symbols on every machine
constexpr int kLevelsPerQuality = 21;
constexpr std::uint64_t kAnySize = std::numeric_limits<std::uint64_t>::max();

/// Highest level that a file of a model can name, of those it has learned.
std::int64_t top_level(const networks::Layout& layout) {
  return std::min<std::int64_t>(bitstream::kMaxLevel, kLevelsPerQuality * (layout.levels - 1));
}

double quality_of(const bitstream::Header& header) {
  return static_cast<double>(header.level) / kLevelsPerQuality;
}

/// Which of the learned levels' priors of hyper indices a quality uses: the nearest one's.
std::size_t prior_row(double quality, std::int64_t levels) {
  return static_cast<std::size_t>(std::min(static_cast<std::int64_t>(quality + 0.5), levels - 1));
}

/// Throws BitstreamError unless all values are finite.
void require_finite(std::string_view name, std::span<const float> values) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  bool finite = true;
  for (const float value : values) finite &= std::abs(value) <= kLargest;
  if (!finite) {
    throw BitstreamError("decode: " + std::string(name) +
                         ": expected finite values, the file is damaged");
  }
}

/// `Parsed` of a file that can be drawn. Throws BitstreamError, Unsupported.
bitstream::Parsed parsed(std::span<const std::uint8_t> data, const Options& options) {
  return bitstream::parse(data, options.max_pixels, options.partial);
}

}  // namespace

std::size_t Size::bytes() const {
  constexpr std::size_t kColours = 3;
  std::size_t n = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(width), height, &n) ||
      __builtin_mul_overflow(n, kColours, &n)) {
    throw std::bad_alloc();
  }
  return n;
}

struct Decoder::Impl {
  explicit Impl(const ModelFile& model) : Impl(model, networks::Reader(model.tensors)) {}

  Impl(const ModelFile& model, networks::Reader reader)
      : layout(model.layout),
        fingerprint(model.fingerprint),
        gaussian(model.gaussian),
        bounds(model.bounds),
        entropy(layout, reader),
        synthesis(layout, reader) {
    const std::int64_t k = layout.hyper_codebook_size;
    const auto logits = reader.tensor("z_prior.logits", {layout.levels, k});
    for (std::int64_t level = 0; level < layout.levels; ++level) {
      index.push_back(IndexTables::from(
          logits.subspan(static_cast<std::size_t>(level * k), static_cast<std::size_t>(k))));
    }
    reader.require_all_read();
    entropy::gaussian_rows({}, bounds, {});  // checks the bounds
  }

  [[nodiscard]] bool check(std::span<const std::uint8_t> data, bool partial) const;
  void check_size(const bitstream::Header& header, std::uint64_t max_pixels) const;
  [[nodiscard]] networks::Map latent(PayloadReader& reader,
                                     std::int64_t z_height,
                                     std::int64_t z_width,
                                     networks::Scratch& scratch) const;

  networks::LightLayout layout;
  std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint;
  rans::TableSet gaussian;
  std::vector<float> bounds;
  networks::EntropyNetworks entropy;
  networks::SynthesisNetworks synthesis;
  std::vector<IndexTables> index;  // of each learned level
};

/// Whether the checksum is right; another model, or a wrong one unasked for, throws.
bool Decoder::Impl::check(std::span<const std::uint8_t> data, bool partial) const {
  const bitstream::Header header = bitstream::parse(data, kAnySize, true).header;
  if (header.profile != kProfile) {
    throw Unsupported("decode: profile: expected 1, got " + std::to_string(header.profile) +
                      ": such a file needs the arithmetic of the machine and release that wrote "
                      "it");
  }
  bool verified = true;
  try {
    bitstream::check(data, fingerprint);
  } catch (const BitstreamError&) {
    if (!partial || !std::ranges::equal(header.model_id,
                                        std::span(fingerprint).first<bitstream::kModelIdBytes>())) {
      throw;
    }
    verified = false;
  }
  if (header.level > top_level(layout)) {
    throw BitstreamError("decode: level: expected at most " + std::to_string(top_level(layout)) +
                         " with this model, got " + std::to_string(header.level) + " (at byte 6)");
  }
  return verified;
}

/// Throws BitstreamError for a picture that the model has to pad to many times its size, or tiles
/// that it cannot.
void Decoder::Impl::check_size(const bitstream::Header& header, std::uint64_t max_pixels) const {
  const std::int64_t multiple = layout.pad_multiple;
  const std::int64_t tile = std::int64_t{header.tile} * bitstream::kTileUnit;
  if (tile % multiple != 0) {
    throw BitstreamError("decode: tile: expected a multiple of " + std::to_string(multiple) +
                         " pixels, got " + std::to_string(tile));
  }
  const auto padded = static_cast<double>(layout.z_side(header.height) * multiple) *
                      static_cast<double>(layout.z_side(header.width) * multiple);
  // far more than any picture but a thin one needs
  const double most =
      2 * static_cast<double>(max_pixels) + static_cast<double>(multiple * multiple);
  if (padded > most) {
    throw BitstreamError("decode: size: expected at most " + std::to_string(max_pixels) +
                         " pixels, got " + std::to_string(header.width) + "x" +
                         std::to_string(header.height) +
                         ", which are many times as many with "
                         "sides of " +
                         std::to_string(multiple));
  }
}

/// From a payload to y_hat times the step, part by part; as `walk_parts` of glc/entropy_path.py.
networks::Map Decoder::Impl::latent(PayloadReader& reader,
                                    std::int64_t z_height,
                                    std::int64_t z_width,
                                    networks::Scratch& scratch) const {
  const std::int64_t n = layout.latent_channels;
  const auto z_index = reader.z_index(static_cast<std::size_t>(z_height * z_width));
  const networks::Map params = entropy.params(z_index, z_height, z_width, scratch);
  networks::Map seen(2 * n, params.h(), params.w());  // y_hat so far, then the context
  const std::int64_t n_map = n * params.plane();
  std::fill_n(seen.channel(0), n_map, 0.0F);
  std::copy_n(params.channel(4 * n), n_map, seen.channel(n));
  const MatrixView<float> y_hat(seen.channel(0), 1, n_map);

  const entropy::FourPartShape shape = {
      .batch = 1, .channels = n, .height = params.h(), .width = params.w(), .channels_last = false};
  const auto size = static_cast<std::size_t>(entropy::four_part_size(shape, 0));
  std::vector<std::uint8_t> rows(size);
  std::vector<std::int32_t> symbols(size);
  for (int part = 0; part < entropy::kParts; ++part) {
    networks::Map both = part == 0 ? networks::Map(2 * n, params.h() / 2, params.w() / 2)
                                   : entropy.part_params(part, seen.view(), scratch);
    const std::span<float> scale(both.channel(0), size);
    const std::span<float> mean(both.channel(n), size);
    if (part == 0) {
      entropy::four_part_pick(shape, part, {params.channel(n), 1, n_map}, scale);
      entropy::four_part_pick(shape, part, {params.channel(2 * n), 1, n_map}, mean);
    }
    const auto count = static_cast<std::int64_t>(size);
    entropy::gaussian_rows({scale.data(), 1, count}, bounds, {rows.data(), 1, count});
    require_finite("scale", scale);
    reader.symbols(part, rows, symbols);
    entropy::four_part_put(shape, part, symbols, mean, y_hat);
  }
  const float* const step = params.channel(3 * n);
  require_finite("step", {step, static_cast<std::size_t>(n_map)});
  require_finite("mean", y_hat.row_span(0));  // each at its position
  networks::Map out(n, params.h(), params.w());
  for_channels(out, [&](std::int64_t c, std::span<float> plane) {
    const float* const y = seen.channel(c);
    const float* const by = step + c * params.plane();
    for (std::size_t i = 0; i < plane.size(); ++i) plane[i] = y[i] * by[i];
  });
  return out;
}

Decoder::Decoder(std::span<const std::uint8_t> model) {
  const IeeeFloats mode;
  const ModelFile file = ModelFile::read(model);
  try {
    impl_ = std::make_unique<const Impl>(file);
  } catch (const InvalidArgument& error) {  // the file's mistake, not the caller's
    throw BitstreamError(error.what());
  }
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

std::span<const std::uint8_t, 32> Decoder::fingerprint() const { return impl_->fingerprint; }

Size Decoder::size(std::span<const std::uint8_t> data, const Options& options) {
  const bitstream::Header header = parsed(data, options).header;
  return {.width = header.width, .height = header.height};
}

Restored Decoder::decode(std::span<const std::uint8_t> data,
                         std::span<std::uint8_t> pixels,
                         const Options& options) const {
  if (options.until < 0 || options.until > entropy::kParts) {
    fail_argument("decode", "until", "0..4", options.until);
  }
  const IeeeFloats mode;
  const bool verified = impl_->check(data, options.partial);
  const bitstream::Parsed file = bitstream::parse(data, options.max_pixels, !verified);
  const bitstream::Header& header = file.header;
  impl_->check_size(header, options.max_pixels);
  const Size size = {.width = header.width, .height = header.height};
  if (pixels.size() != size.bytes()) {
    fail_argument("decode", "pixels", std::to_string(size.bytes()) + " bytes", pixels.size());
  }
  const double quality = quality_of(header);
  const IndexTables& index = impl_->index[prior_row(quality, impl_->layout.levels)];
  const Wanted wanted = {.until = options.until, .cut = !verified};
  networks::Scratch scratch;
  Restored out = {.n_parts = entropy::kParts, .verified = verified};
  constexpr std::int64_t kColours = 3;
  const std::int64_t row_bytes = kColours * header.width;
  for (const Piece& piece : pieces(data, file)) {
    PayloadReader reader(impl_->gaussian, index, piece.descriptor, piece.payload, wanted);
    const networks::LightLayout& layout = impl_->layout;
    const networks::Map latent =
        impl_->latent(reader, layout.z_side(piece.height), layout.z_side(piece.width), scratch);
    reader.finish();
    out.n_parts = std::min(out.n_parts, reader.n_parts());
    impl_->synthesis.draw(latent.view(),
                          quality,
                          {.data = pixels.data() + piece.top * row_bytes + kColours * piece.left,
                           .height = piece.height,
                           .width = piece.width,
                           .row_bytes = row_bytes},
                          scratch);
  }
  return out;
}

}  // namespace glc::codec

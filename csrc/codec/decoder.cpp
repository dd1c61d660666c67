// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "codec/model.h"
#include "codec/payload.h"
#include "codec/walk.h"
#include "core/check.h"
#include "core/float_mode.h"
#include "glc/bitstream.h"
#include "glc/codec.h"
#include "glc/error.h"
#include "glc/four_part.h"
#include "networks/layers.h"
#include "networks/map.h"
#include "networks/pixels.h"
#include "networks/share.h"

namespace glc::codec {
namespace {

constexpr std::uint8_t kProfile = 1;   // exact layers: the same symbols on every machine
constexpr double kSymbolsShare = 0.2;  // of a piece's work, as in glc/codec.py; then it is drawn
constexpr std::uint64_t kAnySize = std::numeric_limits<std::uint64_t>::max();

/// The decoder's source of symbols: a file.
class FileSymbols final : public SymbolSource {
 public:
  explicit FileSymbols(PayloadReader& reader) : reader_(reader) {}

  void symbols(int part,
               std::span<const std::uint8_t> rows,
               std::span<const float> /*mean*/,
               std::span<const float> /*step*/,
               std::span<std::int32_t> out) override {
    reader_.symbols(part, rows, out);
  }

  [[noreturn]] void not_finite(std::string_view name) const override {
    throw BitstreamError("decode: " + std::string(name) +
                         ": expected finite values, the file is damaged");
  }

 private:
  PayloadReader& reader_;
};

}  // namespace

std::size_t Size::bytes() const {
  std::size_t n = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(width), height, &n) ||
      __builtin_mul_overflow(n, networks::kColours, &n)) {
    throw std::bad_alloc();
  }
  return n;
}

struct Decoder::Impl : Model {
  using Model::Model;

  [[nodiscard]] bool check(std::span<const std::uint8_t> data, bool partial) const;
  void check_size(const bitstream::Header& header, std::uint64_t max_pixels) const;
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
  if (header.level > top_level()) {
    throw BitstreamError("decode: level: expected at most " + std::to_string(top_level()) +
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
  if (is_padded_too_far(layout, header, max_pixels)) {
    throw BitstreamError("decode: size: expected at most " + std::to_string(max_pixels) +
                         " pixels, got " + std::to_string(header.width) + "x" +
                         std::to_string(header.height) +
                         ", which are many times as many with "
                         "sides of " +
                         std::to_string(multiple));
  }
}

Decoder::Decoder(std::span<const std::uint8_t> model)
    : impl_(held<Impl>(model, {"latent_encoder.", "g_a.", "h_a.", "latent_range."})) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

std::span<const std::uint8_t, 32> Decoder::fingerprint() const { return impl_->fingerprint; }

Size Decoder::size(std::span<const std::uint8_t> data, const DecodeOptions& options) {
  const bitstream::Header header =
      bitstream::parse(data, options.max_pixels, options.partial).header;
  return {.width = header.width, .height = header.height};
}

Restored Decoder::decode(std::span<const std::uint8_t> data,
                         std::span<std::uint8_t> pixels,
                         const DecodeOptions& options) const {
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
  const double quality = quality_of(header.level);
  const IndexTables& index = impl_->index_of(header.level);
  const Wanted wanted = {.until = options.until, .cut = !verified};
  networks::Scratch scratch;
  Restored out = {.n_parts = entropy::kParts, .verified = verified};
  const networks::Pixels<std::uint8_t> picture = {
      .data = pixels.data(), .height = header.height, .width = header.width};
  const networks::Share progress(options.progress);
  progress.tell(0.0);
  const std::vector<Piece> all = pieces(data, file);
  std::int64_t n = 0;
  for (const Piece& piece : all) {
    const Box& box = piece.box;
    const networks::Share share = progress.one_of(n++, std::ssize(all));
    PayloadReader reader(impl_->gaussian, index, piece.descriptor, piece.payload, wanted);
    const std::int64_t z_height = impl_->layout.z_side(box.height);
    const std::int64_t z_width = impl_->layout.z_side(box.width);
    const auto z_index = reader.z_index(static_cast<std::size_t>(z_height * z_width));
    FileSymbols source(reader);
    const networks::Map latent =
        walk(*impl_, z_index, z_height, z_width, source, scratch, share.part(0.0, kSymbolsShare));
    reader.finish();
    out.n_parts = std::min(out.n_parts, reader.n_parts());
    impl_->synthesis.draw(latent.view(),
                          quality,
                          picture.box(box.top, box.left, box.height, box.width),
                          scratch,
                          share.part(kSymbolsShare, 1.0));
  }
  return out;
}

}  // namespace glc::codec

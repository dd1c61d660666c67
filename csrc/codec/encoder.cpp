// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "codec/map_range.h"
#include "codec/model.h"
#include "codec/model_file.h"
#include "codec/quantizer.h"
#include "codec/walk.h"
#include "core/byte_writer.h"
#include "core/check.h"
#include "core/float_mode.h"
#include "glc/bitstream.h"
#include "glc/codec.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "networks/analysis_networks.h"
#include "networks/layers.h"
#include "networks/map.h"
#include "networks/pixels.h"
#include "networks/share.h"
#include "networks/tensors.h"

namespace glc::codec {
namespace {

using networks::kColours;
using networks::Map;
using networks::Scratch;
using networks::Share;

// of the range that y has on photographs, tried in turn until the model can code and draw it; then
// 0
constexpr std::array kShares = {1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1};
constexpr double kPlausible = 2.5;   // times a photograph's range, of what the decoder sees
constexpr double kWalkBegin = 0.15;  // of a piece of a level: y and its hyper indices are there
constexpr double kWalkEnd = 0.95;    // and its symbols, which are then coded
constexpr std::int64_t kMostTries = std::bit_width(bitstream::kMaxLevel + 1U);  // of a bisection
constexpr std::uint64_t kCostOfByte = std::uint64_t{8} << 16;          // in the tables' units
constexpr std::uint64_t kLaneBytes = 2048;                             // of payload for each lane
constexpr std::uint64_t kSegmentsFromBytes = std::uint64_t{96} << 10;  // where threads share work

/// The symbols of a piece, and what the decoder makes of them.
struct Symbols {
  std::vector<std::int32_t> z_index;
  CodedParts parts;
  Map latent;  // y_hat times the step
};

/// A file, and what the decoder makes of its pieces.
struct File {
  int level = 0;
  std::vector<std::uint8_t> bytes;
  std::vector<Map> latents;
};

int level_of(double quality) {
  constexpr double kMost = static_cast<double>(bitstream::kMaxLevel) / kLevelsPerQuality;
  if (!(quality >= 0.0 && quality <= kMost)) {
    fail_argument("encode", "quality", "0 .. 3", quality);
  }
  return static_cast<int>(std::floor(quality * kLevelsPerQuality + 0.5));
}

/// The rule of docs/format.md for files: few lanes, of which each costs 3 bytes.
rans::Encoder encoder_for(std::uint64_t cost) {
  if (cost >= kSegmentsFromBytes * kCostOfByte) return rans::Encoder();
  const std::uint64_t affordable = cost / (kLaneBytes * kCostOfByte);
  const auto lanes = std::bit_floor(std::clamp<std::uint64_t>(affordable, 1, rans::kMaxLanes));
  return rans::Encoder(static_cast<int>(lanes), rans::kNoSegments);
}

/// The coder's descriptor, then the payload.
std::vector<std::uint8_t> coded(const Model& model, int level, const Symbols& symbols) {
  const IndexTables& index = model.index_of(level);
  const IndexTables::Halves halves = index.halves(symbols.z_index);
  std::uint64_t cost =
      index.tables.cost(halves.high, 0) + index.tables.cost(halves.low, halves.low_rows);
  for (const CodedPart& part : symbols.parts) cost += model.gaussian.cost(part.symbols, part.rows);
  rans::Encoder encoder = encoder_for(cost);
  encoder.push(halves.high, 0, index.tables);
  encoder.push(halves.low, halves.low_rows, index.tables);
  for (const CodedPart& part : symbols.parts) encoder.push(part.symbols, part.rows, model.gaussian);
  const std::vector<std::uint8_t> stream = encoder.finish();

  std::vector<std::uint8_t> out = {stream.front()};
  for (const CodedPart& part : symbols.parts) out.push_back(part.threshold);
  out.insert(out.end(), stream.begin() + 1, stream.end());
  return out;
}

/// Whether so many bytes are a picture of these sides.
bool is_of(std::uint64_t n_bytes, Size size) {
  const std::uint64_t row = std::uint64_t{kColours} * size.width;
  return n_bytes != 0 && row != 0 && n_bytes % row == 0 && n_bytes / row == size.height;
}

}  // namespace

struct Encoder::Impl : Model {
  Impl(const ModelFile& file, networks::Reader& reader)
      : Model(file, reader), analysis(layout, reader), range(layout, reader) {}

  [[nodiscard]] std::uint32_t tile_units(std::uint32_t tile) const;
  [[nodiscard]] std::vector<Map> features(std::span<const std::uint8_t> pixels,
                                          const bitstream::Header& header,
                                          Scratch& scratch,
                                          const Share& progress) const;
  [[nodiscard]] Symbols quantize(const Map& features,
                                 double quality,
                                 Scratch& scratch,
                                 const Share& progress) const;
  [[nodiscard]] Symbols quantize_y(const Map& y, Scratch& scratch, const Share& progress) const;
  [[nodiscard]] File encode_level(const std::vector<Map>& pieces,
                                  bitstream::Header header,
                                  Scratch& scratch,
                                  const Share& progress) const;
  void require_drawn(const File& file, Scratch& scratch) const;

  networks::AnalysisNetworks analysis;
  MapRange range;
};

std::uint32_t Encoder::Impl::tile_units(std::uint32_t tile) const {
  constexpr std::int64_t kUnit = bitstream::kTileUnit;  // in which the file counts
  if (tile % layout.pad_multiple != 0 || tile % kUnit != 0) {
    const std::int64_t multiple = std::lcm(layout.pad_multiple, kUnit);
    fail_argument("encode", "tile", "a multiple of " + std::to_string(multiple) + " pixels", tile);
  }
  return tile / bitstream::kTileUnit;
}

/// What each piece gives before the level matters.
std::vector<Map> Encoder::Impl::features(std::span<const std::uint8_t> pixels,
                                         const bitstream::Header& header,
                                         Scratch& scratch,
                                         const Share& progress) const {
  const networks::Pixels<const std::uint8_t> picture = {
      .data = pixels.data(), .height = header.height, .width = header.width};
  const std::vector<Box> places = boxes(header);
  std::vector<Map> out;
  out.reserve(places.size());
  for (const Box& box : places) {
    out.push_back(analysis.features(picture.box(box.top, box.left, box.height, box.width),
                                    scratch,
                                    progress.one_of(std::ssize(out), std::ssize(places))));
  }
  return out;
}

Symbols Encoder::Impl::quantize_y(const Map& y, Scratch& scratch, const Share& progress) const {
  Symbols out;
  out.z_index = analysis.hyper_index(y.view(), scratch);
  Quantizer quantizer(y, gaussian);
  out.latent = walk(*this, out.z_index, y.h() / 4, y.w() / 4, quantizer, scratch, progress);
  out.parts = quantizer.take();
  return out;
}

/// Where y is unlike that of all photographs, it is held ever more tightly until the context can
/// code it and the decoder can draw it.
Symbols Encoder::Impl::quantize(const Map& features,
                                double quality,
                                Scratch& scratch,
                                const Share& progress) const {
  const Map y = analysis.analysis(features.view(), quality, scratch);
  if (range.holds_y(y, quality)) return quantize_y(y, scratch, progress);
  constexpr std::int64_t kTries = std::ssize(kShares) + 1;
  std::int64_t tried = 0;
  for (const double share : kShares) {
    try {
      Symbols out =
          quantize_y(range.limit_y(y, quality, share), scratch, progress.one_of(tried++, kTries));
      const Map l_hat = synthesis.synthesis(out.latent.view(), quality, scratch);
      if (range.holds_y(out.latent, quality, kPlausible) && range.holds_l_hat(l_hat, kPlausible)) {
        return out;
      }
    } catch (const OutOfRange&) {  // NOLINT(bugprone-empty-catch): then a smaller share
    }
  }
  Symbols out = quantize_y(range.limit_y(y, quality, 0.0), scratch, progress.one_of(tried, kTries));
  const Map l_hat = synthesis.synthesis(out.latent.view(), quality, scratch);
  if (!networks::all_finite({l_hat.channel(0), static_cast<std::size_t>(l_hat.size())})) {
    throw OutOfRange("encode: l_hat: expected finite values from the model");
  }
  return out;
}

File Encoder::Impl::encode_level(const std::vector<Map>& pieces,
                                 bitstream::Header header,
                                 Scratch& scratch,
                                 const Share& progress) const {
  File out;
  ByteWriter payload;
  for (const Map& features : pieces) {
    const Share share = progress.one_of(std::ssize(out.latents), std::ssize(pieces));
    Symbols symbols =
        quantize(features, quality_of(header.level), scratch, share.part(kWalkBegin, kWalkEnd));
    const std::vector<std::uint8_t> piece = coded(*this, header.level, symbols);
    if (header.tile != 0) {
      payload.varint(piece.size());
      payload.bytes(piece);
    } else {
      header.coder = piece.front();
      payload.bytes(std::span(piece).subspan(1));
    }
    out.latents.push_back(std::move(symbols.latent));
  }
  out.level = header.level;
  out.bytes.resize(bitstream::file_bytes(header, payload.size(), {}));
  bitstream::write(header, payload.view(), {}, fingerprint, out.bytes);
  return out;
}

/// Symbols that can be coded may be more than g_s and D can draw. Throws OutOfRange.
void Encoder::Impl::require_drawn(const File& file, Scratch& scratch) const {
  std::vector<std::uint8_t> pixels;
  for (const Map& latent : file.latents) {
    const std::int64_t height = latent.h() * layout.stride();
    const std::int64_t width = latent.w() * layout.stride();
    pixels.resize(static_cast<std::size_t>(kColours * height * width));
    try {
      synthesis.draw(latent.view(),
                     quality_of(file.level),
                     {.data = pixels.data(), .height = height, .width = width},
                     scratch);
    } catch (const BitstreamError& error) {
      throw OutOfRange("encode: picture: expected one whose file decodes again, got " +
                       std::string(error.what()));
    }
  }
}

Encoder::Encoder(std::span<const std::uint8_t> model) : impl_(held<Impl>(model)) {}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;

std::span<const std::uint8_t, 32> Encoder::fingerprint() const { return impl_->fingerprint; }

std::vector<std::uint8_t> Encoder::encode(std::span<const std::uint8_t> pixels,
                                          Size size,
                                          const EncodeOptions& options) const {
  const IeeeFloats mode;
  bitstream::Header header = {.width = size.width, .height = size.height};
  header.tile = impl_->tile_units(options.tile);
  std::ranges::copy(fingerprint().first<bitstream::kModelIdBytes>(), header.model_id.begin());
  header.level = static_cast<std::uint8_t>(level_of(options.quality));
  if (!is_of(pixels.size(), size)) {
    fail_argument("encode",
                  "pixels",
                  "[height, width, 3] of at least one pixel",
                  std::to_string(pixels.size()) + " bytes for " + std::to_string(size.width) + "x" +
                      std::to_string(size.height));
  }
  if (is_padded_too_far(impl_->layout, header, kMaxPixels)) {
    fail_argument("encode",
                  "pixels",
                  "at most " + std::to_string(2 * kMaxPixels) + " pixels with sides padded",
                  std::to_string(size.width) + "x" + std::to_string(size.height));
  }
  Scratch scratch;
  const Share progress(options.progress);
  progress.tell(0.0);
  // the features, which take about as long as a level, then every level; as in glc/codec.py
  const std::int64_t steps = 1 + (options.target_bytes ? kMostTries : 1);
  std::int64_t step = 0;
  const std::vector<Map> pieces =
      impl_->features(pixels, header, scratch, progress.one_of(step++, steps));
  File out;
  if (!options.target_bytes) {
    out = impl_->encode_level(pieces, header, scratch, progress.one_of(step, steps));
  } else {
    // the highest level that bisection finds to fit, as `glc.rate.largest_within`
    std::int64_t low = 0;
    std::int64_t high = impl_->top_level();
    std::size_t smallest = SIZE_MAX;
    while (low <= high) {
      const std::int64_t level = (low + high) / 2;
      header.level = static_cast<std::uint8_t>(level);
      File tried = impl_->encode_level(pieces, header, scratch, progress.one_of(step++, steps));
      if (tried.bytes.size() <= *options.target_bytes) {
        out = std::move(tried);
        low = level + 1;
      } else {
        smallest = std::min(smallest, tried.bytes.size());
        high = level - 1;
      }
    }
    if (out.bytes.empty()) {
      fail_argument("encode",
                    "target_bytes",
                    "at least " + std::to_string(smallest) + " for this picture",
                    *options.target_bytes);
    }
  }
  // else photographs have shown what is drawn
  if (!impl_->range.fitted()) impl_->require_drawn(out, scratch);
  progress.tell(1.0);
  return std::move(out.bytes);
}

}  // namespace glc::codec

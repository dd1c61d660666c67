// SPDX-License-Identifier: Apache-2.0
//
// Whole pictures: golden files draw golden pictures, and whatever is wrong with a file or a model
// is an error of the documented kind.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <ios>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.h"
#include "codec/map_range.h"
#include "codec/model_file.h"
#include "codec/payload.h"
#include "codec/quantizer.h"
#include "codec_files.h"
#include "core/little_endian.h"
#include "glc/bitstream.h"
#include "glc/codec.h"
#include "glc/error.h"
#include "glc/exact.h"
#include "glc/float16.h"
#include "glc/rans.h"
#include "glc/threads.h"
#include "networks/layout.h"
#include "networks/map.h"
#include "networks/synthesis_networks.h"
#include "networks/tensors.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::Unsupported;
using glc::codec::DecodeOptions;
using glc::codec::Decoder;
using glc::codec::Encoder;
using glc::codec::Restored;
using glc::codec::Size;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::golden;
using glc::test::Model;
using glc::test::ModelParts;

constexpr int kParts = 4;
constexpr std::size_t kVersionAt = 3;
constexpr std::size_t kModelIdAt = 4;
constexpr std::size_t kLevelAt = 6;

struct Case {
  Bytes file;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t crc = 0;
  glc::codec::EncodeOptions coded;  // from picture.rgb
};

std::vector<Case> golden_cases() {
  std::ifstream list(GLC_GOLDEN "/exported/v1/pictures.txt");
  std::vector<Case> cases;
  std::string name;
  Case of;
  while (list >> name >> std::dec >> of.width >> of.height >> std::hex >> of.crc >> std::dec >>
         of.coded.quality >> of.coded.tile) {
    of.file = golden(name);
    cases.push_back(of);
  }
  check(cases.size() > 3 && list.eof(), "pictures.txt");
  return cases;
}

const Bytes& model_file() {
  static const Bytes file = golden("model.safetensors");
  return file;
}

const Decoder& decoder() {
  static const Decoder made(model_file());
  return made;
}

struct Drawn {
  Bytes pixels;
  Restored restored;
};

Drawn draw(const Decoder& with,
           std::span<const std::uint8_t> file,
           const DecodeOptions& options = {}) {
  Drawn out;
  out.pixels.resize(Decoder::size(file, options).bytes());
  out.restored = with.decode(file, out.pixels, options);
  return out;
}

Drawn draw(std::span<const std::uint8_t> file, const DecodeOptions& options = {}) {
  return draw(decoder(), file, options);
}

/// Nothing where the file is refused for a reason of its own.
std::optional<Drawn> drawn_or_refused(const Decoder& with,
                                      std::span<const std::uint8_t> file,
                                      const DecodeOptions& options = {}) {
  try {
    return draw(with, file, options);
  } catch (const BitstreamError&) {
  } catch (const Unsupported&) {
  }
  return std::nullopt;
}

Bytes with_checksum(Bytes file) {
  glc::test::put_checksum(file, decoder().fingerprint());
  return file;
}

/// A golden file's beginning as one of a size that takes less time.
const Bytes& small_file() {
  static const Bytes file = with_checksum(glc::test::resized(golden("0.glc"), 60, 60));
  return file;
}
const DecodeOptions kBeginning = {.until = 3};  // small_file has more words than its size needs

// ---------------------------------------------------------------- files

void golden_pictures(const std::vector<Case>& cases) {
  for (const Case& of : cases) {
    const auto size = Decoder::size(of.file);
    check_equal(size.width, of.width, "width");
    check_equal(size.height, of.height, "height");
    const Drawn whole = draw(of.file);
    check_equal(glc::bitstream::crc32c(whole.pixels), of.crc, "picture");
    check_equal(whole.restored.n_parts, kParts, "parts");
    check(whole.restored.verified, "verified");
    const Drawn same = draw(of.file, {.partial = true});
    check(same.pixels == whole.pixels && same.restored.verified, "a whole file, partial");
    for (int until = 0; until <= kParts; ++until) {
      const Drawn some = draw(of.file, {.until = until});
      check_equal(some.restored.n_parts, until, "parts until");
      check(some.restored.verified, "verified until");
      check((some.pixels == whole.pixels) == (until == kParts), "each part makes a difference");
    }
  }
  check(std::ranges::equal(decoder().fingerprint().first<2>(),
                           std::span(cases[0].file).subspan(kModelIdAt, 2)),
        "fingerprint");
}

void cut_files(const Case& of, std::size_t stride) {
  std::vector<Bytes> until;
  for (int n = 0; n <= kParts; ++n) until.push_back(draw(of.file, {.until = n}).pixels);
  int n_parts = 0;
  std::array<bool, kParts + 1> seen{};
  for (std::size_t n = 0; n < of.file.size(); ++n) {
    // a fresh allocation of exactly n bytes, so that a sanitizer sees any read past it
    const Bytes cut(of.file.begin(), of.file.begin() + static_cast<std::ptrdiff_t>(n));
    check_throws<BitstreamError>([&] { draw(cut); }, "cut");
    if (n % stride != 0) continue;
    const auto some = drawn_or_refused(decoder(), cut, {.partial = true});
    if (!some) {
      check_equal(n_parts, 0, "refused after what was drawn");
      continue;
    }
    check(!some->restored.verified && some->restored.n_parts >= n_parts, "longer and worse");
    n_parts = some->restored.n_parts;
    check(some->pixels == until.at(static_cast<std::size_t>(n_parts)), "the parts that are whole");
    if (n_parts < 3) {
      check_throws<BitstreamError>([&] { draw(with_checksum(cut), {.until = 3}); },
                                   "words that are too few, though not to be read to the end");
    }
    seen.at(static_cast<std::size_t>(n_parts)) = true;
    const int fewer = std::min(n_parts, 1);
    const Drawn first = draw(cut, {.until = 1, .partial = true});
    check_equal(first.restored.n_parts, fewer, "parts of a cut file until 1");
  }
  check(seen[0] && seen[1] && seen[2] && seen[3], "cuts in every part");
}

void cut_tiles(const Case& of) {
  check_equal(glc::bitstream::parse(of.file, of.width * of.height).header.tile, 1U, "tiles");
  Bytes cut = of.file;
  cut.pop_back();
  check_throws<BitstreamError>([&] { draw(cut, {.partial = true}); }, "cut tiles");
  cut = with_checksum(cut);
  check_throws<BitstreamError>([&] { draw(cut); }, "tiles that end too early");
  Bytes longer = of.file;
  longer.push_back(0);
  check_throws<BitstreamError>([&] { draw(with_checksum(longer)); }, "a byte behind the tiles");
  // the last tile's words go wrong, and its parts alone
  Bytes damaged = of.file;
  damaged[damaged.size() - 3] ^= 1U;
  check_throws<BitstreamError>([&] { draw(damaged); }, "damaged tile");
  const Drawn some = draw(damaged, {.until = 0, .partial = true});
  check(some.pixels == draw(of.file, {.until = 0}).pixels, "tiles before the damage");
}

/// What follows the payload is no part of the picture, however the file is read.
void files_with_chunks(const Case& of) {
  const auto parsed = glc::bitstream::parse(of.file, of.width * of.height);
  const auto payload = std::span(of.file).subspan(parsed.payload_offset);
  const Bytes content(100);
  const std::array<glc::bitstream::Chunk, 1> chunks{{{1, content}}};
  Bytes file(glc::bitstream::file_bytes(parsed.header, payload.size(), chunks));
  glc::bitstream::write(parsed.header, payload, chunks, decoder().fingerprint(), file);
  check(draw(file).pixels == draw(of.file).pixels, "a file with chunks");
  const std::size_t begin = glc::bitstream::parse(file, of.width * of.height).payload_offset;
  const auto cut = [&](const Bytes& whole, std::size_t n) {
    // a fresh allocation, so that a sanitizer sees any read past it
    const Bytes some(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    return draw(some, {.partial = true}).pixels;
  };
  const std::size_t half = payload.size() / 2;
  check(cut(file, begin + half) == cut(of.file, parsed.payload_offset + half), "cut before them");
}

void damaged_files(const Case& of) {
  Bytes file = of.file;
  const std::size_t crc_at = glc::bitstream::parse(file, of.width * of.height).crc_offset;
  file[crc_at] ^= 1U;
  check_throws<BitstreamError>([&] { draw(file); }, "wrong checksum");
  const Drawn some = draw(file, {.partial = true});
  check_equal(glc::bitstream::crc32c(some.pixels), of.crc, "picture whose checksum is wrong");
  check(!some.restored.verified && some.restored.n_parts == kParts, "not verified");
  file[crc_at] ^= 1U;
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    const auto mask = static_cast<std::uint8_t>(1U << bit % 8);
    file[bit / 8] ^= mask;
    check(!drawn_or_refused(decoder(), file), "a flipped bit went unnoticed");
    file[bit / 8] ^= mask;
  }
}

/// What no checksum finds: the model's and the coder's own checks.
void hostile_files() {
  const Bytes& good = small_file();
  draw(good, kBeginning);
  check_throws<BitstreamError>([&] { draw(good); }, "words that are too many");
  const auto refuse = [&](std::size_t at, std::uint8_t value, const char* what) {
    Bytes file = good;
    file[at] = value;
    check_throws<BitstreamError>([&] { draw(with_checksum(file), kBeginning); }, what);
  };
  refuse(kLevelAt, 64, "level");
  for (std::size_t part = 0; part < kParts; ++part) {
    refuse(
        glc::bitstream::parse(good, 4900).payload_offset + part, 69, "threshold beyond the rows");
  }
  Bytes other = good;
  other[kModelIdAt] ^= 1U;
  check_throws<BitstreamError>([&] { draw(other, kBeginning); }, "another model");
  check_throws<BitstreamError>([&] { draw(other, {.until = 3, .partial = true}); },
                               "another model, partial");
  for (const int version : {0x01, 0x10, 0x12, 0x21}) {  // profile 0 is of the machine that wrote it
    Bytes file = good;
    file[kVersionAt] = static_cast<std::uint8_t>(version);
    check_throws<Unsupported>([&] { draw(file, kBeginning); }, "version");
  }
  // all thresholds at their most: no symbol is coded, and z_index is all there is
  Bytes none = good;
  const std::size_t payload = glc::bitstream::parse(good, 4900).payload_offset;
  std::fill_n(none.begin() + static_cast<std::ptrdiff_t>(payload), kParts, std::uint8_t{68});
  const Drawn empty = draw(with_checksum(none), kBeginning);
  check(empty.pixels == draw(good, {.until = 0}).pixels, "no symbol coded");
}

void arguments(const Case& of) {
  Bytes pixels(Decoder::size(of.file).bytes() + 1);
  for (const std::size_t n : {std::size_t{0}, pixels.size() - 2, pixels.size()}) {
    check_throws<InvalidArgument>([&] { decoder().decode(of.file, std::span(pixels).first(n)); },
                                  "pixels");
  }
  for (const int until : {-1, kParts + 1, std::numeric_limits<int>::min()}) {
    check_throws<InvalidArgument>([&] { draw(of.file, {.until = until}); }, "until");
  }
  check_throws<InvalidArgument>([&] { draw(of.file, {.max_pixels = 0}); }, "max_pixels 0");
  const std::uint64_t n_pixels = std::uint64_t{of.width} * of.height;
  check_throws<BitstreamError>([&] { draw(of.file, {.max_pixels = n_pixels - 1}); }, "max_pixels");
  check_throws<BitstreamError>(
      [&] { decoder().decode(of.file, pixels, {.max_pixels = n_pixels - 1}); }, "decode's");
  check_equal(draw(of.file, {.max_pixels = n_pixels}).restored.n_parts, kParts, "as many pixels");
  check_throws<BitstreamError>([] { static_cast<void>(Decoder::size({})); }, "no bytes");
  check_throws<BitstreamError>([&] { decoder().decode({}, pixels); }, "no bytes");
  check_throws<std::bad_alloc>(
      [] { static_cast<void>(glc::codec::Size{0xFFFFFFFFU, 0xFFFFFFFFU}.bytes()); }, "bytes");
}

void thin_pictures() {  // of which padding makes many times as many pixels
  const auto thin = [](std::uint8_t width, std::uint8_t height) {
    return with_checksum(glc::test::resized(small_file(), width, height));
  };
  for (const auto& [width, height] : {std::pair<std::uint8_t, std::uint8_t>{1, 127}, {127, 1}}) {
    const Bytes file = thin(width, height);
    check_throws<BitstreamError>([&] { draw(file, {.max_pixels = 127, .until = 3}); }, "thin");
    check_equal(draw(file, {.max_pixels = 2048, .until = 3}).pixels.size(), std::size_t{381});
  }
  check_equal(draw(thin(1, 1), {.max_pixels = 1, .until = 3}).pixels.size(), std::size_t{3});
}

// ---------------------------------------------------------------- the encoder

const Encoder& encoder() {
  static const Encoder made(model_file());
  return made;
}

/// The golden files, from their picture, at any number of threads.
void encodes_golden_files(const std::vector<Case>& cases) {
  const Bytes picture = golden("picture.rgb");
  const int before = glc::threads();
  for (const int n_threads : {1, 3}) {
    glc::set_threads(n_threads);
    for (const Case& of : cases) {
      check(encoder().encode(picture, {of.width, of.height}, of.coded) == of.file, "a golden file");
    }
  }
  glc::set_threads(before);
}

void encodes_within_a_size(const Case& of) {
  const Bytes picture = golden("picture.rgb");
  const Size size = {of.width, of.height};
  std::size_t last = 0;
  for (const std::size_t target : {of.file.size(), 2 * of.file.size(), std::size_t{SIZE_MAX}}) {
    const Bytes file = encoder().encode(picture, size, {.target_bytes = target});
    check(file.size() <= target && file.size() >= last, "as large as it may be");
    check(draw(file).restored.verified, "and sound");
    last = file.size();
  }
  check_throws<InvalidArgument>(
      [&] { static_cast<void>(encoder().encode(picture, size, {.target_bytes = 50})); },
      "too small");
}

/// Thin ones, noise and stripes, of which y is held within its range until they can be coded.
void encodes_odd_pictures() {
  std::mt19937 random(4);
  for (const Size size : {Size{1, 1}, Size{129, 3}, Size{2, 100}, Size{65, 64}}) {
    Bytes noise(size.bytes());
    for (auto& byte : noise) byte = static_cast<std::uint8_t>(random());
    Bytes stripes(size.bytes());
    for (std::size_t i = 0; i < stripes.size(); ++i) stripes[i] = i / 3 % 2 == 0 ? 0 : 255;
    for (const Bytes& picture : {noise, stripes}) {
      for (const std::uint32_t tile : {0U, 64U}) {
        const Bytes file = encoder().encode(picture, size, {.quality = 3.0, .tile = tile});
        const Drawn drawn = draw(file);
        check_equal(drawn.pixels.size(), picture.size());
        check(drawn.restored.verified, "sound");
      }
    }
  }
}

void refuses_to_encode() {
  const Bytes picture(3 * 64 * 64);
  const auto refused = [&](Size size, const glc::codec::EncodeOptions& options) {
    check_throws<InvalidArgument>(
        [&] { static_cast<void>(encoder().encode(picture, size, options)); }, "refused");
  };
  for (const Size size : {Size{64, 63}, Size{0, 0}, Size{0, 64}, Size{UINT32_MAX, UINT32_MAX}}) {
    refused(size, {});
  }
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double quality : {-0.1, 3.01, kNan, 1e300}) refused({64, 64}, {.quality = quality});
  for (const std::uint32_t tile : {1U, 63U, 65U, UINT32_MAX}) refused({64, 64}, {.tile = tile});
  auto decodes_alone = glc::test::Model::of(model_file());
  std::erase_if(decodes_alone.tensors,
                [](const auto& each) { return each.first.starts_with("h_a."); });
  check_throws<BitstreamError>([&] { const Encoder made(decodes_alone.join()); }, "no encoder");
  check(Decoder(decodes_alone.join()).fingerprint()[0] == encoder().fingerprint()[0],
        "but a decoder");
}

/// Rows 0 and 1, which have no bin but zero's, and row 2, which has one more.
glc::rans::TableSet few_rows() {
  const std::array<std::uint32_t, 7> freqs = {255, 1, 255, 1, 128, 127, 1};
  return glc::rans::TableSet::from_freqs(freqs, std::array{2, 2, 3}, std::array{0, 0, 0}, 8, true);
}

using Four = std::array<std::int32_t, 4>;

/// A part of four symbols of y / step - mean, in these rows.
glc::codec::CodedPart quantized(float y,
                                float step,
                                const std::array<float, 4>& mean,
                                const std::array<std::uint8_t, 4>& rows,
                                Four& symbols) {
  glc::networks::Map map(4, 2, 2);
  std::fill_n(map.channel(0), map.size(), y);
  const std::vector<float> steps(16, step);
  glc::codec::Quantizer quantizer(map, few_rows());
  quantizer.symbols(0, rows, mean, steps, symbols);
  return quantizer.take()[0];
}

void symbols_are_rounded_and_skipped() {
  Four symbols{};
  const auto part = [&](const std::array<float, 4>& mean, const std::array<std::uint8_t, 4>& rows) {
    return quantized(3.0F, 2.0F, mean, rows, symbols);
  };
  static_cast<void>(part({1, 0, 2, -1}, {2, 2, 2, 2}));
  check(symbols == Four{0, 2, 0, 2}, "half to even");
  static_cast<void>(quantized(37.5F, 15.0F, {}, {2, 2, 2, 2}, symbols));
  check_equal(symbols[0], 3, "times the step's reciprocal, as in Python");
  auto coded = part({-1, 1.5F, 1.5F, -1}, {2, 1, 0, 1});
  check(symbols == Four{2, 0, 0, 0}, "a lone outlier of the rows for zero");
  check(coded.threshold == 2 && coded.symbols == std::vector{2}, "its row is skipped");
  coded = part({-1, -1, 1.5F, -1}, {2, 1, 0, 1});
  check(symbols == Four{2, 2, 0, 2}, "two are none");
  check(coded.threshold == 1 && coded.symbols == std::vector{2, 2, 2} &&
            coded.rows == std::vector<std::uint8_t>{2, 1, 1},
        "the row that they are in is not");
  coded = part({4, 1.5F, 1.5F, 1.5F}, {2, 2, 2, 2});
  check(symbols == Four{-2, 0, 0, 0} && coded.threshold == 2, "a negative one, in another row");
  check_equal(static_cast<int>(part({1, 1, 1, 1}, {0, 1, 2, 0}).threshold), 3, "all are zero");

  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float y : {1023.5F, -1024.0F, 40000.0F, kNan}) {
    check_throws<glc::codec::OutOfRange>(
        [&] { static_cast<void>(quantized(y, 1.0F, {}, {2, 2, 2, 2}, symbols)); }, "no picture's");
  }
  static_cast<void>(quantized(1023.25F, 1.0F, {}, {2, 2, 2, 2}, symbols));
  check_equal(symbols[3], 1023, "the largest");
}

/// Symbols of rows below the threshold are zero, and no others.
void thresholds_skip_rows() {
  const glc::rans::TableSet tables = few_rows();
  const auto index = glc::codec::IndexTables::from(std::array{0.0F, -1000.0F, 0.0F, -1000.0F});
  check(index.of_rank == std::vector{0, 2, 1, 3}, "of equally likely ones the first");
  const std::vector<float> many(65537);
  for (const std::size_t n : {std::size_t{0}, many.size()}) {
    check_throws<InvalidArgument>(
        [&] { static_cast<void>(glc::codec::IndexTables::from(std::span(many).first(n))); });
  }
  check_equal(glc::codec::IndexTables::from(std::span(many).first(65536)).rank[65535], 65535);
  const std::vector<std::int32_t> z_index = {3, 0};
  const std::vector<std::uint8_t> rows = {0, 1, 2, 1, 0};
  for (std::uint8_t threshold = 0; threshold <= 3; ++threshold) {
    std::vector<std::int32_t> symbols;
    std::vector<std::uint8_t> coded_rows;
    std::vector<std::int32_t> expected;
    for (const std::uint8_t row : rows) {
      const bool coded = row >= threshold;
      expected.push_back(coded ? 5 : 0);
      if (!coded) continue;
      symbols.push_back(5);
      coded_rows.push_back(row);
    }
    const auto halves = index.halves(z_index);
    glc::rans::Encoder encoder(1);
    encoder.push(halves.high, 0, index.tables);
    encoder.push(halves.low, halves.low_rows, index.tables);
    for (int part = 0; part < kParts; ++part) encoder.push(symbols, coded_rows, tables);
    const Bytes stream = encoder.finish();
    Bytes payload(kParts, threshold);
    payload.insert(payload.end(), stream.begin() + 1, stream.end());
    glc::codec::PayloadReader reader(tables, index, stream[0], payload, {});
    check(reader.z_index(2) == z_index, "z_index");
    for (int part = 0; part < kParts; ++part) {
      std::vector<std::int32_t> out(rows.size());
      reader.symbols(part, rows, out);
      check(out == expected, "symbols");
    }
    reader.finish();
  }
}

/// Bounds are within the range themselves; NaN is not. Between two levels the wider ones hold.
void ranges_and_their_edges() {
  using glc::networks::Map;
  glc::networks::LightLayout layout = glc::codec::ModelFile::read(model_file()).layout;
  layout.levels = 3;
  layout.latent_channels = layout.l_channels = 1;
  std::array<float, 2> other = {-100.0F, 100.0F};
  const std::array<float, 6> y = {-1.0F, 3.0F, -2.0F, 2.0F, -1.5F, 4.0F};
  const glc::networks::Tensors tensors = {{"latent_range.l", {{2, 1}, other}},
                                          {"latent_range.features", {{2, 1}, other}},
                                          {"latent_range.y", {{3, 2, 1}, y}},
                                          {"latent_range.l_hat", {{2, 1}, other}}};
  const auto made = [&] {
    glc::networks::Reader reader(tensors);
    return glc::codec::MapRange(layout, reader);
  };
  const auto range = made();
  check(range.fitted(), "fitted");
  for (const float bound : {-65504.0F, 65504.0F}) {
    other[0] = bound;
    check(!made().fitted(), "as good as no bound");
  }
  const auto holds = [&](float value, double quality, double times = 1.0) {
    Map one(1, 1, 1);
    *one.channel(0) = value;
    return range.holds_y(one, quality, times);
  };
  check(holds(-1.0F, 0.0) && holds(3.0F, 0.0), "within");
  check(!holds(-1.5F, 0.0) && !holds(3.5F, 0.0), "beyond");
  check(holds(-2.0F, 1.0) && !holds(2.5F, 1.0), "of another level");
  check(holds(-2.0F, 0.5) && holds(3.0F, 0.5) && !holds(3.5F, 0.5), "between");
  check(holds(-2.0F, 1.5) && holds(4.0F, 1.5) && !holds(-2.5F, 1.5), "between others");
  check(holds(5.0F, 0.0, 2.0) && !holds(5.5F, 0.0, 2.0), "twice as wide about the middle");
  check(!holds(std::numeric_limits<float>::quiet_NaN(), 0.0), "none");

  constexpr std::int64_t kSide = 7;
  for (const std::int64_t at : {0, 3, 6}) {
    for (const auto& [edge, beyond] : {std::pair{-1.0F, -1.5F}, {3.0F, 3.5F}}) {
      Map map(1, kSide, kSide);
      std::fill_n(map.channel(0), map.size(), edge);
      map.channel(0)[at * kSide + at] = beyond;
      const Map limited = range.limit_y(map, 0.0, 0.0);
      for (std::int64_t i = 0; i < map.size(); ++i) {
        const bool near = std::abs(i / kSide - at) <= 2 && std::abs(i % kSide - at) <= 2;
        check_equal(limited.channel(0)[i], near ? 1.0F : edge, "held near what is beyond alone");
      }
    }
  }
}

void moves() {
  Decoder first(model_file());
  Decoder second = std::move(first);
  first = Decoder(model_file());
  check(
      draw(first, small_file(), kBeginning).pixels == draw(second, small_file(), kBeginning).pixels,
      "moved");
}

/// What Python can hand to the networks, and a decoder cannot.
void networks_of_other_sizes() {
  using glc::networks::Map;
  const auto file = glc::codec::ModelFile::read(model_file());
  glc::networks::Reader reader(file.tensors);
  const glc::networks::SynthesisNetworks synthesis(file.layout, reader);
  const std::int64_t n = file.layout.latent_channels;
  Map y_hat(n, 4, 8);
  std::fill_n(y_hat.channel(0), y_hat.size(), 0.5F);
  Bytes pixels(std::size_t{3} * 200 * 200);
  glc::networks::Scratch scratch;
  const auto draw_as = [&](glc::exact::MapView<const float> view, std::int64_t h, std::int64_t w) {
    synthesis.draw(view, 0.0, {.data = pixels.data(), .height = h, .width = w}, scratch);
  };
  const auto refuse = [&](const glc::exact::MapView<float>& view, std::int64_t h, std::int64_t w) {
    check_throws<InvalidArgument>([&] { draw_as(view, h, w); }, "networks");
  };
  draw_as(y_hat.view(), 64, 128);
  refuse(y_hat.view(), 65, 128);
  refuse(y_hat.view(), 64, 129);
  refuse({y_hat.channel(0), 0, n, 4, 8}, 64, 128);
  refuse({y_hat.channel(0), 2, n, 4, 4}, 64, 64);
  refuse({y_hat.channel(0), 1, n / 2, 8, 8}, 64, 64);
  check_throws<InvalidArgument>(
      [&] {
        static_cast<void>(synthesis.synthesis(
            glc::exact::MapView<const float>{y_hat.channel(0), 0, n, 4, 8}, 0.0, scratch));
      },
      "no picture");
}

// ---------------------------------------------------------------- models

void refuse_model(const Bytes& file, const char* what) {
  check_throws<BitstreamError>([&] { const Decoder made(file); }, what);
}

std::optional<Decoder> model_or_refused(const Bytes& file) {
  try {
    return std::optional<Decoder>(std::in_place, file);
  } catch (const BitstreamError&) {
  } catch (const Unsupported&) {
  }
  return std::nullopt;
}

Bytes first_of(const Bytes& file, std::size_t n) {
  return {file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n)};
}

const Bytes& small_picture() {
  static const Bytes pixels = draw(small_file(), kBeginning).pixels;
  return pixels;
}

/// Another file of the same weights draws the same.
void accept_model(const Bytes& file, const char* what) {
  check(draw(Decoder(file), small_file(), kBeginning).pixels == small_picture(), what);
}

void cut_models() {
  const Bytes& file = model_file();
  for (std::size_t n = 0; n < file.size(); n += n < 600 ? 1 : n < 13000 ? 41 : 1999) {
    refuse_model(first_of(file, n), "cut model");
  }
  refuse_model(first_of(file, file.size() - 1), "cut model");
  const ModelParts parts = ModelParts::of(file);
  for (std::size_t n = 0; n < parts.data.size(); n += 4001) {
    refuse_model(ModelParts{parts.header, first_of(parts.data, n)}.join(), "data that was cut");
  }
  for (const std::size_t n : {1U, 4U, 4096U}) {
    ModelParts more = parts;
    more.data.resize(more.data.size() + n);
    refuse_model(more.join(), "data of no tensor");
  }
}

void flipped_models() {
  Bytes file = model_file();
  const std::size_t n_header = 8 + ModelParts::of(file).header.size();
  constexpr std::size_t kMetadata = 1000;  // the header's beginning
  int n_accepted = 0;
  for (std::size_t at = 0; at < file.size(); at += at < kMetadata ? 1 : at < n_header ? 13 : 1009) {
    const auto mask = static_cast<std::uint8_t>(1U << at % 8);
    file[at] ^= mask;
    // the checksum covers the data; what the header says otherwise has to show
    if (const auto made = model_or_refused(file)) {
      ++n_accepted;
      check(at < n_header, "a flipped bit of the data went unnoticed");
      const auto some = drawn_or_refused(*made, small_file(), kBeginning);
      check(!some || some->pixels == small_picture(), "other weights");
    }
    file[at] ^= mask;
  }
  check(n_accepted < 150, "flipped bits of the header that are taken");
}

/// A value put into each tensor, the checksum put right: what such weights draw is finite, or said
/// not to be.
void odd_weights() {
  const Model good = Model::of(model_file());
  for (const auto& [name, tensor] : good.tensors) {
    Model other = good;
    Bytes& bytes = other.tensors[name].bytes;
    if (tensor.dtype == "F16") {
      glc::store_u16(bytes.data(), 0x7E00);
    } else {
      glc::store_u32(bytes.data(), name.size() % 2 == 0 ? 0x7FC00000U : 0x7F7FFFFFU);
    }
    if (const auto made = model_or_refused(other.join())) {
      const auto some = drawn_or_refused(*made, small_file(), kBeginning);
      check(!some || !name.starts_with("context."), "symbols of scales that are not finite");
    }
  }
}

void same_weights_otherwise() {
  const Model good = Model::of(model_file());
  accept_model(good.join(), "written again");
  Model more = good;  // what nobody asks for, of any shape
  more.metadata["more"] = "~";
  more.tensors["tables.more"] = {.dtype = "I32", .shape = {}, .bytes = Bytes(4)};
  more.tensors["tables.none"] = {.dtype = "F32", .shape = {0}, .bytes = {}};
  accept_model(more.join(), "and more");
  Model wide = good;  // halves as floats
  int n_halves = 0;
  for (auto& [name, tensor] : wide.tensors) {
    if (tensor.dtype != "F16") continue;
    ++n_halves;
    Bytes bytes(2 * tensor.bytes.size());
    for (std::size_t i = 0; i < tensor.bytes.size() / 2; ++i) {
      const glc::Float16 half{
          static_cast<std::uint16_t>(glc::load_u16(tensor.bytes.data() + 2 * i))};
      glc::store_u32(bytes.data() + 4 * i, std::bit_cast<std::uint32_t>(glc::to_float(half)));
    }
    tensor.dtype = "F32";
    tensor.bytes = bytes;
  }
  check(n_halves > 0, "no tensor of F16");
  accept_model(wide.join(), "floats");
  ModelParts parts = ModelParts::of(model_file());
  for (std::size_t n = 0; n < 8; ++n) {  // data at any address
    accept_model(parts.join(), "alignment");
    parts.header += '\n';
  }
}

void hostile_metadata() {
  const Model good = Model::of(model_file());
  int n_numbers = 0;
  for (const auto& [key, text] : good.metadata) {
    Model missing = good;
    missing.metadata.erase(key);
    refuse_model(missing.join(), "no such entry");
    if (!key.starts_with("config.")) continue;
    ++n_numbers;
    for (const char* value : {"-1",
                              "65537",
                              "9223372036854775807",
                              "9223372036854775808",
                              "",
                              "1,",
                              "1,1,1,1,1",
                              ",",
                              "x",
                              " 4",
                              "4 ",
                              "+4",
                              "4.0",
                              "0x4"}) {
      Model other = good;
      other.metadata[key] = value;
      refuse_model(other.join(), (key + " " + value).c_str());
    }
    const bool drawn = key.find("encoder") == std::string::npos && key != "config.normalize_z";
    if (!drawn || key.find("decoder") != std::string::npos) continue;
    for (const char* value : {"0", "1", "2", "4", "12", "32", "40", "65536"}) {
      if (text == value) continue;
      Model other = good;
      other.metadata[key] = value;
      refuse_model(other.join(), (key + " " + value).c_str());
    }
  }
  check(n_numbers > 10, "no configuration");
  for (const char* depths : {"0,1,1", "1,2,1", "1,1,65536", "65536,65536,65536"}) {
    Model other = good;
    other.metadata["config.autoencoder.decoder_depths"] = depths;
    refuse_model(other.join(), depths);
  }
  for (const char* widths : {"16,16,15", "17,16,16", "16,65536,16"}) {
    Model other = good;
    other.metadata["config.autoencoder.decoder_widths"] = widths;
    refuse_model(other.join(), widths);
  }
  for (const char* format : {"0", "2", "01", "", "1 "}) {
    Model other = good;
    other.metadata["format"] = format;
    check_throws<Unsupported>([&] { const Decoder made(other.join()); }, "format");
  }
  for (const char* digits : {"", "795e0", "-95e", "g95e", "0x5e"}) {
    Model other = good;
    other.metadata["fingerprint"].replace(0, 4, digits);
    refuse_model(other.join(), "fingerprint");
  }
  for (const char* sum : {"", "fa97156", "fa97156d0", "-a97156d", "0xfa9715"}) {
    ModelParts parts = ModelParts::of(model_file());
    const std::string key = "\"crc32c\":\"";
    const std::string wrong = "\"crc32c\" :\"" + std::string(sum);  // which join() leaves alone
    parts.header.replace(parts.header.find(key), key.size() + 8, wrong);
    refuse_model(parts.join(), "checksum");
  }
}

/// Whether decoding does without a tensor.
bool is_encoders(std::string_view name) {
  if (name == "latent_range.l_hat") return false;
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  return std::ranges::any_of(std::array{"latent_encoder.", "g_a.", "h_a.", "latent_range."},
                             begins);
}

void hostile_tensors() {
  const Model good = Model::of(model_file());
  for (const auto& [name, tensor] : good.tensors) {
    const bool encoded = is_encoders(name);
    const auto refuse = [&](const Bytes& file, const char* what) {
      check_throws<BitstreamError>([&] { const Encoder made(file); }, what);
      if (!encoded) refuse_model(file, what);
    };
    Model missing = good;
    missing.tensors.erase(name);
    refuse(missing.join(), "no such tensor");
    const bool table = name.starts_with("tables.");
    Model shape = good;
    shape.tensors[name].shape.push_back(1);
    if (!table) refuse(shape.join(), "a side more");
    shape.tensors[name].shape = {static_cast<std::int64_t>(tensor.bytes.size()) / 4, 1, 1, 1, 1};
    if (!table) refuse(shape.join(), "another shape");
    shape.tensors[name].shape.push_back(2);
    refuse(shape.join(), "a shape of more elements");
    shape.tensors[name].shape.back() = 0;
    refuse(shape.join(), "a shape of no elements");
    for (const char* dtype : {"I32", "F32", "F16", "F64"}) {
      if (tensor.dtype == dtype) continue;
      Model other = good;
      other.tensors[name].dtype = dtype;
      refuse(other.join(), dtype);
      if (!table) continue;
      other.tensors[name] = {dtype, {0}, {}};
      refuse(other.join(), "an empty table");
    }
  }
  Model more = good;
  more.tensors["g_s.r"] = {.dtype = "F32", .shape = {1}, .bytes = Bytes(4)};
  refuse_model(more.join(), "a tensor that no layer asks for");
}

Bytes words(const std::vector<std::uint32_t>& values) {
  Bytes out(4 * values.size());
  for (std::size_t i = 0; i < values.size(); ++i) glc::store_u32(out.data() + 4 * i, values[i]);
  return out;
}

Model::Tensor table(const char* dtype, const std::vector<std::uint32_t>& values) {
  return {.dtype = dtype, .shape = {std::ssize(values)}, .bytes = words(values)};
}

void hostile_tables() {
  const Model good = Model::of(model_file());
  const auto refuse = [&](const char* name, std::size_t at, std::uint32_t value) {
    Model other = good;
    glc::store_u32(other.tensors[name].bytes.data() + 4 * at, value);
    refuse_model(other.join(), name);
  };
  for (const std::uint32_t value : {0U, 1U, 0x4000U, 0x4001U, 0x7FFFFFFFU, 0x80000000U, ~0U}) {
    refuse("tables.freqs", 0, value);
    refuse("tables.n_bins", 0, value);
  }
  for (const std::uint32_t value : {0x7FFFFFFFU, 0x80000000U}) refuse("tables.offsets", 67, value);
  for (const std::uint32_t value : {0x7FC00000U, 0x7F800000U, 0xBF800000U, 0U, 0x7F7FFFFFU}) {
    refuse("tables.bounds", 5, value);
  }
  for (const std::size_t n : {66U, 68U}) {  // of 68 rows
    Model other = good;
    std::vector<std::uint32_t> bounds;
    for (std::size_t i = 1; i <= n; ++i) {
      bounds.push_back(std::bit_cast<std::uint32_t>(0.1F * static_cast<float>(i)));
    }
    other.tensors["tables.bounds"] = table("F32", bounds);
    refuse_model(other.join(), "bounds of other rows");
  }
  // more rows than 8 bits number
  for (const std::size_t n_rows : {std::size_t{256}, std::size_t{257}, std::size_t{300}}) {
    std::vector<std::uint32_t> freqs;
    std::vector<std::uint32_t> bounds;
    for (std::size_t i = 0; i < n_rows; ++i) {
      freqs.insert(freqs.end(), {0x3FFFU, 1U});
      bounds.push_back(std::bit_cast<std::uint32_t>(0.1F * static_cast<float>(i + 1)));
    }
    bounds.pop_back();
    Model other = good;
    other.tensors["tables.freqs"] = table("I32", freqs);
    other.tensors["tables.n_bins"] = table("I32", std::vector<std::uint32_t>(n_rows, 2));
    other.tensors["tables.offsets"] = table("I32", std::vector<std::uint32_t>(n_rows));
    other.tensors["tables.bounds"] = table("F32", bounds);
    if (n_rows == 256) {
      draw(Decoder(other.join()), small_file(), {.until = 0});
    } else {
      refuse_model(other.join(), "too many rows");
    }
  }
}

void replace(std::string& text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  check(at != std::string::npos, "a header unlike the golden one");
  text.replace(at, from.size(), to);
}

void hostile_headers() {
  const ModelParts good = Model::of(model_file()).parts();
  const auto refuse = [&](std::string_view from, const std::string& to) {
    ModelParts other = good;
    replace(other.header, from, to);
    refuse_model(other.join(), to.substr(0, 100).c_str());
  };
  // of the first two tensors, which are alike but in size
  const std::string first = R"("data_offsets":[0,64])";
  const std::string second = R"("data_offsets":[64,2112])";
  const std::string bias = R"("context.adaptors.0.bias":{"dtype":"F32","shape":[16],)" + first;
  refuse(R"("data_offsets":[2112,2176])", first);  // another bias's
  refuse(first, R"("data_offsets":[1,65])");
  refuse(first, R"("data_offsets":[64,0])");
  refuse(first, R"("data_offsets":[0,65])");
  refuse(first, R"("data_offsets":[-64,0])");
  refuse(first, R"("data_offsets":[0])");
  refuse(first, R"("data_offsets":[0,32,64])");
  refuse(first, R"("data_offsets":[0,64,64])");
  refuse(first, R"("data_offsets":[18446744073709551616,64])");
  refuse(first, R"("data_offsets":[])");
  refuse(first, R"("data_offsets":[9223372036854775743,9223372036854775807])");
  refuse(first, R"("data_offsets":[18446744073709551552,18446744073709551616])");
  refuse(second, R"("data_offsets":[18446744073709551680,18446744073709553728])");
  refuse(R"("shape":[16],)", R"("shape":[-16],)");
  refuse(R"("shape":[16],)", R"("shape":[4294967296,4294967296,4294967296,16],)");
  refuse(R"("shape":[16],)", R"("shape":[0,9223372036854775807,16],)");
  refuse(R"("shape":[16],)", R"("shape":[16.0],)");
  refuse(R"("shape":[16],)", R"("shape":[16,],)");
  refuse(R"("shape":[16],)", R"("shape":16,)");
  refuse(R"("shape":[16],)", "\"shape\":" + std::string(1 << 20, '[') + "16],");
  refuse(R"("shape":[16],)", R"("shape":[16],"more":{},)");
  refuse(R"("dtype":"F32")", R"("dtype":F32)");
  refuse(R"("dtype":"F32")", R"("dtype":"F\u00332")");
  refuse(bias + "},", "");
  refuse(bias + "},", bias + "}," + bias + "},");
  refuse(bias + "}", bias);
  refuse(bias, R"("context.adaptors.0.b\u0069as":{"dtype":"F32","shape":[16],)" + first);
  refuse(R"("__metadata__":{)", R"("__metadata__":{"format":"1",)");
  refuse(R"("__metadata__":{)", R"("__metadata__":{"a":"\\",)");
  refuse(R"("__metadata__":{)", "\"__metadata__\":{\"a\":\"\x1B[2J\",");
  refuse(R"("__metadata__":{)", "\"__metadata__\":{\"a\":\"\xC3\xA4\",");
  refuse(R"("__metadata__":{)", "\"__metadata__\":{\"a\":\"\x7F\",");
  refuse(R"("__metadata__":{)", R"("__metadata__":{"a":1,)");
  refuse(R"("__metadata__":{)", R"("__metadata__":{"a":{"b":"c"},)");
  refuse(R"("__metadata__":{)", R"("__metadata__":{"a":null,)");
  refuse("{", "");
  refuse("{", "[");
  refuse("{", "{,");
  refuse("{", "{}{");
  refuse("{", std::string(1 << 20, '{'));
  ModelParts longer = good;
  longer.header += 'x';
  refuse_model(longer.join(), "text behind the header");
  for (const char* text :
       {"", "{", "{}", "[]", "null", "\"", "{\"", "{\"a\":", "{\"a\":{\"dtype\":"}) {
    refuse_model(ModelParts{text, {}}.join(), text);
    refuse_model(ModelParts{text, good.data}.join(), text);
  }
  for (std::size_t i = 0; i < 8; ++i) {
    Bytes file = model_file();
    file[i] = 0xFF;
    refuse_model(file, "length");
  }
  refuse_model(Bytes(8, 0xFF), "length");
}

/// A header takes time as it is long, not as its square.
void long_headers() {
  ModelParts parts{.header = "{\"__metadata__\":{\"\":\"\"", .data = {}};
  for (int i = 0; i < 100000; ++i) parts.header += ",\"" + std::to_string(i) + "\":\"\"";
  refuse_model(ModelParts{parts.header + "}}", {}}.join(), "no format");
  parts.header = "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":[0";
  for (int i = 0; i < 500000; ++i) parts.header += ",0";
  refuse_model(ModelParts{parts.header + "]}}", {}}.join(), "no metadata");
}

}  // namespace

int main() {
  const std::vector<Case> cases = golden_cases();
  golden_pictures(cases);
  cut_files(cases[0], 101);
  files_with_chunks(cases[0]);
  cut_tiles(cases[3]);
  damaged_files(cases[0]);
  hostile_files();
  arguments(cases[0]);
  thin_pictures();
  encodes_golden_files(cases);
  encodes_within_a_size(cases[1]);
  encodes_odd_pictures();
  refuses_to_encode();
  symbols_are_rounded_and_skipped();
  thresholds_skip_rows();
  ranges_and_their_edges();
  moves();
  networks_of_other_sizes();
  same_weights_otherwise();
  cut_models();
  flipped_models();
  odd_weights();
  hostile_metadata();
  hostile_tensors();
  hostile_tables();
  hostile_headers();
  long_headers();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "check.h"
#include "glc/bitstream.h"
#include "glc/error.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::Unsupported;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
namespace bitstream = glc::bitstream;

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint() {
  std::array<std::uint8_t, bitstream::kFingerprintBytes> out{};
  std::uint8_t next = 40;
  std::ranges::generate(out, [&] { return next++; });
  return out;
}

Bytes file(const bitstream::Header& header,
           const Bytes& payload,
           std::span<const bitstream::Chunk> chunks = {}) {
  Bytes out(bitstream::file_bytes(header, payload.size(), chunks));
  bitstream::write(header, payload, chunks, fingerprint(), out);
  return out;
}

bitstream::Header photo() {
  return {.width = 768, .height = 512, .level = 21, .coder = 2, .model_id = {40, 41}};
}

Bytes payload() { return Bytes(4 + 16 + 6, 7); }

void crc() {
  constexpr std::string_view kText = "123456789";
  const Bytes data(kText.begin(), kText.end());
  const std::span<const std::uint8_t> view(data);
  check_equal(bitstream::crc32c(view), 0xE3069283U, "check value");
  for (std::size_t cut = 0; cut <= data.size(); ++cut) {
    check_equal(bitstream::crc32c(view.subspan(cut), bitstream::crc32c(view.first(cut))),
                0xE3069283U,
                "continued");
  }
}

void round_trip() {
  for (const std::uint32_t side : {1U, 127U, 128U, 16384U, 0xFFFFFFFFU}) {
    bitstream::Header header = photo();
    header.width = side;
    const Bytes data = file(header, payload());
    const bitstream::Parsed parsed = bitstream::parse(data, kAny);
    check_equal(parsed.header.width, side, "width");
    check_equal(parsed.header.height, 512U, "height");
    check_equal(parsed.payload_offset, data.size() - payload().size(), "payload");
    bitstream::check(data, fingerprint());
  }
  check_equal(bitstream::file_bytes(photo(), 4, {}), std::size_t{20}, "header of a photo");
  bitstream::Header header = photo();
  header.coder = 0;
  header.tile = (1U << 26) - 1;
  check_equal(bitstream::parse(file(header, payload()), kAny).header.tile, header.tile, "tile");
}

bool refused(const Bytes& data) {
  try {
    bitstream::check(data, fingerprint());
  } catch (const BitstreamError&) {
    return true;
  } catch (const Unsupported&) {
    return true;
  }
  return false;
}

void hostile(const Bytes& data) {
  for (std::size_t n = 0; n < data.size(); ++n) {
    // a fresh allocation of exactly n bytes, so that a sanitizer sees any read past it
    const Bytes cut(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
    check_throws<BitstreamError>([&] { bitstream::check(cut, fingerprint()); }, "cut");
  }
  for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
    Bytes flipped = data;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    check(refused(flipped), "a flipped bit went unnoticed");
  }
}

void bounds_pixels() {
  const Bytes data = file(photo(), payload());
  check_throws<BitstreamError>([&] { bitstream::parse(data, 768 * 512 - 1); }, "max_pixels");
  bitstream::parse(data, 768 * 512);
}

Bytes with_chunks() {
  const Bytes icc(5, 1);
  const Bytes exif(200, 2);
  const std::array<bitstream::Chunk, 2> chunks{{{1, icc}, {2, exif}}};
  return file(photo(), payload(), chunks);
}

void chunks_come_back() {
  const Bytes data = with_chunks();
  const auto found = bitstream::chunks(data);
  check_equal(found.size(), std::size_t{2}, "chunks");
  check_equal(static_cast<int>(found[1].tag), 2, "tag");
  check_equal(found[1].content.size(), std::size_t{200}, "length");
  check_equal(static_cast<int>(found[1].content[199]), 2, "content");
  check_equal(bitstream::parse(data, kAny).payload_bytes, std::uint64_t{26}, "payload");
  check(bitstream::chunks(file(photo(), payload())).empty(), "no chunks");
  const Bytes content(1);
  const std::array<bitstream::Chunk, 2> twice{{{3, content}, {3, content}}};
  check_throws<InvalidArgument>([&] { bitstream::file_bytes(photo(), 26, twice); }, "same tag");
  const std::array<bitstream::Chunk, 1> essential{{{128, content}}};
  const Bytes newer = file(photo(), payload(), essential);
  check_throws<Unsupported>([&] { bitstream::parse(newer, kAny); }, "essential tag");
  const std::array<bitstream::Chunk, 1> last{{{127, content}}};
  const Bytes shortest = file(photo(), Bytes(4), last);
  check_equal(bitstream::parse(shortest, kAny).payload_bytes, std::uint64_t{4}, "thresholds alone");
  check_equal(bitstream::chunks(shortest).size(), std::size_t{1}, "the last tag to be skipped");
}

Bytes tiled() {  // two tiles: one lane and a word; segments
  bitstream::Header header = photo();
  header.width = 128;
  header.height = 64;
  header.coder = 0;
  header.tile = 1;
  const Bytes body{11, 0, 1, 2, 3, 4, 0, 1, 0, 0, 9, 9, 10, 16, 1, 2, 3, 4, 0, 0, 0, 7, 7};
  return file(header, body);
}

void cut_files_give_their_beginning() {
  const Bytes data = with_chunks();
  for (const std::size_t n : {std::size_t{17}, std::size_t{20}, data.size() - 3, data.size()}) {
    const auto parsed = bitstream::parse(std::span(data).first(n), kAny, true);
    check_equal(parsed.payload_offset, std::size_t{17}, "payload of a cut file");
  }
  const auto head = std::span(data).first(16);
  check_throws<BitstreamError>([&] { bitstream::parse(head, kAny, true); }, "cut header");
}

std::uint64_t sum(const bitstream::Accounting& a) {
  return a.magic_bits + a.version_bits + a.model_id_bits + a.level_bits + a.flags_bits +
         a.size_bits + a.crc_bits + a.tile_bits + a.threshold_bits + a.escape_bits + a.state_bits +
         a.word_bits + a.segment_bits + a.chunk_bits;
}

void sums_to_the_file() {
  const Bytes data = file(photo(), payload());
  const bitstream::Accounting a = bitstream::accounting(data);
  check_equal(sum(a), std::uint64_t{8} * data.size(), "sum");
  check_equal(a.state_bits, std::uint64_t{128}, "four lanes");
  check_equal(a.word_bits, std::uint64_t{48}, "three words");
  const Bytes more = with_chunks();
  check_equal(sum(bitstream::accounting(more)), std::uint64_t{8} * more.size(), "chunks");
  const Bytes tiles = tiled();
  const bitstream::Accounting t = bitstream::accounting(tiles);
  check_equal(sum(t), std::uint64_t{8} * tiles.size(), "tiles");
  check_equal(t.tile_bits, std::uint64_t{40}, "a side, two lengths, two descriptors");
  check_equal(t.segment_bits, std::uint64_t{40}, "a stream of segments");
}

void writer_refuses() {
  Bytes out(64);
  const auto refused = [&](const bitstream::Header& header, const Bytes& body, std::size_t n) {
    check_throws<InvalidArgument>(
        [&] { bitstream::write(header, body, {}, fingerprint(), std::span(out).first(n)); });
  };
  bitstream::Header header = photo();
  refused(header, payload(), 41);
  refused(header, payload(), 43);
  refused(header, Bytes(3), 19);
  header.model_id = {0, 0};
  refused(header, payload(), 42);
  header = photo();
  header.level = 64;
  refused(header, payload(), 42);
}

}  // namespace

int main() {
  crc();
  round_trip();
  hostile(file(photo(), payload()));
  hostile(with_chunks());
  hostile(tiled());
  bounds_pixels();
  chunks_come_back();
  cut_files_give_their_beginning();
  sums_to_the_file();
  writer_refuses();
  return 0;
}

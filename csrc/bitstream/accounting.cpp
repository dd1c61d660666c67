// SPDX-License-Identifier: Apache-2.0
// Where the bits of a file go, read off its outline: no symbol is decoded, nothing is allocated.
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "bitstream/fields.h"
#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "glc/bitstream.h"

namespace glc::bitstream {
namespace {

constexpr std::size_t kStateBytes = 4;
constexpr std::size_t kWordBytes = 2;

std::uint64_t bits(std::size_t n_bytes) { return std::uint64_t{8} * n_bytes; }

/// Thresholds and coder stream of a picture or tile that ends at `end`.
void add_piece(ByteReader& reader, std::size_t end, std::uint8_t coder, Accounting& account) {
  const auto left = [&] { return end - reader.position(); };
  const auto take = [&](std::size_t n, const char* field) {
    if (n > left()) {
      reader.fail(
          field,
          "expected " + std::to_string(n) + " bytes, got " + std::to_string(left()) + ": truncated",
          reader.position());
    }
    reader.bytes(n, field);
    return bits(n);
  };
  account.threshold_bits += take(kThresholdBytes, "thresholds");
  if (coder == kSegmentsBit) {
    account.segment_bits += take(left(), "segments");
    return;
  }
  if ((coder & kEscapeBit) != 0) {
    const std::size_t start = reader.position();
    if (left() == 0) reader.fail("escapes", "expected 1 bytes, got 0: truncated", start);
    const std::uint64_t n_escape =
        reader.varint("escapes", std::numeric_limits<std::uint32_t>::max());
    if (reader.position() > end) reader.fail("escapes", "longer than its tile", start);
    take(static_cast<std::size_t>(n_escape), "escapes");
    account.escape_bits += bits(reader.position() - start);
  }
  account.state_bits += take(kStateBytes << (coder & kLanesMask), "lane states");
  if (left() % kWordBytes != 0) {
    reader.fail("words",
                "expected whole 16-bit words, got " + std::to_string(left()) + " bytes",
                reader.position());
  }
  account.word_bits += take(left(), "words");
}

void add_tiles(ByteReader& reader, std::size_t end, const Header& header, Accounting& account) {
  const std::uint64_t side = std::uint64_t{kTileUnit} * header.tile;
  const std::uint64_t n_tiles =
      ((header.width + side - 1) / side) * ((header.height + side - 1) / side);
  for (std::uint64_t tile = 0; tile < n_tiles; ++tile) {  // ends by an error once bytes run out
    const std::size_t start = reader.position();
    const std::uint64_t n_bytes = reader.varint("tile bytes", end - start);
    if (n_bytes > end - reader.position() || n_bytes == 0) {
      reader.fail("tile bytes",
                  "expected 1 to the " + std::to_string(end - reader.position()) + " left, got " +
                      std::to_string(n_bytes),
                  start);
    }
    const std::size_t tile_end = reader.position() + static_cast<std::size_t>(n_bytes);
    const std::uint8_t coder = reader.u8("tile descriptor");
    if (!is_descriptor(coder)) {
      reader.fail("tile descriptor", "expected at most 32 lanes, or segments alone", start);
    }
    account.tile_bits += bits(reader.position() - start);
    add_piece(reader, tile_end, coder, account);
  }
  if (reader.position() != end) {
    reader.fail(
        "tiles", std::to_string(end - reader.position()) + " bytes too many", reader.position());
  }
}

}  // namespace

Accounting accounting(std::span<const std::uint8_t> data) {
  const Parsed parsed = parse(data, std::numeric_limits<std::uint64_t>::max());
  const Header& header = parsed.header;
  Accounting account;
  account.magic_bits = bits(kMagic.size());
  account.version_bits = bits(1);
  account.model_id_bits = bits(kModelIdBytes);
  account.level_bits = bits(1);
  account.flags_bits = bits(1);
  account.size_bits = bits(varint_bytes(header.width) + varint_bytes(header.height));
  account.crc_bits = bits(kCrcBytes);
  const std::size_t end = parsed.payload_offset + static_cast<std::size_t>(parsed.payload_bytes);
  account.chunk_bits = bits(data.size() - end);
  if (parsed.has_chunks) account.chunk_bits += bits(varint_bytes(parsed.payload_bytes));
  ByteReader reader(data, kContext);
  reader.bytes(parsed.payload_offset, "header");
  if (header.tile != 0) {
    account.tile_bits = bits(varint_bytes(header.tile));
    add_tiles(reader, end, header, account);
  } else {
    add_piece(reader, end, header.coder, account);
  }
  return account;
}

}  // namespace glc::bitstream

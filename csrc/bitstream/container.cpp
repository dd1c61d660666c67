// SPDX-License-Identifier: Apache-2.0
// The bytes are hostile: every read goes through ByteReader, which refuses to pass the end. Nothing
// here allocates except the text of an error, and no length is used before it is compared with what
// is left of the file.
#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <string_view>

#include "bitstream/fields.h"
#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/check.h"
#include "glc/bitstream.h"
#include "glc/error.h"

namespace glc::bitstream {
namespace {

constexpr std::size_t kModelIdOffset = 4;
constexpr std::uint64_t kAnySize = std::numeric_limits<std::uint64_t>::max();

std::string hex(std::uint64_t value, int digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    text += kDigits[(value >> shift) & 15U];
  }
  return text;
}

std::string hex(std::span<const std::uint8_t, kModelIdBytes> id) {
  return hex(id[0], 2) + hex(id[1], 2);
}

std::string size_text(const Header& header) {
  return std::to_string(header.width) + "x" + std::to_string(header.height);
}

std::uint8_t* put_varint(std::uint8_t* out, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7) {
    *out++ = static_cast<std::uint8_t>(value | 0x80U);
  }
  *out++ = static_cast<std::uint8_t>(value);
  return out;
}

void validate(const Header& header, std::size_t payload_bytes, std::span<const Chunk> chunks) {
  if (header.version != kVersion) {
    fail_argument("pack", "version", kVersion, header.version);
  }
  if (header.profile > kMaxProfile) {
    fail_argument("pack", "profile", "0 or 1", header.profile);
  }
  if (header.level > kMaxLevel) {
    fail_argument("pack", "level", "0..63", header.level);
  }
  if (!is_descriptor(header.coder)) {
    fail_argument("pack", "coder", "a descriptor of 1 to 32 lanes, or of segments", header.coder);
  }
  if (header.width == 0 || header.height == 0) {
    fail_argument("pack", "size", "at least 1x1", size_text(header));
  }
  if (header.tile > kMaxTile) {
    fail_argument("pack", "tile", "at most 2^26 - 1", header.tile);
  }
  if (header.tile != 0 && header.coder != 0) {
    fail_argument("pack", "coder", "0: tiles carry their own", header.coder);
  }
  if (payload_bytes < kThresholdBytes) {
    fail_argument("pack", "payload", "at least 4 bytes of thresholds", payload_bytes);
  }
  std::uint8_t last = 0;
  for (const Chunk& chunk : chunks) {
    if (chunk.tag <= last) {
      fail_argument("pack", "chunks", "tags that ascend from 1", chunk.tag);
    }
    last = chunk.tag;
  }
}

void read_version(ByteReader& reader, Header& header) {
  const std::uint8_t byte = reader.u8("version");
  header.version = byte >> 4;
  header.profile = byte & 15U;
  if (header.version != kVersion) {
    throw Unsupported("container: version: expected 1, got " + std::to_string(header.version) +
                      (header.version == 0 ? ": such files were never portable; decode with the "
                                             "release that wrote it (at byte 3)"
                                           : ": written by a newer glc (at byte 3)"));
  }
  if (header.profile > kMaxProfile) {
    throw Unsupported("container: profile: expected 0 or 1, got " + std::to_string(header.profile) +
                      ": written by a newer glc (at byte 3)");
  }
}

void read_flags(ByteReader& reader, Parsed& parsed, bool& tiled) {
  const std::uint8_t flags = reader.u8("flags");
  const std::size_t at = reader.position() - 1;
  if ((flags & kReservedBit) != 0) {
    reader.fail("flags", "expected the reserved bit zero, got 0x" + hex(flags, 2), at);
  }
  parsed.has_chunks = (flags & kChunksBit) != 0;
  tiled = (flags & kTilesBit) != 0;
  parsed.header.coder = flags & kDescriptorMask;
  if (!is_descriptor(parsed.header.coder)) {
    reader.fail("flags",
                "expected at most 32 lanes, or segments alone, got descriptor 0x" +
                    hex(parsed.header.coder, 2),
                at);
  }
  if (tiled && parsed.header.coder != 0) {
    reader.fail("flags",
                "expected descriptor 0 of a tiled picture, got 0x" + hex(parsed.header.coder, 2),
                at);
  }
}

void read_size(ByteReader& reader, Header& header, std::uint64_t max_pixels) {
  constexpr std::uint64_t kMaxSide = std::numeric_limits<std::uint32_t>::max();
  const std::size_t start = reader.position();
  const auto side = [&](const char* name) {
    const std::size_t at = reader.position();
    const auto pixels = static_cast<std::uint32_t>(reader.varint(name, kMaxSide));
    if (pixels == 0) reader.fail(name, "expected at least 1, got 0", at);
    return pixels;
  };
  header.width = side("width");
  header.height = side("height");
  if (std::uint64_t{header.width} * header.height > max_pixels) {
    reader.fail("size",
                "expected at most " + std::to_string(max_pixels) + " pixels, got " +
                    size_text(header) + ": raise max_pixels if you trust this file",
                start);
  }
}

/// One chunk, its content borrowed. Tags ascend, so that no two are alike.
Chunk read_chunk(ByteReader& reader, std::uint8_t last_tag) {
  const std::size_t start = reader.position();
  const std::uint8_t tag = reader.u8("chunk tag");
  if (tag <= last_tag) {
    reader.fail("chunk tag",
                "expected more than " + std::to_string(last_tag) + ", got " + std::to_string(tag),
                start);
  }
  if (tag >= kFirstEssentialTag) {
    throw Unsupported("container: chunk tag: expected one below 128, got " + std::to_string(tag) +
                      ": written by a newer glc (at byte " + std::to_string(start) + ")");
  }
  const std::uint64_t n_bytes = reader.varint("chunk length", reader.remaining());
  return {tag, reader.bytes(static_cast<std::size_t>(n_bytes), "chunk")};
}

std::uint32_t file_crc(std::span<const std::uint8_t> data,
                       std::size_t crc_offset,
                       Fingerprint fingerprint) {
  std::uint32_t crc = crc32c(fingerprint);
  crc = crc32c(data.first(crc_offset), crc);
  return crc32c(data.subspan(crc_offset + kCrcBytes), crc);
}

}  // namespace

namespace {

std::size_t header_bytes(const Header& header, std::size_t payload_bytes, bool has_chunks) {
  return kMagic.size() + 1 + kModelIdBytes + 1 + 1 + varint_bytes(header.width) +
         varint_bytes(header.height) + (header.tile != 0 ? varint_bytes(header.tile) : 0) +
         (has_chunks ? varint_bytes(payload_bytes) : 0) + kCrcBytes;
}

}  // namespace

std::size_t file_bytes(const Header& header,
                       std::size_t payload_bytes,
                       std::span<const Chunk> chunks) {
  validate(header, payload_bytes, chunks);
  std::size_t n = header_bytes(header, payload_bytes, !chunks.empty()) + payload_bytes;
  for (const Chunk& chunk : chunks) {
    n += 1 + varint_bytes(chunk.content.size()) + chunk.content.size();
  }
  return n;
}

void write(const Header& header,
           std::span<const std::uint8_t> payload,
           std::span<const Chunk> chunks,
           Fingerprint fingerprint,
           std::span<std::uint8_t> out) {
  const std::size_t n_bytes = file_bytes(header, payload.size(), chunks);
  const auto model_id = fingerprint.first<kModelIdBytes>();
  if (!std::ranges::equal(header.model_id, model_id)) {
    fail_argument("pack", "model_id", "the fingerprint's " + hex(model_id), hex(header.model_id));
  }
  if (out.size() != n_bytes) {
    fail_argument("pack", "out", n_bytes, out.size());
  }
  std::uint8_t* next = std::ranges::copy(kMagic, out.data()).out;
  *next++ = static_cast<std::uint8_t>(header.version << 4 | header.profile);
  next = std::ranges::copy(header.model_id, next).out;
  *next++ = header.level;
  *next++ = static_cast<std::uint8_t>(header.coder | (chunks.empty() ? 0 : kChunksBit) |
                                      (header.tile != 0 ? kTilesBit : 0));
  next = put_varint(next, header.width);
  next = put_varint(next, header.height);
  if (header.tile != 0) next = put_varint(next, header.tile);
  if (!chunks.empty()) next = put_varint(next, payload.size());
  std::uint8_t* const crc_at = next;
  next = std::ranges::copy(payload, next + kCrcBytes).out;
  for (const Chunk& chunk : chunks) {
    *next++ = chunk.tag;
    next = put_varint(next, chunk.content.size());
    next = std::ranges::copy(chunk.content, next).out;
  }
  const auto crc_offset = static_cast<std::size_t>(crc_at - out.data());
  const std::uint32_t crc = file_crc(out, crc_offset, fingerprint);
  for (std::size_t i = 0; i < kCrcBytes; ++i) {
    crc_at[i] = static_cast<std::uint8_t>(crc >> (8 * i));
  }
}

Parsed parse(std::span<const std::uint8_t> data, std::uint64_t max_pixels, bool cut) {
  if (max_pixels == 0) {
    fail_argument("parse", "max_pixels", "at least 1", max_pixels);
  }
  ByteReader reader(data, kContext);
  Parsed parsed;
  Header& header = parsed.header;
  if (!std::ranges::equal(reader.bytes(kMagic.size(), "magic"), kMagic)) {
    reader.fail("magic", "expected 'GLC', got other bytes: not a .glc file", 0);
  }
  read_version(reader, header);
  std::ranges::copy(reader.bytes(kModelIdBytes, "model id"), header.model_id.begin());
  header.level = reader.u8("level");
  if (header.level > kMaxLevel) {
    reader.fail(
        "level", "expected 0..63, got " + std::to_string(header.level), reader.position() - 1);
  }
  bool tiled = false;
  read_flags(reader, parsed, tiled);
  read_size(reader, header, max_pixels);
  if (tiled) {
    header.tile = static_cast<std::uint32_t>(reader.varint("tile", kMaxTile));
    if (header.tile == 0) reader.fail("tile", "expected at least 1, got 0", reader.position() - 1);
  }
  const std::size_t length_offset = reader.position();
  if (parsed.has_chunks) {
    parsed.payload_bytes = reader.varint("payload bytes", kAnySize);
    if (parsed.payload_bytes < kThresholdBytes) {
      reader.fail("payload bytes",
                  "expected at least 4, got " + std::to_string(parsed.payload_bytes),
                  length_offset);
    }
  }
  parsed.crc_offset = reader.position();
  parsed.crc = reader.u32("crc");
  parsed.payload_offset = reader.position();
  if (!parsed.has_chunks) parsed.payload_bytes = reader.remaining();
  if (cut) return parsed;
  if (parsed.payload_bytes > reader.remaining()) {
    reader.fail("payload bytes",
                "expected at most the " + std::to_string(reader.remaining()) + " left, got " +
                    std::to_string(parsed.payload_bytes) + ": truncated",
                length_offset);
  }
  reader.bytes(kThresholdBytes, "thresholds");
  if (parsed.has_chunks) {
    reader.bytes(static_cast<std::size_t>(parsed.payload_bytes) - kThresholdBytes, "payload");
    std::uint8_t tag = 0;
    do {
      tag = read_chunk(reader, tag).tag;
    } while (reader.remaining() != 0);
  }
  return parsed;
}

std::vector<Chunk> chunks(std::span<const std::uint8_t> data) {
  const Parsed parsed = parse(data, kAnySize);
  std::vector<Chunk> found;
  ByteReader reader(data, kContext);
  reader.bytes(parsed.payload_offset + static_cast<std::size_t>(parsed.payload_bytes), "payload");
  // that their tags ascend, parse() has seen
  while (reader.remaining() != 0) found.push_back(read_chunk(reader, 0));
  return found;
}

void check(std::span<const std::uint8_t> data, Fingerprint fingerprint) {
  const Parsed parsed = parse(data, kAnySize);
  const ByteReader reader(data, kContext);
  const auto model_id = fingerprint.first<kModelIdBytes>();
  if (!std::ranges::equal(parsed.header.model_id, model_id)) {
    reader.fail("model id",
                "expected " + hex(model_id) + " of this model, got " + hex(parsed.header.model_id) +
                    ": the file was made by another model",
                kModelIdOffset);
  }
  const std::uint32_t crc = file_crc(data, parsed.crc_offset, fingerprint);
  if (crc != parsed.crc) {
    reader.fail("crc",
                "expected " + hex(crc, 8) + ", got " + hex(parsed.crc, 8) +
                    ": the file is damaged or was made by another model",
                parsed.crc_offset);
  }
}

}  // namespace glc::bitstream

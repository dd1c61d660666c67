// SPDX-License-Identifier: Apache-2.0
// The bytes are hostile: every read goes through ByteReader, which refuses to pass the end. Nothing
// here allocates except the text of an error, and no length is used before it is compared with what
// is left of the file.
#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <string_view>

#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/check.h"
#include "glc/bitstream.h"
#include "glc/error.h"

namespace glc::bitstream {
namespace {

constexpr std::array<std::uint8_t, 3> kMagic{'G', 'L', 'C'};
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kStateBytes = 4;
constexpr std::size_t kWordBytes = 2;
constexpr std::size_t kModelIdOffset = 4;
constexpr std::uint8_t kLanesMask = 7;
constexpr std::uint64_t kAnySize = std::numeric_limits<std::uint64_t>::max();
constexpr std::string_view kContext = "container";

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

std::uint8_t* put_varint(std::uint8_t* out, std::uint32_t value) {
  for (; value >= 0x80U; value >>= 7) {
    *out++ = static_cast<std::uint8_t>(value | 0x80U);
  }
  *out++ = static_cast<std::uint8_t>(value);
  return out;
}

void validate(const Header& header) {
  if (header.version != kVersion) {
    fail_argument("pack", "version", kVersion, header.version);
  }
  if (header.profile != kProfile) {
    fail_argument("pack", "profile", kProfile, header.profile);
  }
  if (header.level > kMaxLevel) {
    fail_argument("pack", "level", "0..63", header.level);
  }
  if ((header.coder >> 4) != 0 || (header.coder & kLanesMask) > kMaxLog2Lanes) {
    fail_argument("pack", "coder", "a descriptor of 1 to 32 lanes", header.coder);
  }
  if (header.width == 0 || header.height == 0) {
    fail_argument("pack", "size", "at least 1x1", size_text(header));
  }
}

void read_version(ByteReader& reader, Header& header) {
  const std::uint8_t byte = reader.u8("version");
  header.version = byte >> 4;
  header.profile = byte & 15U;
  if (header.version > kVersion) {
    throw Unsupported("container: version: expected 0, got " + std::to_string(header.version) +
                      ": written by a newer glc (at byte 3)");
  }
  if (header.profile > kProfile) {
    throw Unsupported("container: profile: expected 0, got " + std::to_string(header.profile) +
                      ": written by a newer glc (at byte 3)");
  }
}

void read_size(ByteReader& reader, Header& header, std::uint64_t max_pixels) {
  constexpr std::uint64_t kMaxSide = std::numeric_limits<std::uint32_t>::max();
  const std::size_t start = reader.position();
  header.width = static_cast<std::uint32_t>(reader.varint("width", kMaxSide));
  header.height = static_cast<std::uint32_t>(reader.varint("height", kMaxSide));
  if (header.width == 0 || header.height == 0) {
    reader.fail("size", "expected at least 1x1, got " + size_text(header), start);
  }
  if (std::uint64_t{header.width} * header.height > max_pixels) {
    reader.fail("size",
                "expected at most " + std::to_string(max_pixels) + " pixels, got " +
                    size_text(header) + ": raise max_pixels if you trust this file",
                start);
  }
}

std::uint32_t file_crc(std::span<const std::uint8_t> data,
                       std::size_t crc_offset,
                       Fingerprint fingerprint) {
  std::uint32_t crc = crc32c(fingerprint);
  crc = crc32c(data.first(crc_offset), crc);
  return crc32c(data.subspan(crc_offset + kCrcBytes), crc);
}

std::uint64_t bits(std::size_t n_bytes) { return std::uint64_t{8} * n_bytes; }

}  // namespace

std::size_t header_bytes(const Header& header) {
  validate(header);
  return kMagic.size() + 1 + kModelIdBytes + 1 + 1 + varint_bytes(header.width) +
         varint_bytes(header.height) + kCrcBytes;
}

void write(const Header& header,
           std::span<const std::uint8_t> payload,
           Fingerprint fingerprint,
           std::span<std::uint8_t> out) {
  const std::size_t n_header = header_bytes(header);
  const auto model_id = fingerprint.first<kModelIdBytes>();
  if (!std::ranges::equal(header.model_id, model_id)) {
    fail_argument("pack", "model_id", "the fingerprint's " + hex(model_id), hex(header.model_id));
  }
  if (payload.size() < kThresholdBytes) {
    fail_argument("pack", "payload", "at least 4 bytes of thresholds", payload.size());
  }
  if (out.size() != n_header + payload.size()) {
    fail_argument("pack", "out", n_header + payload.size(), out.size());
  }
  std::uint8_t* next = std::ranges::copy(kMagic, out.data()).out;
  *next++ = static_cast<std::uint8_t>(header.version << 4 | header.profile);
  next = std::ranges::copy(header.model_id, next).out;
  *next++ = header.level;
  *next++ = header.coder;
  next = put_varint(next, header.width);
  next = put_varint(next, header.height);
  std::ranges::copy(payload, next + kCrcBytes);
  const std::uint32_t crc = file_crc(out, n_header - kCrcBytes, fingerprint);
  for (std::size_t i = 0; i < kCrcBytes; ++i) {
    next[i] = static_cast<std::uint8_t>(crc >> (8 * i));
  }
}

Parsed parse(std::span<const std::uint8_t> data, std::uint64_t max_pixels) {
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
  header.coder = reader.u8("flags");
  if ((header.coder >> 4) != 0) {
    reader.fail("flags",
                "expected reserved bits zero, got 0x" + hex(header.coder, 2),
                reader.position() - 1);
  }
  if ((header.coder & kLanesMask) > kMaxLog2Lanes) {
    reader.fail("flags",
                "expected at most 32 lanes, got descriptor 0x" + hex(header.coder, 2),
                reader.position() - 1);
  }
  read_size(reader, header, max_pixels);
  parsed.crc_offset = reader.position();
  parsed.crc = reader.u32("crc");
  parsed.payload_offset = reader.position();
  reader.bytes(kThresholdBytes, "thresholds");
  return parsed;
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

Accounting accounting(std::span<const std::uint8_t> data) {
  const Parsed parsed = parse(data, kAnySize);
  Accounting account;
  account.magic_bits = bits(kMagic.size());
  account.version_bits = bits(1);
  account.model_id_bits = bits(kModelIdBytes);
  account.level_bits = bits(1);
  account.flags_bits = bits(1);
  account.size_bits = bits(varint_bytes(parsed.header.width) + varint_bytes(parsed.header.height));
  account.crc_bits = bits(kCrcBytes);
  account.threshold_bits = bits(kThresholdBytes);
  ByteReader reader(data, kContext);
  reader.bytes(parsed.payload_offset + kThresholdBytes, "thresholds");
  if ((parsed.header.coder & kEscapeBit) != 0) {
    const std::size_t start = reader.position();
    const std::uint64_t n_escape = reader.varint("escapes", data.size());
    reader.bytes(static_cast<std::size_t>(n_escape), "escapes");
    account.escape_bits = bits(reader.position() - start);
  }
  const std::size_t n_states = kStateBytes << (parsed.header.coder & kLanesMask);
  reader.bytes(n_states, "lane states");
  account.state_bits = bits(n_states);
  if (reader.remaining() % kWordBytes != 0) {
    reader.fail("words",
                "expected whole 16-bit words, got " + std::to_string(reader.remaining()) + " bytes",
                reader.position());
  }
  account.word_bits = bits(reader.remaining());
  return account;
}

}  // namespace glc::bitstream

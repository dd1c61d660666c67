// SPDX-License-Identifier: Apache-2.0
#include "core/byte_reader.h"

#include <string>

#include "core/little_endian.h"
#include "glc/error.h"

namespace glc {

void ByteReader::fail(std::string_view field, std::string_view what, std::size_t offset) const {
  std::string message(context_);
  message.append(": ").append(field).append(": ").append(what);
  message.append(" (at byte ").append(std::to_string(offset)).append(")");
  throw BitstreamError(message);
}

std::span<const std::uint8_t> ByteReader::bytes(std::size_t n, std::string_view field) {
  if (n > remaining()) {
    fail(field,
         "expected " + std::to_string(n) + " bytes, got " + std::to_string(remaining()) +
             ": the data is truncated",
         position_);
  }
  const auto out = data_.subspan(position_, n);
  position_ += n;
  return out;
}

std::uint8_t ByteReader::u8(std::string_view field) { return bytes(1, field)[0]; }

std::uint16_t ByteReader::u16(std::string_view field) {
  return static_cast<std::uint16_t>(load_u16(bytes(2, field).data()));
}

std::uint32_t ByteReader::u32(std::string_view field) { return load_u32(bytes(4, field).data()); }

std::uint64_t ByteReader::varint(std::string_view field, std::uint64_t max) {
  const std::size_t start = position_;
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const std::uint8_t byte = u8(field);
    const std::uint64_t group = byte & 0x7FU;
    // the tenth byte holds only bit 63
    if (shift > 63 || (shift == 63 && group > 1)) {
      fail(field, "varint longer than 64 bits", start);
    }
    value |= group << shift;
    if ((byte & 0x80U) == 0) {
      if (byte == 0 && shift != 0) {
        fail(field, "varint has a redundant last byte", start);
      }
      break;
    }
  }
  if (value > max) {
    fail(
        field, "expected at most " + std::to_string(max) + ", got " + std::to_string(value), start);
  }
  return value;
}

void ByteReader::finish() const {
  if (remaining() != 0) {
    fail("end", std::to_string(remaining()) + " bytes too many", position_);
  }
}

}  // namespace glc

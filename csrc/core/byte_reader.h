// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace glc {

/// Reads little-endian fields from hostile bytes. Every read is checked; a violation throws
/// BitstreamError naming the context, the field and the byte offset.
class ByteReader {
 public:
  /// `context` prefixes every message (e.g. "container"); both are borrowed.
  ByteReader(std::span<const std::uint8_t> data, std::string_view context)
      : data_(data), context_(context) {}

  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t remaining() const { return data_.size() - position_; }

  std::uint8_t u8(std::string_view field);
  std::uint16_t u16(std::string_view field);
  std::uint32_t u32(std::string_view field);

  /// LEB128: seven bits a byte, lowest first, bit 7 set on all but the last byte. Refuses values
  /// over `max` and any encoding longer than needed, so that one value has one spelling.
  std::uint64_t varint(std::string_view field, std::uint64_t max);

  /// The next `n` bytes, borrowed from the input.
  std::span<const std::uint8_t> bytes(std::size_t n, std::string_view field);

  /// Throws unless everything was read.
  void finish() const;

  /// Throws BitstreamError "context: field: what (at byte offset)".
  [[noreturn]] void fail(std::string_view field, std::string_view what, std::size_t offset) const;

 private:
  std::span<const std::uint8_t> data_;
  std::string_view context_;
  std::size_t position_ = 0;
};

}  // namespace glc

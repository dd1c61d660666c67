// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace glc {

/// Appends little-endian fields; the mirror of ByteReader.
class ByteWriter {
 public:
  void u8(std::uint8_t value);
  void u16(std::uint16_t value);
  void u32(std::uint32_t value);
  void varint(std::uint64_t value);
  void bytes(std::span<const std::uint8_t> data);

  [[nodiscard]] std::size_t size() const { return data_.size(); }
  [[nodiscard]] std::span<const std::uint8_t> view() const { return data_; }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(data_); }

 private:
  std::vector<std::uint8_t> data_;
};

/// Bytes that ByteWriter::varint spends on `value`: 1 to 10.
[[nodiscard]] std::size_t varint_bytes(std::uint64_t value);

}  // namespace glc

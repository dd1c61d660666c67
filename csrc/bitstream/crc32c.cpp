// SPDX-License-Identifier: Apache-2.0
// CRC-32C by eight table look-ups per eight bytes. Table t[j][b] is the CRC of byte b followed by
// j zero bytes, so the eight contributions of a block are independent and combine by xor.
#include <array>
#include <cstddef>

#include "glc/bitstream.h"

namespace glc::bitstream {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41 with its bits reversed
constexpr std::size_t kSlices = 8;

using Tables = std::array<std::array<std::uint32_t, 256>, kSlices>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1U) != 0 ? kPolynomial : 0U);
    }
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < kSlices; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[slice - 1][byte];
      tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xFFU];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> data, std::uint32_t previous) noexcept {
  std::uint32_t crc = ~previous;
  std::size_t i = 0;
  for (; i + kSlices <= data.size(); i += kSlices) {
    std::uint32_t next = 0;
    for (std::size_t j = 0; j < kSlices; ++j) {
      std::uint32_t byte = data[i + j];
      if (j < 4) {
        byte ^= (crc >> (8 * j)) & 0xFFU;
      }
      next ^= kTables[kSlices - 1 - j][byte];
    }
    crc = next;
  }
  for (; i < data.size(); ++i) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ data[i]) & 0xFFU];
  }
  return ~crc;
}

}  // namespace glc::bitstream

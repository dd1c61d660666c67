// SPDX-License-Identifier: Apache-2.0
//
// Elias-gamma numbers, most significant bit first: n >= 1 is floor(log2 n) zero bits, then n in
// binary. The last byte is padded with zero bits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "rans/escape_number.h"

namespace glc::rans {

class BitWriter {
 public:
  /// Appends n in 1 .. 2^63.
  void gamma(std::uint64_t n) {
    const int width = static_cast<int>(std::bit_width(n));
    for (int i = 1; i < width; ++i) bit(false);
    for (int i = width; i-- > 0;) bit((n >> i & 1U) != 0);
  }
  void byte(std::uint8_t value) {
    for (int i = 8; i-- > 0;) bit((value >> i & 1U) != 0);
  }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  void bit(bool value) {
    if (n_bits_ % 8 == 0) bytes_.push_back(0);
    if (value) bytes_.back() = static_cast<std::uint8_t>(bytes_.back() | 0x80U >> n_bits_ % 8);
    ++n_bits_;
  }
  std::vector<std::uint8_t> bytes_;
  std::size_t n_bits_ = 0;
};

class BitReader {
 public:
  BitReader() = default;
  explicit BitReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  /// The next number, or nothing when the bits run out or it has more than max_width bits.
  [[nodiscard]] std::optional<std::uint64_t> gamma(int max_width) {
    int width = 1;
    for (;; ++width) {
      if (at_end() || width > max_width) return std::nullopt;
      if (bit()) break;
    }
    std::uint64_t n = 1;
    for (int i = 1; i < width; ++i) {
      if (at_end()) return std::nullopt;
      n = n << 1 | (bit() ? 1U : 0U);
    }
    return n;
  }

  /// The next 8 bits, or nothing when there are fewer.
  [[nodiscard]] std::optional<std::uint8_t> byte() {
    unsigned value = 0;
    for (int i = 0; i < 8; ++i) {
      if (at_end()) return std::nullopt;
      value = value << 1 | (bit() ? 1U : 0U);
    }
    return static_cast<std::uint8_t>(value);
  }

  [[nodiscard]] std::size_t byte_position() const { return position_ / 8; }
  /// Bytes touched so far.
  [[nodiscard]] std::size_t bytes_used() const { return (position_ + 7) / 8; }

  /// True when all that is left is less than a byte of zero padding.
  [[nodiscard]] bool only_padding_left() { return bytes_used() == bytes_.size() && skip_padding(); }
  /// Skips the padding of the current byte; false when one of its bits is set.
  [[nodiscard]] bool skip_padding() {
    while (position_ % 8 != 0) {
      if (bit()) return false;
    }
    return true;
  }

 private:
  [[nodiscard]] bool at_end() const { return position_ == bytes_.size() * 8; }
  [[nodiscard]] bool bit_at(std::size_t i) const { return (bytes_[i / 8] & 0x80U >> i % 8) != 0; }
  bool bit() { return bit_at(position_++); }

  std::span<const std::uint8_t> bytes_;
  std::size_t position_ = 0;
};

}  // namespace glc::rans

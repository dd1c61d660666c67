// SPDX-License-Identifier: Apache-2.0
//
// Elias-gamma numbers, most significant bit first: n >= 1 is floor(log2 n) zero bits, then n in
// binary. The last byte is padded with zero bits.
#pragma once

#include <algorithm>
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
    put(0, width - 1);
    put(n, width);
  }
  void byte(std::uint8_t value) { put(value, 8); }
  /// All bytes, of which the last is padded; nothing can be appended afterwards.
  [[nodiscard]] std::vector<std::uint8_t> take() {
    for (; n_waiting_ > 0; n_waiting_ -= 8) {
      bytes_.push_back(static_cast<std::uint8_t>(waiting_ << 8 >> n_waiting_));
    }
    return std::move(bytes_);
  }

 private:
  /// Appends a value below 2^n, n <= 64.
  void put(std::uint64_t value, int n) {
    if (n > kWordBits) {
      put(value >> kWordBits, n - kWordBits);
      n = kWordBits;
      value &= UINT32_MAX;
    }
    waiting_ = waiting_ << n | value;
    n_waiting_ += n;
    if (n_waiting_ < kWordBits) return;
    n_waiting_ -= kWordBits;
    const auto word = static_cast<std::uint32_t>(waiting_ >> n_waiting_);
    for (int shift = kWordBits - 8; shift >= 0; shift -= 8) {
      bytes_.push_back(static_cast<std::uint8_t>(word >> shift));
    }
  }

  static constexpr int kWordBits = 32;  // which leave a whole word at a time
  std::vector<std::uint8_t> bytes_;
  std::uint64_t waiting_ = 0;  // its last bits have not left yet
  int n_waiting_ = 0;          // < kWordBits
};

class BitReader {
 public:
  BitReader() = default;
  explicit BitReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  /// The next number, or nothing when the bits run out or it has more than max_width <= 57 bits.
  [[nodiscard]] std::optional<std::uint64_t> gamma(int max_width) {
    const int n_zeros = std::countl_zero(ahead());  // those that follow the end included
    if (n_zeros >= max_width) return stop_after(static_cast<std::size_t>(max_width));
    if (bits_left() <= 2 * static_cast<std::size_t>(n_zeros)) return stop_after(bits_left());
    position_ += static_cast<std::size_t>(n_zeros);
    const std::uint64_t n = ahead() >> (63 - n_zeros);
    position_ += static_cast<std::size_t>(n_zeros) + 1;
    return n;
  }

  /// The next 8 bits, or nothing when there are fewer.
  [[nodiscard]] std::optional<std::uint8_t> byte() {
    if (bits_left() < 8) return stop_after(bits_left());
    const auto value = static_cast<std::uint8_t>(ahead() >> 56);
    position_ += 8;
    return value;
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
  [[nodiscard]] std::size_t bits_left() const { return 8 * bytes_.size() - position_; }

  /// The next bits from the highest on, at least 57 of them; zeros follow the end.
  [[nodiscard]] std::uint64_t ahead() const {
    const auto rest = bytes_.subspan(position_ / 8);
    std::uint64_t bits = 0;
    if (rest.size() >= sizeof(bits)) {
      for (std::size_t i = 0; i < sizeof(bits); ++i) bits = bits << 8 | rest[i];
    } else {
      for (std::size_t i = 0; i < rest.size(); ++i) {
        bits |= std::uint64_t{rest[i]} << 8 * (sizeof(bits) - 1 - i);
      }
    }
    return bits << position_ % 8;
  }

  bool bit() {
    const std::size_t i = position_++;
    return (bytes_[i / 8] & 0x80U >> i % 8) != 0;
  }

  /// Says that there is no number, for which n bits, or all that are left, were looked at.
  std::nullopt_t stop_after(std::size_t n) {
    position_ += std::min(n, bits_left());
    return std::nullopt;
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t position_ = 0;
};

}  // namespace glc::rans

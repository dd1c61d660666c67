// SPDX-License-Identifier: Apache-2.0
//
// The check of what the words cannot vouch for: symbols, escape numbers, and all that order-0 bytes
// are. It has 32 bits: lane 0 begins in the encoder, and has to end in the decoder, at 2^16 + the
// lower half in place of 2^16, and lane 1, where there is one, at 2^16 + the upper half. Every
// start in [2^16, 2^32) serves the algebra as well; these cost half a bit each.
//
// CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1, the highest bit first, from 0, so that nothing
// has the check 0; "123456789" has 31C3. It differs after any change of one bit, of bits within 16,
// or of two bits within 4 KiB. Host and device.
//
// To the CRC is added a weighted sum of the symbols. For a lane that a damaged word led astray may
// meet its old track by chance, a symbol or a few later, and then ends where it should: after one
// of 100 000 flips of a bit with Gaussian tables, one of 50 with many equal frequencies, every one
// where symbols are whole bits. Order-0 bytes have a sum of their own, of 16 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rans/rans_state.h"

namespace glc::rans {

/// The check of some bits and one more.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t check_bit(std::uint32_t check, bool bit) {
  const bool carry = (check >> 15 != 0) != bit;
  return (check << 1 & 0xFFFFU) ^ (carry ? 0x1021U : 0U);
}

/// The same for the eight bits of a byte: their carries at once.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t check_byte(std::uint32_t check,
                                                                 std::uint8_t byte) {
  std::uint32_t carries = check >> 8 ^ byte;
  carries ^= carries >> 4;
  return (check << 8 ^ carries << 12 ^ carries << 5 ^ carries) & 0xFFFFU;
}

/// The check of what came before, and of bytes.
[[nodiscard]] constexpr std::uint32_t check_of(std::span<const std::uint8_t> bytes,
                                               std::uint32_t before = 0) {
  for (const std::uint8_t byte : bytes) before = check_byte(before, byte);
  return before;
}

/// Bytes after which the weights of a sum begin anew: so many that neighbours in a lane, up to 32
/// bytes apart, have different ones.
inline constexpr std::size_t kSumPeriod = 128;
/// The weight of a 16-bit word, low byte first, in the sum, given the place of one of its bytes. It
/// is odd: any change of one byte shows.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t sum_weight(std::uint64_t place) {
  return static_cast<std::uint32_t>(place % kSumPeriod / 2 * 2 + 1);
}
/// The sum of bytes mod 2^16, an odd one at the end being a word's low byte.
[[nodiscard]] std::uint32_t byte_sum(std::span<const std::uint8_t> bytes);

/// The sum of symbols s[0..n) is s[0] * q^(n-1) + ... + s[n-2] * q + s[n-1] mod 2^32, with this q.
/// It is odd: any change of one symbol shows in the lower half, as the symbols of a row are less
/// than 2^16 apart. It was searched for powers q^1, q^2, ... q^96 for which small changes of two
/// symbols do not cancel (spectral test, mod 2^16 and 2^32).
inline constexpr std::uint32_t kSumFactor = 0x83F0BB55U;
/// The weight of a symbol that n more follow.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t sum_power(std::uint64_t n) {
  std::uint32_t power = 1;
  for (std::uint32_t square = kSumFactor; n != 0; n >>= 1, square *= square) {
    if (n % 2 != 0) power *= square;
  }
  return power;
}
/// The sum of what has this one, `before`, and of symbols behind it.
[[nodiscard]] std::uint32_t symbol_sum(std::span<const std::int32_t> symbols,
                                       std::uint32_t before = 0);

/// The check of what has this one and of symbols, or bytes, that have this sum. That of symbols is
/// multiplied once more, so that the last, whose changes show in the final states, fill both
/// halves.
template <class Value>
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t check_with_sum(std::uint32_t check,
                                                                     std::uint32_t sum) {
  return sizeof(Value) == 1 ? (check + sum) & 0xFFFFU : check + sum * kSumFactor;
}

/// Where a lane begins in the encoder and ends in the decoder.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t start_state(int lane, std::uint32_t check) {
  return kStateLow + (lane < 2 ? check >> 16 * lane & 0xFFFFU : 0U);
}

}  // namespace glc::rans

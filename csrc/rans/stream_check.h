// SPDX-License-Identifier: Apache-2.0
//
// The check of what the words cannot vouch for: escape numbers, and all that order-0 bytes are. It
// costs no byte, because it is where lane 0 begins in the encoder and has to end in the decoder:
// at 2^16 + check in place of 2^16. Every start in [2^16, 2^32) serves the algebra as well.
//
// CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1, the highest bit first, from 0, so that nothing
// has the check 0; "123456789" has 31C3. It differs after any change of one bit, of bits within 16,
// or of two bits within 4 KiB. Host and device.
//
// To the CRC of their head and escapes order-0 bytes add a sum of themselves. For a lane that a
// damaged word led astray may meet its old track by chance, a symbol or a few later, and then ends
// where it should: with the sharp tables of bytes, after up to 1 of 200 flips of a bit.
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

/// The check of what has this one and of bytes that have this sum.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t check_with_sum(std::uint32_t check,
                                                                     std::uint32_t sum) {
  return (check + sum) & 0xFFFFU;
}

/// Where a lane begins in the encoder and ends in the decoder.
[[nodiscard]] GLC_HOST_DEVICE constexpr std::uint32_t start_state(int lane, std::uint32_t check) {
  return kStateLow + (lane == 0 ? check : 0U);
}

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
//
// The rANS algebra, shared by every back end, host and device.
//
// What trips the reader first: rANS is a stack. The encoder walks symbols from the last to the
// first and the decoder from the first to the last, so the words of the stream are stored in the
// order in which the decoder wants them. One step of the encoder undoes one step of the decoder:
//
//   encode  if x >= freq << (32 - bits):  push word(x mod 2^16), x = x / 2^16
//           x = (x / freq) << bits  +  x mod freq  +  start
//   decode  slot = x mod 2^bits;  find symbol with start <= slot < start + freq
//           x = freq * (x >> bits) + slot - start
//           if x < 2^16:  x = x << 16 | next word
//
// Every state lies in [2^16, 2^32); since bits <= 16, at most one word moves per step.
// Reference: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "rans/entries.h"

namespace glc::rans {

inline constexpr std::uint32_t kStateLow = 1U << 16;
inline constexpr int kWordBits = 16;

/// floor((2^32 - 1) / freq), freq in 1..65536.
GLC_HOST_DEVICE constexpr std::uint32_t reciprocal_of(std::uint32_t freq) {
  return 0xFFFFFFFFU / freq;
}

/// {quotient, remainder} of x / freq, exact for every 32-bit x and every freq in 1..65536.
///
/// With r = reciprocal_of(freq), 2^32/freq - r <= 1, so x/freq - x*r/2^32 < 1: the estimate
/// floor(x*r/2^32) is the quotient or one below it, and one conditional fix settles it.
struct Division {
  std::uint32_t quotient;
  std::uint32_t remainder;
};
GLC_HOST_DEVICE constexpr Division divide(std::uint32_t x,
                                          std::uint32_t freq,
                                          std::uint32_t reciprocal) {
  std::uint32_t quotient =
      static_cast<std::uint32_t>((static_cast<std::uint64_t>(x) * reciprocal) >> 32);
  std::uint32_t remainder = x - quotient * freq;
  const bool low = remainder >= freq;
  quotient += low ? 1U : 0U;
  remainder -= low ? freq : 0U;
  return {quotient, remainder};
}

/// True when state x must give up a word before coding a symbol of this frequency.
GLC_HOST_DEVICE constexpr bool encode_needs_renorm(std::uint32_t x,
                                                   std::uint32_t freq_minus_1,
                                                   int bits) {
  return (x >> (32 - bits)) > freq_minus_1;
}

/// One encoder step on a renormalised state.
GLC_HOST_DEVICE constexpr std::uint32_t encode_advance(std::uint32_t x,
                                                       EncodeEntry entry,
                                                       int bits) {
  const Division d = divide(x, entry.freq_minus_1 + 1U, entry.reciprocal);
  return (d.quotient << bits) + d.remainder + entry.start;
}

/// The part of the state that selects the symbol.
GLC_HOST_DEVICE constexpr std::uint32_t slot_of(std::uint32_t x, int bits) {
  return x & ((1U << bits) - 1U);
}

/// One decoder step; the result may lie below kStateLow and then takes one word.
GLC_HOST_DEVICE constexpr std::uint32_t decode_advance(std::uint32_t x,
                                                       std::uint32_t slot,
                                                       std::uint32_t start,
                                                       std::uint32_t freq_minus_1,
                                                       int bits) {
  return (freq_minus_1 + 1U) * (x >> bits) + (slot - start);
}

}  // namespace glc::rans

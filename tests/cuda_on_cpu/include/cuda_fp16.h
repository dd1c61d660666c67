// SPDX-License-Identifier: Apache-2.0
//
// Stand-in for CUDA's header: storage and conversion; arithmetic goes through float.
#pragma once

#include <bit>
#include <cstdint>

#include "vector_types.h"

struct __half {
  std::uint16_t bits;
};
using half = __half;
struct alignas(4) __half2 {
  __half x, y;
};
using half2 = __half2;

inline float __half2float(__half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = h.bits & 0x7FFFU;
  if (magnitude >= 0x7C00U) {  // infinity and NaN
    return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  }
  if (magnitude < 0x0400U) {  // zero and subnormals: units of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112U << 23)));
}

/// Rounds to nearest even.
inline __half __float2half_rn(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t half_bits;
  if (magnitude > 0x7F800000U) {
    half_bits = 0x7FFFU;
  } else if (magnitude >= 0x477FF000U) {  // rounds to infinity
    half_bits = 0x7C00U;
  } else if (magnitude < 0x38800000U) {  // below 2^-14: the float adder rounds to units of 2^-24
    const float unit = std::bit_cast<float>(magnitude) + 0.5F;
    half_bits = std::bit_cast<std::uint32_t>(unit) - std::bit_cast<std::uint32_t>(0.5F);
  } else {
    const std::uint32_t odd = magnitude >> 13 & 1U;
    half_bits = (magnitude - (112U << 23) + 0xFFFU + odd) >> 13;
  }
  return {static_cast<std::uint16_t>(sign | half_bits)};
}
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __float2half(float x) { return __float2half_rn(x); }
inline float2 __half22float2(__half2 h) { return {__half2float(h.x), __half2float(h.y)}; }
inline __half2 __floats2half2_rn(float x, float y) {
  return {__float2half_rn(x), __float2half_rn(y)};
}

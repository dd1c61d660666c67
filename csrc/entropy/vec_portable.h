// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the entropy kernels in the compilers' own vectors of four: SSE2, NEON or plain
// code, whatever the baseline has. See vec_avx512.h. `fma` rounds twice: for estimates only.
#pragma once

#include <cstdint>

#include "entropy/vec_lanes.h"

namespace glc::entropy {
namespace {

struct VecPortable {
  static constexpr int kLanes = 4;
  typedef float F __attribute__((vector_size(16)));             // NOLINT(modernize-use-using)
  typedef std::uint32_t U __attribute__((vector_size(16)));     // NOLINT(modernize-use-using)
  typedef std::int32_t Mask __attribute__((vector_size(16)));   // NOLINT(modernize-use-using)
  typedef std::uint64_t Wide __attribute__((vector_size(32)));  // NOLINT(modernize-use-using)
  typedef double Double __attribute__((vector_size(32)));       // NOLINT(modernize-use-using)

  static F load(const float* p) { return F{p[0], p[1], p[2], p[3]}; }
  static void store(float* p, F v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      p[lane] = v[lane];
    }
  }
  using Part = std::int64_t;
  static Part first(std::int64_t n) { return n; }
  static F load(const float* p, Part part) { return load_lanes<F>(p, part); }
  static void store(float* p, F v, Part part) { store_lanes<F>(p, v, part); }
  static F splat(float v) { return F{v, v, v, v}; }
  static U splat(std::uint32_t v) { return U{v, v, v, v}; }
  static U iota() { return U{0, 1, 2, 3}; }
  static U bits(F v) { return reinterpret_cast<U>(v); }
  static F floats(U v) { return reinterpret_cast<F>(v); }

  static F fma(F a, F b, F c) { return a * b + c; }
  static F fnma(F a, F b, F c) { return c - a * b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F abs(F v) { return floats(bits(v) & 0x7FFFFFFFU); }
  static F flip(F v, F sign) { return floats(bits(v) ^ (bits(sign) & 0x80000000U)); }
  static F quotient(F a, F b) { return a / b; }
  static F estimate(F a, F b) { return a / b; }
  static constexpr bool kHasExp2 = false;
  static F round_small(F v) { return round(v); }
  /// From 2^23 on every float is an integer, and adding 2^23 rounds the others half to even.
  static F round(F v) {
    const F all_integers = splat(8388608.0F);
    const F rounder = flip(all_integers, v);
    return abs(v) < all_integers ? (v + rounder) - rounder : v;
  }
  static F scale(F v, F n) {
    return floats(bits(v) + (reinterpret_cast<U>(__builtin_convertvector(n, Mask)) << 23));
  }

  static Mask less(F a, F b) { return a < b; }
  static Mask equal(F a, F b) { return a == b; }
  static F select(Mask m, F yes, F no) { return m ? yes : no; }
  static F where(Mask m, F v) { return floats(reinterpret_cast<U>(m) & bits(v)); }
  static Mask alternate(bool even) { return even ? Mask{-1, 0, -1, 0} : Mask{0, -1, 0, -1}; }
  static Mask all(Mask a, Mask b) { return a & b; }
  static bool every(Mask m) { return (m[0] & m[1] & m[2] & m[3]) != 0; }
  static void store_integers(std::int32_t* p, F v) {
    const F limit = splat(1073741824.0F);  // a conversion out of range is undefined
    const Mask integers = __builtin_convertvector(abs(v) < limit ? round(v) : F{}, Mask);
    for (int lane = 0; lane < kLanes; ++lane) {
      p[lane] = integers[lane];
    }
  }

  static U load(const std::uint32_t* p) { return U{p[0], p[1], p[2], p[3]}; }
  static void store(std::uint32_t* p, U v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      p[lane] = v[lane];
    }
  }
  static void store_bytes(std::uint8_t* p, U v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      p[lane] = static_cast<std::uint8_t>(v[lane]);
    }
  }
  static U load_halves(const std::uint16_t* p) { return U{p[0], p[1], p[2], p[3]}; }
  static void store_halves(std::uint16_t* p, U v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      p[lane] = static_cast<std::uint16_t>(v[lane]);
    }
  }
  static U min(U a, U b) { return a < b ? a : b; }
  static U max(U a, U b) { return a > b ? a : b; }
  static U add_if_greater(U v, U a, U b) { return v - reinterpret_cast<U>(a > b); }

  static U add(U a, U b) { return a + b; }
  static U sub(U a, U b) { return a - b; }
  static U both(U a, U b) { return a & b; }
  static U differ(U a, U b) { return a ^ b; }
  static U shift_left(U v, int n) { return v << n; }
  static U shift_right(U v, int n) { return v >> n; }
  static F from_signed(U v) { return __builtin_convertvector(reinterpret_cast<Mask>(v), F); }
  static U truncated(F v) { return reinterpret_cast<U>(__builtin_convertvector(v, Mask)); }
  static U shift_right_signed(U v, int n) {
    return reinterpret_cast<U>(reinterpret_cast<Mask>(v) >> n);
  }
  static U multiply(U a, U b, U* high) {
    const Wide product = __builtin_convertvector(a, Wide) * __builtin_convertvector(b, Wide);
    *high = __builtin_convertvector(product >> 32, U);
    return __builtin_convertvector(product, U);
  }

  struct Sum {
    Double lanes = {};
    void add(F v) { lanes += __builtin_convertvector(v, Double); }
    [[nodiscard]] double total() const { return lanes[0] + lanes[1] + (lanes[2] + lanes[3]); }
  };
};

}  // namespace
}  // namespace glc::entropy

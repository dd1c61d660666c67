// SPDX-License-Identifier: Apache-2.0
//
// a b + c rounded once, on four floats, where a CPU may have no instruction for it. The C library's
// fmaf is correct there, and takes a hundred times as long.
//
// In double precision the product is exact, and the sum's error can be computed (Knuth's TwoSum).
// Rounding the sum to float as it stands would round twice. So first it is rounded to odd: where it
// is not exact and its last bit is even, the neighbour on the error's side is taken, whose last bit
// is odd. A double has more than two bits beyond a float's, and then rounding to odd and to nearest
// gives what rounding once does (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded
// sums"). Wants the standard's modes (core/float_mode.h), and doubles that are no wider than that.
// Inline: not for files that are compiled for more than the baseline.
#pragma once

#include <cstdint>

namespace glc {

using Float4 = float __attribute__((vector_size(16)));

/// a b + c of every lane. Equal up to the payload and sign of a NaN.
inline Float4 fused(Float4 a, Float4 b, Float4 c) {
#ifdef __FP_FAST_FMAF
  return Float4{__builtin_fmaf(a[0], b[0], c[0]),
                __builtin_fmaf(a[1], b[1], c[1]),
                __builtin_fmaf(a[2], b[2], c[2]),
                __builtin_fmaf(a[3], b[3], c[3])};
#else
  using Double4 = double __attribute__((vector_size(32)));
  using Long4 = std::int64_t __attribute__((vector_size(32)));
  const Double4 product = __builtin_convertvector(a, Double4) * __builtin_convertvector(b, Double4);
  const Double4 term = __builtin_convertvector(c, Double4);
  const Double4 sum = product + term;
  const Double4 of_term = sum - product;
  const Double4 error = (product - (sum - of_term)) + (term - of_term);
  const Long4 inexact = (error > 0.0) | (error < 0.0);   // neither where it is NaN
  const Long4 away = ((error > 0.0) ^ (sum > 0.0)) | 1;  // from zero: 1, towards it: -1
  Long4 bits = reinterpret_cast<Long4>(sum);
  const Long4 even = (bits & 1) - 1;
  bits += inexact & even & away;
  return __builtin_convertvector(reinterpret_cast<Double4>(bits), Float4);
#endif
}

inline float fused(float a, float b, float c) { return fused(Float4{a}, Float4{b}, Float4{c})[0]; }

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
//
// The Vec trait of the entropy kernels for one CUDA thread: vectors of one lane. See vec_avx512.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/cuda_launch.h"
#include "glc/bfloat16.h"

namespace glc::entropy {
namespace {

struct VecCuda {
  static constexpr int kLanes = 1;
  using F = float;
  using U = std::uint32_t;
  using Mask = bool;

  static __host__ __device__ F splat(float v) { return v; }
  static __host__ __device__ U splat(std::uint32_t v) { return v; }
  static __host__ __device__ U bits(F v) { return __builtin_bit_cast(U, v); }
  static __host__ __device__ F floats(U v) { return __builtin_bit_cast(F, v); }
  static __host__ __device__ F fma(F a, F b, F c) { return fmaf(a, b, c); }
  static __host__ __device__ F fnma(F a, F b, F c) { return fmaf(-a, b, c); }
  /// NaN where an operand is one; the CPU's pass on that of b only, and a is a constant.
  static __host__ __device__ F max(F a, F b) {
#ifdef __CUDA_ARCH__
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(a) : "f"(a), "f"(b));
    return a;
#else
    return a > b ? a : b;
#endif
  }
  static __host__ __device__ F min(F a, F b) {
#ifdef __CUDA_ARCH__
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(a) : "f"(a), "f"(b));
    return a;
#else
    return a < b ? a : b;
#endif
  }
  /// a / b to a unit in the last place, for normal b with a normal reciprocal: an estimate of the
  /// reciprocal and a Newton step, where a division is a dozen instructions and a branch.
  static __host__ __device__ F quotient(F a, F b) {
#ifdef __CUDA_ARCH__
    float estimate;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(estimate) : "f"(b));
    return a * fmaf(fmaf(-b, estimate, 1.0F), estimate, estimate);
#else
    return a / b;
#endif
  }
  /// a / b to 2 units in the last place, for such b.
  static __host__ __device__ F estimate(F a, F b) {
#ifdef __CUDA_ARCH__
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(b));
    return a * reciprocal;
#else
    return a / b;
#endif
  }
  static constexpr bool kHasExp2 = true;
  /// 2^v to 2e-7 relative, 0 where that is below 2^-126; NaN stays.
  static __host__ __device__ F exp2(F v) {
#ifdef __CUDA_ARCH__
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(v));
    return v;
#else
    return exp2f(v);
#endif
  }
  static __host__ __device__ F abs(F v) { return fabsf(v); }
  static __host__ __device__ F flip(F v, F sign) {
    return floats(bits(v) ^ (bits(sign) & 0x80000000U));
  }
  static __host__ __device__ F round(F v) { return rintf(v); }
  // Conversions have a sixteenth of the rate of sums. Adding kRounder leaves an integer in the low
  // bits, rounded half to even.
  static constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23
  static __host__ __device__ F round_small(F v) { return (v + kRounder) - kRounder; }
  /// A product, not a sum of exponents: NaN must stay.
  static __host__ __device__ F scale(F v, F n) {
    return v * floats((bits(n + kRounder) << 23) + 0x3F800000U);
  }
  static __host__ __device__ Mask less(F a, F b) { return a < b; }
  static __host__ __device__ Mask equal(F a, F b) { return a == b; }
  static __host__ __device__ F select(Mask m, F yes, F no) { return m ? yes : no; }
  static __host__ __device__ F where(Mask m, F v) { return m ? v : 0.0F; }
  static __host__ __device__ U add(U a, U b) { return a + b; }
  static __host__ __device__ U sub(U a, U b) { return a - b; }
  static __host__ __device__ U both(U a, U b) { return a & b; }
  static __host__ __device__ U differ(U a, U b) { return a ^ b; }
  static __host__ __device__ U shift_right(U v, int n) { return v >> n; }
  static __host__ __device__ U shift_right_signed(U v, int n) {
    return static_cast<U>(static_cast<std::int32_t>(v) >> n);
  }
  static __host__ __device__ F from_signed(U v) {
    return static_cast<F>(static_cast<std::int32_t>(v));
  }
  static __host__ __device__ U truncated(F v) {
    return static_cast<U>(static_cast<std::int32_t>(v));
  }
  static __host__ __device__ U multiply(U a, U b, U* high) {
    const std::uint64_t product = std::uint64_t{a} * b;
    *high = static_cast<U>(product >> 32);
    return static_cast<U>(product);
  }
};

__device__ inline float value(float v) { return v; }
__device__ inline float value(BFloat16 v) {
  return __uint_as_float(static_cast<std::uint32_t>(v.bits) << 16);
}
__device__ inline void put(float* to, float v) { *to = v; }
/// Half to even; NaN stays one.
__device__ inline void put(BFloat16* to, float v) {
  const std::uint32_t bits = __float_as_uint(v);
  const std::uint32_t nearest = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  to->bits = static_cast<std::uint16_t>(v == v ? nearest : (bits >> 16) | 0x40U);
}

/// Threads of a block, and elements that a grid covers at most before it comes round again.
constexpr unsigned kThreads = 256;

inline dim3 grid_for(std::int64_t n) {
  constexpr std::int64_t kMaxBlocks = 1 << 16;
  const std::int64_t blocks = (n + kThreads - 1) / kThreads;
  return dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
}

__device__ inline std::int64_t first_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline std::int64_t index_step() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace
}  // namespace glc::entropy

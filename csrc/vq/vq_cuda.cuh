// SPDX-License-Identifier: Apache-2.0
// Shared by the CUDA files of the search: what the launcher hands to the two ways.
#pragma once

#include <cstdint>
#include <cstring>

#include <cuda_bf16.h>

#include "core/cuda_launch.h"

namespace glc::cuda {

constexpr int kVqDepth = 64;         // the screen's dimensions are padded to a multiple of this,
constexpr int kVqTileCodes = 128;    // its codes to this,
constexpr int kVqFewLatents = 128;   // its latents to this where there are no more,
constexpr int kVqManyLatents = 256;  // and to this otherwise: those of a block
constexpr int kVqFloatTile = 64;     // latents of a block of the float search
constexpr int kVqRoom = 64;          // candidates of a latent in a slice of the codes
constexpr float kVqNoScore = 3e38F;
constexpr float kVqLeastReach = 0x1p-30F;
constexpr float kVqMostReach = 0x1p30F;

/// A float as an integer of the same order; -0 and 0 are one.
__device__ inline std::uint32_t vq_ordered(float x) {
  const std::uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0F));
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

__device__ inline float vq_unordered(std::uint32_t bits) {
  return __uint_as_float((bits & 0x80000000U) != 0 ? bits & 0x7FFFFFFFU : ~bits);
}

__host__ __device__ inline std::int64_t vq_least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}

inline unsigned vq_blocks(std::int64_t n, std::int64_t each) {
  return static_cast<unsigned>((n + each - 1) / each);
}

struct alignas(16) VqFour {
  float values[4];
};

/// From an address that is a multiple of 16, in one load.
__device__ __forceinline__ VqFour vq_four(const float* from) {
  VqFour to;
  std::memcpy(&to, __builtin_assume_aligned(from, sizeof(to)), sizeof(to));
  return to;
}

/// sum + a . b over n dimensions, one chain of fused operations. Both rows are in shared memory,
/// begin at multiples of 16 bytes and go on with zeros to a multiple of 16, which add nothing but
/// the sign of a zero.
__device__ __forceinline__ float vq_chain(float sum, const float* a, const float* b, int n) {
  constexpr int kFours = 4;  // of either row, read before they are needed
  for (int from = 0; from < n; from += 4 * kFours) {
    VqFour left[kFours];
    VqFour right[kFours];
#pragma unroll
    for (int f = 0; f < kFours; ++f) {
      left[f] = vq_four(a + from + 4 * f);
      right[f] = vq_four(b + from + 4 * f);
    }
#pragma unroll
    for (int e = 0; e < 4 * kFours; ++e) {
      sum = __fmaf_rn(left[e / 4].values[e % 4], right[e / 4].values[e % 4], sum);
    }
  }
  return sum;
}

struct VqCandidate {
  float upper;
  std::int32_t code;
};

/// What bounds the error of a row's scores.
struct alignas(16) VqSize {
  float half;   // codes: the half norm, -inf for padding; latents: what the screen makes of it
  float norm;   // at least |row|, before and after rounding
  float error;  // at least |row - row in bf16|
  float unused;
};

/// How the screen divides its work; all 0 where the float way does it alone.
struct VqPlan {
  std::int64_t n;      // padded
  std::int64_t k;      // padded
  std::int64_t d;      // padded
  std::int64_t slice;  // tiles of codes of a block
  std::int64_t n_slices;
};

/// Pointers into the workspace; n, k and d of the screen's are padded.
struct VqScratch {
  float* half_norms;         // [k], of vq.h
  unsigned long long* keys;  // [n]: score, and below it the complement of the code
  std::uint32_t* arrived;    // [ceil(n / kVqFloatTile)] blocks of the float search
  std::uint32_t* reach;      // [1]: bits of the largest |c|
  std::int32_t* lost;        // [n]: 1 where too many candidates, or odd values
  std::uint32_t* threshold;  // [n], ordered: no code whose upper bound is less can win
  std::int32_t* counts;      // [n_slices][n] candidates
  VqCandidate* candidates;   // [n_slices][n][kVqRoom]
  __nv_bfloat16* latents;    // [n][d]
  __nv_bfloat16* codes;      // [k][d]
  VqSize* latent_sizes;      // [n]
  VqSize* code_sizes;        // [k]
};

struct VqProblem {
  const float* latents;
  const float* codebook;
  std::int32_t* indices;
  std::int64_t n;
  std::int64_t k;
  std::int64_t d;
  VqPlan plan;
  VqScratch scratch;
};

/// Whether the screen has to leave latent i to the float search.
__device__ inline bool vq_lost(const VqScratch& s, std::int64_t i) {
  const float reach = __uint_as_float(*s.reach);
  return s.lost[i] != 0 || !(reach >= kVqLeastReach && reach <= kVqMostReach);
}

/// Makes the half norms, clears the keys and counts, and for a plan rounds and measures both sides.
void vq_rows(const VqProblem& problem, cudaStream_t stream);

/// All 0 where screening does not pay.
VqPlan vq_plan(std::int64_t n, std::int64_t k, std::int64_t d);

/// Leaves candidates and thresholds.
void vq_screen(const VqProblem& problem, cudaStream_t stream);

/// The same of many latents on a device of compute capability 9.0.
void vq_screen_hopper(const VqProblem& problem, cudaStream_t stream);

/// Writes the indices of all latents that are not lost.
void vq_rescore(const VqProblem& problem, cudaStream_t stream);

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// Shared by the CUDA files of the search: what the launcher hands to the two ways.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>

#include "core/cuda_launch.h"

namespace glc::cuda {

constexpr std::int64_t kVqMaxScreenDims = 1024;  // a tile of latents has to fit into shared memory
constexpr std::int64_t kVqDepth = 32;            // dimensions are padded to a multiple of this
constexpr int kVqRoom = 128;                     // candidates of a latent
constexpr int kVqLost = 1 << 30;                 // as their count: search this one in float
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

struct VqCandidate {
  float upper;
  std::int32_t code;
};

/// Pointers into the workspace.
struct VqScratch {
  float* half_norms;         // [k], of vq.h
  unsigned long long* keys;  // [n]: score, and below it the complement of the code
  std::uint32_t* threshold;  // [n], ordered: no code whose upper bound is less can win
  std::int32_t* counts;      // [n] candidates
  VqCandidate* candidates;   // [n][kVqRoom]
  __nv_bfloat16* latents;    // [n][padded d]
  __nv_bfloat16* codes;      // [k][padded d]
  float* latent_norm;        // [n]: at least |l|, before and after rounding
  float* latent_error;       // [n]: |l - in bf16|
  float* code_norm;          // [k]
  float* code_error;         // [k]
  std::uint32_t* reach;      // [1]: bits of the largest |c|
};

struct VqProblem {
  const float* latents;
  const float* codebook;
  std::int32_t* indices;
  std::int64_t n;
  std::int64_t k;
  std::int64_t d;
  VqScratch scratch;
};

/// Whether the screen has to leave latent i to the float search.
__device__ inline bool vq_lost(const VqScratch& s, std::int64_t i) {
  const float reach = __uint_as_float(*s.reach);
  return s.counts[i] > kVqRoom || !(reach >= kVqLeastReach && reach <= kVqMostReach);
}

/// Screens, and writes the indices of all latents that are not lost.
void vq_screen(const VqProblem& problem, int n_processors, cudaStream_t stream);

}  // namespace glc::cuda

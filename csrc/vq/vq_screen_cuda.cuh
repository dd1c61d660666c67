// SPDX-License-Identifier: Apache-2.0
// The search through tensor cores, whichever their instructions: scores in bf16 products and
// float32 sums, a bound on their error, and the chain of vq.h for what the bound leaves. The proof
// is that of vq_screen.cpp, without the centre and the map, with dl and dc the rounding of latents
// and codes to bf16, and with one more term in the slack for the sums, which begin at the half
// norm: whatever their order and however a tensor core truncates, each of the d additions is taken
// to err by at most 2^-22 of the sum of magnitudes, <= |c| (|l| + |c|).
//
// A block keeps its latents in shared memory and streams tiles of codes past them; where they do
// not fit, their chunks of 64 dimensions come with the codes'. Half of the warps multiply with one
// half of each tile's codes, half with the other, and the halves stream and wait by themselves,
// half a tile apart: while one judges its scores, the tensor cores serve the other.
#pragma once

#include "core/cuda_barrier.h"
#include "core/cuda_copy.h"
#include "vq/vq_cuda.cuh"

namespace glc::cuda::screen {

constexpr const char* kOp = "vq_nearest";
constexpr int kSide = 64;  // codes of half of the block
constexpr int kUnit = 8;   // bf16 values in 16 bytes
constexpr float kUlp = 0x1p-24F;

using Chunk = __nv_bfloat16[kVqDepth];  // of a row, its units of 16 bytes swizzled

/// A block of kSides x 64 latents, with two warps for each 64.
template <int kSides, int kStagesOfIt>
struct Shared {
  static constexpr int kStages = kStagesOfIt;
  static constexpr int kLatents = kSide * kSides;
  static constexpr int kThreads = kLatents;
  static constexpr int kHalf = kThreads / 2;
  alignas(1024)
      Chunk latents[kStages][kLatents];  // chunk for chunk, where all fit; else stage for stage
  Chunk codes[kStages][kVqTileCodes];
  VqSize code_sizes[kStages][kVqTileCodes];  // of a tile
  VqSize latent_sizes[kLatents];             // half: the slack
  std::uint32_t threshold[kLatents];
  std::int32_t counts[kLatents];
};

/// A tile of codes and a chunk of dimensions.
struct Step {
  int tile = 0;
  int chunk = 0;
  __device__ void advance(int n_chunks) {
    if (++chunk == n_chunks) {
      chunk = 0;
      ++tile;
    }
  }
};

/// Where lane, of those that share a unit of rows, finds it: eight rows fall into all banks.
__device__ __forceinline__ int swizzled(int unit, int row) {
  return (unit ^ (row % kUnit)) * kUnit;
}

/// By kThreads threads, of which this is one.
template <int kRows, int kThreads>
__device__ __forceinline__ void load_chunk(Chunk* to,
                                           const __nv_bfloat16* from,
                                           std::int64_t d,
                                           int thread) {
  constexpr int kUnits = kVqDepth / kUnit;
  constexpr int kRowsAtOnce = kThreads / kUnits;
  static_assert(kRowsAtOnce % kUnit == 0);  // so that all rows of a thread are swizzled alike
  const int unit = thread % kUnits;
  const int first = thread / kUnits;
  __nv_bfloat16* place = &to[first][swizzled(unit, first)];
  from += first * d + unit * kUnit;
#pragma unroll 4
  for (int at = 0; at < kRows; at += kRowsAtOnce) {
    copy_16_async(place, from);
    place += kRowsAtOnce * kVqDepth;
    from += kRowsAtOnce * d;
  }
}

/// The codes of this half of the block, and a share of the latents.
template <class Block>
__device__ __forceinline__ void load_step(const VqProblem& q, Block& shared, Step step) {
  const VqScratch& s = q.scratch;
  const int n_chunks = static_cast<int>(q.plan.d / kVqDepth);
  const int stage = (step.tile * n_chunks + step.chunk) % Block::kStages;
  const int thread = static_cast<int>(threadIdx.x) % Block::kHalf;
  const int first_column = static_cast<int>(threadIdx.x) / Block::kHalf * kSide;
  const std::int64_t first_code =
      (blockIdx.y * q.plan.slice + step.tile) * kVqTileCodes + first_column;
  const std::int64_t column = std::int64_t{step.chunk} * kVqDepth;
  load_chunk<kSide, Block::kHalf>(&shared.codes[stage][first_column],
                                  s.codes + first_code * q.plan.d + column,
                                  q.plan.d,
                                  thread);
  if (step.chunk == 0 && thread < kSide) {
    copy_16_async(&shared.code_sizes[step.tile % Block::kStages][first_column + thread],
                  s.code_sizes + first_code + thread);
  }
  const bool all_fit = n_chunks <= Block::kStages;
  if (all_fit && step.tile != 0) return;
  const std::int64_t first_latent = std::int64_t{blockIdx.x} * Block::kLatents;
  load_chunk<Block::kLatents, Block::kThreads>(shared.latents[all_fit ? step.chunk : stage],
                                               s.latents + first_latent * q.plan.d + column,
                                               q.plan.d,
                                               static_cast<int>(threadIdx.x));
}

__device__ __forceinline__ float error_bound(const VqSize& latent, const VqSize& code) {
  return __fmaf_rn(latent.error, code.norm, __fmaf_rn(latent.norm, code.error, latent.half));
}

/// Keeps a code whose score is at most upper.
template <class Block>
__device__ __forceinline__ void keep(
    const VqProblem& q, Block& shared, int latent, float upper, std::int64_t code) {
  const std::int64_t i = std::int64_t{blockIdx.x} * Block::kLatents + latent;
  const std::int32_t place = atomicAdd(&shared.counts[latent], 1);
  if (place < kVqRoom) {
    q.scratch.candidates[(blockIdx.y * q.plan.n + i) * kVqRoom + place] = {
        upper, static_cast<std::int32_t>(code)};
  } else {
    atomicMax(&q.scratch.lost[i], 1);
    atomicMax(&shared.threshold[latent], vq_ordered(kVqNoScore));  // let nobody add more
  }
}

/// Raises a latent's threshold to lower, where it is not as high; returns what it is.
template <class Block>
__device__ __forceinline__ float raise(Block& shared, int latent, float lower) {
  atomicMax(&shared.threshold[latent], vq_ordered(lower));
  return vq_unordered(load_relaxed(shared.threshold[latent]));
}

/// The largest norm and error of 64 codes.
__device__ __forceinline__ VqSize largest_size(const VqSize* codes) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const auto larger_of = [](float a, float b) {
    return __uint_as_float(__reduce_max_sync(kFullWarp, __float_as_uint(fmaxf(a, b))));
  };
  const VqSize& one = codes[lane];
  const VqSize& other = codes[lane + kWarpLanes];
  return {0, larger_of(one.norm, other.norm), larger_of(one.error, other.error), 0};
}

/// Tells the other slices' blocks the thresholds of a warp's latents, and hears of theirs.
template <class Block>
__device__ __forceinline__ void exchange(const VqProblem& q, Block& shared, int first_latent) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll 1
  for (int latent = first_latent + lane; latent < first_latent + kSide; latent += kWarpLanes) {
    const std::int64_t i = std::int64_t{blockIdx.x} * Block::kLatents + latent;
    const std::uint32_t mine = load_relaxed(shared.threshold[latent]);
    const std::uint32_t known = atomicMax(&q.scratch.threshold[i], mine);
    if (known > mine) atomicMax(&shared.threshold[latent], known);
  }
}

template <class Block>
__device__ __forceinline__ void begin(const VqProblem& q, Block& shared, float reach) {
  const std::int64_t i = std::int64_t{blockIdx.x} * Block::kLatents + threadIdx.x;
  VqSize size = q.scratch.latent_sizes[i];
  size.half = 12.0F * static_cast<float>(q.plan.d + 64) * kUlp * reach * (reach + size.norm);
  shared.latent_sizes[threadIdx.x] = size;
  shared.threshold[threadIdx.x] = q.scratch.threshold[i];
  shared.counts[threadIdx.x] = 0;
}

/// One block a processor: a lane has 128 sums, which are Way's.
template <class Way>
__global__ void __launch_bounds__(Way::Block::kThreads, 1) screen_kernel(VqProblem q) {
  using Block = typename Way::Block;
  constexpr int kStages = Block::kStages;
  auto& shared = *dynamic_shared<Block>();
  const float reach = __uint_as_float(*q.scratch.reach);
  if (!(reach >= kVqLeastReach && reach <= kVqMostReach)) return;
  begin(q, shared, reach);
  const int n_chunks = static_cast<int>(q.plan.d / kVqDepth);
  const bool all_fit = n_chunks <= kStages;
  const std::int64_t first_tile = blockIdx.y * q.plan.slice;
  const int n_tiles =
      static_cast<int>(vq_least(q.plan.slice, q.plan.k / kVqTileCodes - first_tile));
  const int half = static_cast<int>(threadIdx.x) / Block::kHalf;
  const int first_latent = static_cast<int>(threadIdx.x) % Block::kHalf / kWarpLanes * kSide;
  const int first_column = half * kSide;
  // From tile 1 on, where the second half waits until the first is in the middle of it.
  const Step meeting = {1, half == 0 ? n_chunks / 2 : 0};

  Step ahead;
  for (int stage = 0; stage < kStages - 1; ++stage, ahead.advance(n_chunks)) {
    if (ahead.tile < n_tiles) load_step(q, shared, ahead);
    commit_copies();
  }
  Way way;
  int stage = 0;
  for (Step step; step.tile < n_tiles; stage = (stage + 1) % kStages) {
    wait_copies<kStages - 2>();
    Way::show_copies();
    const bool alone =
        all_fit && step.tile != 0 && (step.tile != meeting.tile || step.chunk != meeting.chunk);
    sync_threads(alone ? 1 + half : 0, alone ? Block::kHalf : Block::kThreads);
    const VqSize* const codes = &shared.code_sizes[step.tile % kStages][first_column];
    if (step.chunk == 0) way.start(codes);
    const Chunk* const latents = shared.latents[all_fit ? step.chunk : stage];
    way.multiply(latents, &shared.codes[stage][first_column], [&] {
      if (ahead.tile < n_tiles) load_step(q, shared, ahead);
      commit_copies();
      ahead.advance(n_chunks);
    });
    if (step.chunk == n_chunks - 1) {
      const std::int64_t first_code = (first_tile + step.tile) * kVqTileCodes + first_column;
      way.judge(q, shared, codes, first_code, step.tile == 0);
      const int n_done = step.tile + 1;
      if ((n_done & (n_done - 1)) == 0) exchange(q, shared, first_latent);
    }
    step.advance(n_chunks);
  }
  __syncthreads();
  const std::int64_t i = std::int64_t{blockIdx.x} * Block::kLatents + threadIdx.x;
  atomicMax(&q.scratch.threshold[i], shared.threshold[threadIdx.x]);
  q.scratch.counts[blockIdx.y * q.plan.n + i] = shared.counts[threadIdx.x];
}

template <class Way>
void launch_screen(const VqProblem& q, cudaStream_t stream) {
  using Block = typename Way::Block;
  allow_shared_bytes(kOp, screen_kernel<Way>, sizeof(Block));
  const dim3 grid(vq_blocks(q.plan.n, Block::kLatents), static_cast<unsigned>(q.plan.n_slices));
  launch(kOp, screen_kernel<Way>, {grid, Block::kThreads, sizeof(Block)}, stream, q);
}

}  // namespace glc::cuda::screen

// SPDX-License-Identifier: Apache-2.0
// The search through tensor cores: scores in bf16 products and float32 sums, a bound on their
// error, and the chain of vq.h for what the bound leaves. The proof is that of vq_screen.cpp,
// without the centre and the map, with dl and dc the rounding of latents and codes to bf16, and
// with one more term in the slack for the sums, which begin at the half norm: whatever their order
// and however a tensor core truncates, each of the d additions is taken to err by at most 2^-22 of
// the sum of magnitudes, <= |c| (|l| + |c|).
//
// A block keeps its latents in shared memory and streams tiles of codes past them; where they do
// not fit, their chunks of 64 dimensions come with the codes'. A warp has 64 x 64 sums: of a tile
// it first takes each latent's largest score, and only where that comes within the largest error of
// the latent's threshold does it look at the codes one by one.
#include <limits>

#include "core/cuda_copy.h"
#include "core/cuda_mma.h"
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr int kSide = 64;  // latents, and codes, of a warp
constexpr int kUnit = 8;   // bf16 values in 16 bytes
constexpr int kRowTiles = kSide / 16;
constexpr int kColumnTiles = kSide / 8;
constexpr int kLaneCodes = 2 * kColumnTiles;  // of one latent in a lane
constexpr float kUlp = 0x1p-24F;

using Chunk = __nv_bfloat16[kVqDepth];  // of a row, its units of 16 bytes swizzled
using Sums = float[kRowTiles][kColumnTiles][4];
using Thresholds = float[kRowTiles][2];

/// 64 latents, two warps and a stage of the pipeline go together: 4 fill a Hopper's shared memory.
template <int kStages>
struct Shared {
  static constexpr int kLatents = kSide * kStages;
  static constexpr int kThreads = kLatents;
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

template <int kRows, int kThreads>
__device__ __forceinline__ void load_chunk(Chunk* to, const __nv_bfloat16* from, std::int64_t d) {
  constexpr int kUnits = kVqDepth / kUnit;
  const int unit = static_cast<int>(threadIdx.x) % kUnits;
  const int first = static_cast<int>(threadIdx.x) / kUnits;
#pragma unroll
  for (int at = 0; at < kRows; at += kThreads / kUnits) {
    const int row = first + at;
    copy_16_async(&to[row][swizzled(unit, row)], from + row * d + unit * kUnit);
  }
}

template <int kStages>
__device__ __forceinline__ void load_step(const VqProblem& q, Shared<kStages>& shared, Step step) {
  constexpr int kLatents = Shared<kStages>::kLatents;
  const VqScratch& s = q.scratch;
  const int n_chunks = static_cast<int>(q.plan.d / kVqDepth);
  const int stage = (step.tile * n_chunks + step.chunk) % kStages;
  const std::int64_t first_code = (blockIdx.y * q.plan.slice + step.tile) * kVqTileCodes;
  const std::int64_t column = std::int64_t{step.chunk} * kVqDepth;
  load_chunk<kVqTileCodes, kLatents>(
      shared.codes[stage], s.codes + first_code * q.plan.d + column, q.plan.d);
  if (step.chunk == 0) {
    for (int at = static_cast<int>(threadIdx.x); at < kVqTileCodes; at += kLatents) {
      copy_16_async(&shared.code_sizes[step.tile % kStages][at], s.code_sizes + first_code + at);
    }
  }
  const bool all_fit = n_chunks <= kStages;
  if (all_fit && step.tile != 0) return;
  const std::int64_t first_latent = std::int64_t{blockIdx.x} * kLatents;
  load_chunk<kLatents, kLatents>(shared.latents[all_fit ? step.chunk : stage],
                                 s.latents + first_latent * q.plan.d + column,
                                 q.plan.d);
}

/// sum += 64 latents x 64 codes, 64 dimensions.
__device__ __forceinline__ void multiply(Sums& sum, const Chunk* latents, const Chunk* codes) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const Chunk* const latent = latents + lane % 16;
  const Chunk* const code = codes + lane % 8 + lane / 16 * 8;
#pragma unroll
  for (int t = 0; t < kVqDepth / 16; ++t) {
    std::uint32_t a[kRowTiles][4];
    std::uint32_t b[kColumnTiles / 2][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      load_matrices(a[m], &latent[16 * m][swizzled(2 * t + lane / 16, lane)]);
    }
#pragma unroll
    for (int c = 0; c < kColumnTiles / 2; ++c) {
      load_matrices(b[c], &code[16 * c][swizzled(2 * t + lane / 8 % 2, lane)]);
    }
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
      const std::uint32_t factor[2] = {b[c / 2][c % 2 * 2], b[c / 2][c % 2 * 2 + 1]};
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) mma_bf16(sum[m][c], a[m], factor);
    }
  }
}

__device__ __forceinline__ float error_bound(const VqSize& latent, float norm, float error) {
  return __fmaf_rn(latent.error, norm, __fmaf_rn(latent.norm, error, latent.half));
}

/// The code of a lane's c-th score, of the warp's 64.
__device__ __forceinline__ int column_of(int c, int lane) {
  return c / 2 * 8 + 2 * (lane % 4) + c % 2;
}

/// One latent's scores in a lane; four lanes share a latent.
struct Row {
  float score[kLaneCodes];
  float largest;
  float bound;  // of the error of any of them
};

__device__ __forceinline__ Row row_of(const Sums& sum, int m, int r) {
  Row row;
  row.largest = -kVqNoScore;
#pragma unroll
  for (int c = 0; c < kLaneCodes; ++c) {
    row.score[c] = sum[m][c / 2][2 * r + c % 2];
    row.largest = fmaxf(row.largest, row.score[c]);
  }
  return row;
}

/// Raises the threshold of a latent by the scores of a warp, and keeps the codes that it leaves.
template <int kStages>
__device__ __forceinline__ void judge_row(const VqProblem& q,
                                          Shared<kStages>& shared,
                                          const Row& row,
                                          const VqSize* codes,
                                          std::int64_t first_code,
                                          int latent,
                                          float& threshold) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  float largest = fmaxf(row.largest, __shfl_xor_sync(kFullWarp, row.largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, 2));
  const std::uint32_t mine = vq_ordered(largest - row.bound);
  std::uint32_t known = lane % 4 == 0 ? atomicMax(&shared.threshold[latent], mine) : 0;
  known = __shfl_sync(kFullWarp, known, lane / 4 * 4);
  threshold = vq_unordered(mine > known ? mine : known);
  unsigned left = 0;
#pragma unroll
  for (int c = 0; c < kLaneCodes; ++c) {
    if (row.score[c] + row.bound >= threshold) left |= 1U << c;
  }
  for (; left != 0; left &= left - 1) {
    const int at = __ffs(static_cast<int>(left)) - 1;
    float score = row.score[0];
#pragma unroll
    for (int c = 1; c < kLaneCodes; ++c) score = at == c ? row.score[c] : score;
    const VqSize& code = codes[column_of(at, lane)];
    const float upper = score + error_bound(shared.latent_sizes[latent], code.norm, code.error);
    if (!(upper >= threshold)) continue;
    const std::int64_t i = std::int64_t{blockIdx.x} * Shared<kStages>::kLatents + latent;
    const std::int32_t place = atomicAdd(&shared.counts[latent], 1);
    if (place < kVqRoom) {
      q.scratch.candidates[(blockIdx.y * q.plan.n + i) * kVqRoom + place] = {
          upper, static_cast<std::int32_t>(first_code + column_of(at, lane))};
    } else {
      atomicMax(&q.scratch.lost[i], 1);
      atomicMax(&shared.threshold[latent], vq_ordered(kVqNoScore));  // let nobody add more
    }
  }
}

/// A warp's 64 x 64 scores.
template <int kStages>
__device__ __forceinline__ void judge(const VqProblem& q,
                                      Shared<kStages>& shared,
                                      const Sums& sum,
                                      const VqSize* codes,
                                      std::int64_t first_code,
                                      int first_latent,
                                      Thresholds& threshold) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const auto largest_of = [](float a, float b) {
    return __uint_as_float(__reduce_max_sync(kFullWarp, __float_as_uint(fmaxf(a, b))));
  };
  const VqSize& one = codes[lane];
  const VqSize& other = codes[lane + kWarpLanes];
  const float norm = largest_of(one.norm, other.norm);
  const float error = largest_of(one.error, other.error);
  float bound[kRowTiles][2];
  unsigned near = 0;
#pragma unroll
  for (int at = 0; at < 2 * kRowTiles; ++at) {
    const int m = at / 2;
    const int r = at % 2;
    const VqSize& latent = shared.latent_sizes[first_latent + 16 * m + 8 * r + lane / 4];
    bound[m][r] = error_bound(latent, norm, error);
    if (row_of(sum, m, r).largest + bound[m][r] >= threshold[m][r]) near |= 1U << at;
  }
  near = __reduce_or_sync(kFullWarp, near);
  if (near == 0) return;
#pragma unroll
  for (int at = 0; at < 2 * kRowTiles; ++at) {
    if ((near >> at & 1U) == 0) continue;
    const int m = at / 2;
    const int r = at % 2;
    Row row = row_of(sum, m, r);
    row.bound = bound[m][r];
    const int latent = first_latent + 16 * m + 8 * r + lane / 4;
    judge_row(q, shared, row, codes, first_code, latent, threshold[m][r]);
  }
}

/// Tells the other slices' blocks the thresholds of this one, and hears of theirs.
template <int kStages>
__device__ __forceinline__ void exchange(const VqProblem& q,
                                         Shared<kStages>& shared,
                                         int first_latent,
                                         Thresholds& threshold) {
  const std::int64_t i = std::int64_t{blockIdx.x} * Shared<kStages>::kLatents + threadIdx.x;
  const std::uint32_t mine = atomicMax(&shared.threshold[threadIdx.x], 0U);
  atomicMax(&shared.threshold[threadIdx.x], atomicMax(&q.scratch.threshold[i], mine));
  __syncthreads();  // and another before anybody raises one
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
  for (int at = 0; at < 2 * kRowTiles; ++at) {
    const int latent = first_latent + 16 * (at / 2) + 8 * (at % 2) + lane / 4;
    threshold[at / 2][at % 2] = vq_unordered(shared.threshold[latent]);
  }
}

template <int kStages>
__device__ __forceinline__ void begin(const VqProblem& q, Shared<kStages>& shared, float reach) {
  const std::int64_t i = std::int64_t{blockIdx.x} * Shared<kStages>::kLatents + threadIdx.x;
  VqSize size = q.scratch.latent_sizes[i];
  size.half = 12.0F * static_cast<float>(q.plan.d + 64) * kUlp * reach * (reach + size.norm);
  shared.latent_sizes[threadIdx.x] = size;
  shared.threshold[threadIdx.x] = q.scratch.threshold[i];
  shared.counts[threadIdx.x] = 0;
}

/// One block a processor: a lane has 128 sums.
template <int kStages>
__global__ void __launch_bounds__(Shared<kStages>::kThreads, 1) screen_kernel(VqProblem q) {
  auto& shared = *dynamic_shared<Shared<kStages>>();
  const float reach = __uint_as_float(*q.scratch.reach);
  if (!(reach >= kVqLeastReach && reach <= kVqMostReach)) return;
  begin(q, shared, reach);
  const int n_chunks = static_cast<int>(q.plan.d / kVqDepth);
  const std::int64_t first_tile = blockIdx.y * q.plan.slice;
  const int n_tiles =
      static_cast<int>(vq_least(q.plan.slice, q.plan.k / kVqTileCodes - first_tile));
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int first_latent = warp / 2 * kSide;
  const int first_column = warp % 2 * kSide;

  Step ahead;
  for (int stage = 0; stage < kStages - 1; ++stage, ahead.advance(n_chunks)) {
    if (ahead.tile < n_tiles) load_step(q, shared, ahead);
    commit_copies();
  }
  Sums sum;
  Thresholds threshold;
  for (auto& pair : threshold) pair[0] = pair[1] = -kVqNoScore;
  int stage = 0;
  for (Step step; step.tile < n_tiles; stage = (stage + 1) % kStages) {
    wait_copies<kStages - 2>();
    __syncthreads();
    if (ahead.tile < n_tiles) load_step(q, shared, ahead);
    commit_copies();
    ahead.advance(n_chunks);
    const VqSize* const codes = &shared.code_sizes[step.tile % kStages][first_column];
    if (step.chunk == 0) {
#pragma unroll
      for (int at = 0; at < kRowTiles * kColumnTiles * 4; ++at) {
        const int c = at / 4 % kColumnTiles;
        sum[at / 4 / kColumnTiles][c][at % 4] = codes[column_of(2 * c + at % 2, lane)].half;
      }
    }
    const int slot = n_chunks <= kStages ? step.chunk : stage;
    multiply(sum, &shared.latents[slot][first_latent], &shared.codes[stage][first_column]);
    if (step.chunk == n_chunks - 1) {
      const std::int64_t first_code = (first_tile + step.tile) * kVqTileCodes + first_column;
      judge(q, shared, sum, codes, first_code, first_latent, threshold);
      const int n_done = step.tile + 1;
      if ((n_done & (n_done - 1)) == 0) exchange(q, shared, first_latent, threshold);
    }
    step.advance(n_chunks);
  }
  __syncthreads();
  const std::int64_t i = std::int64_t{blockIdx.x} * Shared<kStages>::kLatents + threadIdx.x;
  atomicMax(&q.scratch.threshold[i], shared.threshold[threadIdx.x]);
  q.scratch.counts[blockIdx.y * q.plan.n + i] = shared.counts[threadIdx.x];
}

template <int kStages>
void launch_screen(const VqProblem& q, cudaStream_t stream) {
  using Block = Shared<kStages>;
  allow_shared_bytes(kOp, screen_kernel<kStages>, sizeof(Block));
  const dim3 grid(vq_blocks(q.plan.n, Block::kLatents), static_cast<unsigned>(q.plan.n_slices));
  launch(kOp, screen_kernel<kStages>, {grid, Block::kThreads, sizeof(Block)}, stream, q);
}

}  // namespace

VqPlan vq_plan(std::int64_t n, std::int64_t k, std::int64_t d) {
  constexpr std::int64_t kMinDims = 32;    // below, the float way does not wait for memory either
  constexpr std::int64_t kMaxDims = 4096;  // of the bounds: kUp
  constexpr std::int64_t kMinCodes = 256;
  constexpr std::int64_t kProcessors = 132;  // of an H100; the workspace is the same on any device
  constexpr std::int64_t kStart = 1;  // a block's first tile waits for memory as long as another
  if (d < kMinDims || d > kMaxDims || k < kMinCodes || n == 0) return {};
  const std::int64_t each = n <= kVqFewLatents ? kVqFewLatents : kVqManyLatents;
  const std::int64_t latent_tiles = vq_blocks(n, each);
  const std::int64_t code_tiles = vq_blocks(k, kVqTileCodes);
  std::int64_t slice = code_tiles;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t wanted = 1; wanted <= vq_least(code_tiles, kProcessors); ++wanted) {
    const std::int64_t tiles = vq_blocks(code_tiles, wanted);
    const std::int64_t blocks = latent_tiles * vq_blocks(code_tiles, tiles);
    const std::int64_t time = vq_blocks(blocks, kProcessors) * (tiles + kStart);
    if (time < least) {
      least = time;
      slice = tiles;
    }
  }
  return {latent_tiles * each,
          code_tiles * kVqTileCodes,
          vq_blocks(d, kVqDepth) * std::int64_t{kVqDepth},
          slice,
          vq_blocks(code_tiles, slice)};
}

void vq_screen(const VqProblem& q, cudaStream_t stream) {
  int device = 0;
  int shared_bytes = 0;
  check(cudaGetDevice(&device), kOp);
  check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        kOp);
  const bool many =
      q.plan.n > kVqFewLatents && static_cast<std::size_t>(shared_bytes) >= sizeof(Shared<4>);
  many ? launch_screen<4>(q, stream) : launch_screen<2>(q, stream);
}

}  // namespace glc::cuda

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
// it first takes each latent's largest score in a lane, and only where that comes within the
// largest error of the latent's threshold does it look at the codes one by one.
//
// Half of the warps multiply with one half of each tile's codes, half with the other, and the
// halves stream and wait by themselves, half a tile apart: while one judges, the tensor cores serve
// the other.
#include <limits>

#include "core/cuda_barrier.h"
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

/// A block of kSides x 64 latents, with two warps for each 64.
template <int kSides, int kStagesOfIt>
struct Shared {
  static constexpr int kStages = kStagesOfIt;
  static constexpr int kLatents = kSide * kSides;
  static constexpr int kThreads = kLatents;
  static constexpr int kHalf = kThreads / 2;
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

/// sum += 64 latents x 64 codes, 64 dimensions. Calls prepare() while it waits for the first.
template <class Prepare>
__device__ __forceinline__ void multiply(Sums& sum,
                                         const Chunk* latents,
                                         const Chunk* codes,
                                         Prepare prepare) {
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
    if (t == 0) prepare();
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

/// The largest of one latent's scores in a lane; four lanes share a latent.
__device__ __forceinline__ float largest_of(const Sums& sum, int m, int r) {
  float largest = -kVqNoScore;
#pragma unroll
  for (int c = 0; c < kLaneCodes; ++c) largest = fmaxf(largest, sum[m][c / 2][2 * r + c % 2]);
  return largest;
}

/// Raises the threshold of a latent by its scores in a lane, none of which errs by more than bound,
/// and keeps the codes that it leaves.
template <class Block>
__device__ __forceinline__ void judge_row(const VqProblem& q,
                                          Block& shared,
                                          const float (&score)[kLaneCodes],
                                          float lower,
                                          float bound,
                                          const VqSize* codes,
                                          std::int64_t first_code,
                                          int latent) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  atomicMax(&shared.threshold[latent], vq_ordered(lower));
  const float threshold = vq_unordered(load_relaxed(shared.threshold[latent]));
  unsigned left = 0;
#pragma unroll
  for (int c = 0; c < kLaneCodes; ++c) {
    if (score[c] + bound >= threshold) left |= 1U << c;
  }
  for (; left != 0; left &= left - 1) {
    const int at = __ffs(static_cast<int>(left)) - 1;
    float mine = score[0];
#pragma unroll
    for (int c = 1; c < kLaneCodes; ++c) mine = at == c ? score[c] : mine;
    const VqSize& code = codes[column_of(at, lane)];
    const float upper = mine + error_bound(shared.latent_sizes[latent], code.norm, code.error);
    if (!(upper >= threshold)) continue;
    const std::int64_t i = std::int64_t{blockIdx.x} * Block::kLatents + latent;
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

/// A warp's 64 x 64 scores, each lane for itself.
template <class Block>
__device__ __forceinline__ void judge(const VqProblem& q,
                                      Block& shared,
                                      const Sums& sum,
                                      const VqSize* codes,
                                      std::int64_t first_code,
                                      int first_latent) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const auto larger_of = [](float a, float b) {
    return __uint_as_float(__reduce_max_sync(kFullWarp, __float_as_uint(fmaxf(a, b))));
  };
  const VqSize& one = codes[lane];
  const VqSize& other = codes[lane + kWarpLanes];
  const float norm = larger_of(one.norm, other.norm);
  const float error = larger_of(one.error, other.error);
  float largest[2 * kRowTiles];
  float bound[2 * kRowTiles];
  unsigned near = 0;
#pragma unroll
  for (int at = 0; at < 2 * kRowTiles; ++at) {
    const int latent = first_latent + 8 * at + lane / 4;
    largest[at] = largest_of(sum, at / 2, at % 2);
    bound[at] = error_bound(shared.latent_sizes[latent], norm, error);
    const float threshold = vq_unordered(load_relaxed(shared.threshold[latent]));
    if (largest[at] + bound[at] >= threshold) near |= 1U << at;
  }
  if (near == 0) return;
#pragma unroll
  for (int at = 0; at < 2 * kRowTiles; ++at) {
    if ((near >> at & 1U) == 0) continue;
    float score[kLaneCodes];
#pragma unroll
    for (int c = 0; c < kLaneCodes; ++c) score[c] = sum[at / 2][c / 2][at % 2 * 2 + c % 2];
    const float lower = largest[at] - bound[at];
    const int latent = first_latent + 8 * at + lane / 4;
    judge_row(q, shared, score, lower, bound[at], codes, first_code, latent);
  }
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

/// One block a processor: a lane has 128 sums.
template <class Block>
__global__ void __launch_bounds__(Block::kThreads, 1) screen_kernel(VqProblem q) {
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
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int first_latent = static_cast<int>(threadIdx.x) % Block::kHalf / kWarpLanes * kSide;
  const int first_column = half * kSide;
  // From tile 1 on, where the second half waits until the first is in the middle of it.
  const Step meeting = {1, half == 0 ? n_chunks / 2 : 0};

  Step ahead;
  for (int stage = 0; stage < kStages - 1; ++stage, ahead.advance(n_chunks)) {
    if (ahead.tile < n_tiles) load_step(q, shared, ahead);
    commit_copies();
  }
  Sums sum;
  int stage = 0;
  for (Step step; step.tile < n_tiles; stage = (stage + 1) % kStages) {
    wait_copies<kStages - 2>();
    const bool alone =
        all_fit && step.tile != 0 && (step.tile != meeting.tile || step.chunk != meeting.chunk);
    sync_threads(alone ? 1 + half : 0, alone ? Block::kHalf : Block::kThreads);
    const VqSize* const codes = &shared.code_sizes[step.tile % kStages][first_column];
    if (step.chunk == 0) {
#pragma unroll
      for (int at = 0; at < kRowTiles * kColumnTiles * 4; ++at) {
        const int c = at / 4 % kColumnTiles;
        sum[at / 4 / kColumnTiles][c][at % 4] = codes[column_of(2 * c + at % 2, lane)].half;
      }
    }
    const int slot = all_fit ? step.chunk : stage;
    const Chunk* const latents = &shared.latents[slot][first_latent];
    multiply(sum, latents, &shared.codes[stage][first_column], [&] {
      if (ahead.tile < n_tiles) load_step(q, shared, ahead);
      commit_copies();
      ahead.advance(n_chunks);
    });
    if (step.chunk == n_chunks - 1) {
      const std::int64_t first_code = (first_tile + step.tile) * kVqTileCodes + first_column;
      judge(q, shared, sum, codes, first_code, first_latent);
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

template <class Block>
void launch_screen(const VqProblem& q, cudaStream_t stream) {
  allow_shared_bytes(kOp, screen_kernel<Block>, sizeof(Block));
  const dim3 grid(vq_blocks(q.plan.n, Block::kLatents), static_cast<unsigned>(q.plan.n_slices));
  launch(kOp, screen_kernel<Block>, {grid, Block::kThreads, sizeof(Block)}, stream, q);
}

using Many = Shared<4, 4>;  // fills a Hopper's shared memory
using Few = Shared<2, 4>;
using Least = Shared<2, 2>;  // fits every device

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
  const auto fits = [&](std::size_t n_bytes) {
    return n_bytes <= static_cast<std::size_t>(shared_bytes);
  };
  if (q.plan.n > kVqFewLatents && fits(sizeof(Many))) {
    launch_screen<Many>(q, stream);
  } else if (fits(sizeof(Few))) {
    launch_screen<Few>(q, stream);
  } else {
    launch_screen<Least>(q, stream);
  }
}

}  // namespace glc::cuda

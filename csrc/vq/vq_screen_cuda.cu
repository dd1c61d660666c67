// SPDX-License-Identifier: Apache-2.0
// The screen of vq_screen_cuda.cuh on the instructions that tensor cores have since Ampere: a warp
// has 64 latents x 64 codes. Of a tile it first takes each latent's largest score in a lane, and
// only where that comes within the largest error of the latent's threshold does it look at the
// codes one by one.
#include <limits>

#include "core/cuda_mma.h"
#include "vq/vq_screen_cuda.cuh"

namespace glc::cuda {
namespace {

using namespace screen;

constexpr int kRowTiles = kSide / 16;
constexpr int kColumnTiles = kSide / 8;
constexpr int kLaneCodes = 2 * kColumnTiles;  // of one latent in a lane
using Sums = float[kRowTiles][kColumnTiles][4];

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
  const float threshold = raise(shared, latent, lower);
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
    const int column = column_of(at, lane);
    const float upper = mine + error_bound(shared.latent_sizes[latent], codes[column]);
    if (upper >= threshold) keep(q, shared, latent, upper, first_code + column);
  }
}

/// A warp's 64 x 64 scores.
template <class BlockOfIt>
struct Warp {
  using Block = BlockOfIt;
  Sums sum;

  __device__ static void show_copies() {}

  __device__ static int first_latent() {
    return static_cast<int>(threadIdx.x) % Block::kHalf / kWarpLanes * kSide;
  }

  __device__ void start(const VqSize* codes) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
    for (int at = 0; at < kRowTiles * kColumnTiles * 4; ++at) {
      const int c = at / 4 % kColumnTiles;
      sum[at / 4 / kColumnTiles][c][at % 4] = codes[column_of(2 * c + at % 2, lane)].half;
    }
  }

  template <class Prepare>
  __device__ void multiply(const Chunk* latents, const Chunk* codes, Prepare prepare) {
    glc::cuda::multiply(sum, latents + first_latent(), codes, prepare);
  }

  /// Each lane for itself.
  __device__ void judge(
      const VqProblem& q, Block& shared, const VqSize* codes, std::int64_t first_code, bool) {
    const VqSize most = largest_size(codes);
    const int first = first_latent() + static_cast<int>(threadIdx.x) % kWarpLanes / 4;
    float largest[2 * kRowTiles];
    float bound[2 * kRowTiles];
    unsigned near = 0;
#pragma unroll
    for (int at = 0; at < 2 * kRowTiles; ++at) {
      const int latent = first + 8 * at;
      largest[at] = largest_of(sum, at / 2, at % 2);
      bound[at] = error_bound(shared.latent_sizes[latent], most);
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
      judge_row(q, shared, score, lower, bound[at], codes, first_code, first + 8 * at);
    }
  }
};

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
  int major = 0;
  int minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), kOp);
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), kOp);
  const auto fits = [&](std::size_t n_bytes) {
    return n_bytes <= static_cast<std::size_t>(shared_bytes);
  };
  const bool many = q.plan.n > kVqFewLatents;
  if (many && major == 9 && minor == 0) {
    vq_screen_hopper(q, stream);
  } else if (many && fits(sizeof(Many))) {
    launch_screen<Warp<Many>>(q, stream);
  } else if (fits(sizeof(Few))) {
    launch_screen<Warp<Few>>(q, stream);
  } else {
    launch_screen<Warp<Least>>(q, stream);
  }
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// The search through tensor cores: scores in bf16 products and float32 sums, a bound on their
// error, and the chain of vq.h for what the bound leaves. The proof is that of vq_screen.cpp,
// without the centre and the map, with dl and dc the rounding of latents and codes to bf16, and
// with one more term in the slack for the sums: whatever their order and however a tensor core
// truncates, each of the d additions is taken to err by at most 2^-22 of the sum of magnitudes, <=
// |l| |c|.
#include <algorithm>
#include <cstring>

#include "core/cuda_mma.h"
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kLatents = 16 * kWarps;  // of a block; a warp has 16
constexpr int kCodes = 64;             // of a tile: 8 products of 8 codes, 32 sums a lane
constexpr int kPad = 8;                // values between rows of a tile: they begin in other banks
constexpr float kUlp = 0x1p-24F;
constexpr float kUp = 1.001F;  // more than the norms' own rounding

struct RowsParams {
  const float* rows;
  std::int64_t n;
  std::int64_t d;
  std::int64_t padded;
  __nv_bfloat16* out;
  float* norm;
  float* error;
  std::uint32_t* reach;      // codes only
  std::uint32_t* threshold;  // latents only
  std::int32_t* counts;
};

__device__ float warp_sum(float value) {
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, step);
  }
  return value;
}

/// A warp rounds a row to bf16 and measures it.
__global__ void __launch_bounds__(kThreads) rows_kernel(RowsParams p) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  if (i >= p.n) return;
  float square = 0.0F;
  float missed = 0.0F;
  for (std::int64_t t = lane; t < p.padded; t += kWarpLanes) {
    const float x = t < p.d ? p.rows[i * p.d + t] : 0.0F;
    const __nv_bfloat16 rounded = __float2bfloat16_rn(x);
    p.out[i * p.padded + t] = rounded;
    const float by = x - __bfloat162float(rounded);
    square += x * x;
    missed += by * by;
  }
  square = warp_sum(square);
  missed = warp_sum(missed);
  if (lane != 0) return;
  const float error = __fsqrt_rn(missed) * kUp;
  const float norm = __fsqrt_rn(square) * kUp + error;
  const bool ordinary = norm <= kVqMostReach;  // false for NaN
  p.norm[i] = norm;
  p.error[i] = error;
  if (p.reach != nullptr) atomicMax(p.reach, __float_as_uint(norm));  // NaN is above infinity
  if (p.counts != nullptr) {
    p.counts[i] = ordinary ? 0 : kVqLost;
    p.threshold[i] = vq_ordered(ordinary ? -kVqNoScore : kVqNoScore);
  }
}

struct ScreenParams {
  VqProblem problem;
  std::int64_t padded;
  std::int64_t slice;
};

struct CodeTile {
  __nv_bfloat16 values[kCodes][kVqDepth + kPad];
  float half[kCodes];
  float norm[kCodes];
  float error[kCodes];
};

/// Two neighbours at an even place, as the tensor cores take them.
__device__ std::uint32_t two(const __nv_bfloat16* values) {
  const void* const aligned = __builtin_assume_aligned(static_cast<const void*>(values), 4);
  std::uint32_t word;
  std::memcpy(&word, aligned, sizeof(word));
  return word;
}
__device__ void store_two(__nv_bfloat16* values, std::uint32_t word) {
  std::memcpy(__builtin_assume_aligned(static_cast<void*>(values), 4), &word, sizeof(word));
}

/// The latents' rows of the block, once.
__device__ void load_latents(__nv_bfloat16* tile, const ScreenParams& p, std::int64_t first) {
  const std::int64_t words = p.padded / 2;
  for (std::int64_t at = threadIdx.x; at < kLatents * words; at += kThreads) {
    const std::int64_t row = vq_least(first + at / words, p.problem.n - 1);
    const std::uint32_t word = two(p.problem.scratch.latents + row * p.padded + 2 * (at % words));
    auto* to = tile + at / words * (p.padded + kPad) + 2 * (at % words);
    store_two(to, word);
  }
}

__device__ void load_codes(
    CodeTile& tile, const ScreenParams& p, std::int64_t j, std::int64_t last, std::int64_t t) {
  constexpr int kWords = static_cast<int>(kVqDepth) / 2;
  for (int at = static_cast<int>(threadIdx.x); at < kCodes * kWords; at += kThreads) {
    const std::int64_t row = vq_least(j + at / kWords, last - 1);
    const auto* from = p.problem.scratch.codes + row * p.padded + t + 2 * (at % kWords);
    store_two(&tile.values[at / kWords][2 * (at % kWords)], two(from));
  }
}

/// What a lane knows of the two latents whose scores it holds.
struct Pair {
  std::int64_t latent[2];
  float norm[2];
  float error[2];
  float slack[2];
  float threshold[2];
};

__device__ void keep(const VqScratch& s, std::int64_t i, float upper, std::int64_t code) {
  const std::int32_t place = atomicAdd(&s.counts[i], 1);
  if (place < kVqRoom) {
    s.candidates[i * kVqRoom + place] = {upper, static_cast<std::int32_t>(code)};
  } else {
    atomicMax(&s.threshold[i], vq_ordered(kVqNoScore));  // lost: let nobody add more
  }
}

/// Raises the threshold of one latent of the pair by the scores of a tile, and keeps the codes that
/// it leaves.
template <int kRow>
__device__ __forceinline__ void judge(const ScreenParams& p,
                                      const CodeTile& tile,
                                      const float (&sum)[kCodes / 8][4],
                                      std::int64_t j,
                                      std::int64_t last,
                                      Pair& pair) {
  const VqScratch& s = p.problem.scratch;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  float lower = -kVqNoScore;
  for (int c = 0; c < kCodes / 4; ++c) {
    const int at = c / 2 * 8 + 2 * (lane % 4) + c % 2;
    const float error =
        pair.error[kRow] * tile.norm[at] + pair.norm[kRow] * tile.error[at] + pair.slack[kRow];
    if (j + at < last) lower = fmaxf(lower, sum[c / 2][2 * kRow + c % 2] + tile.half[at] - error);
  }
  lower = fmaxf(lower, __shfl_xor_sync(kFullWarp, lower, 1));
  lower = fmaxf(lower, __shfl_xor_sync(kFullWarp, lower, 2));
  const std::int64_t i = pair.latent[kRow];
  if (i < p.problem.n && lane % 4 == 0) {
    const std::uint32_t before = atomicMax(&s.threshold[i], vq_ordered(lower));
    pair.threshold[kRow] = fmaxf(lower, vq_unordered(before));
  }
  pair.threshold[kRow] = __shfl_sync(kFullWarp, pair.threshold[kRow], lane / 4 * 4);
  if (i >= p.problem.n) return;
  for (int c = 0; c < kCodes / 4; ++c) {
    const int at = c / 2 * 8 + 2 * (lane % 4) + c % 2;
    const float error =
        pair.error[kRow] * tile.norm[at] + pair.norm[kRow] * tile.error[at] + pair.slack[kRow];
    const float upper = sum[c / 2][2 * kRow + c % 2] + tile.half[at] + error;
    if (j + at < last && upper >= pair.threshold[kRow]) keep(s, i, upper, j + at);
  }
}

/// 128 threads, one tile of latents for the whole run over the codes of the slice.
__global__ void __launch_bounds__(kThreads) screen_kernel(ScreenParams p) {
  auto& tile = block_shared<CodeTile>();
  auto* const latents = dynamic_shared<__nv_bfloat16>();
  const VqScratch& s = p.problem.scratch;
  const float reach = __uint_as_float(*s.reach);
  if (!(reach >= kVqLeastReach && reach <= kVqMostReach)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int row = static_cast<int>(threadIdx.x) / kWarpLanes * 16 + lane / 4;
  const std::int64_t first = std::int64_t{blockIdx.x} * kLatents;
  load_latents(latents, p, first);
  Pair pair;
  for (int r = 0; r < 2; ++r) {
    pair.latent[r] = first + row + 8 * r;
    const std::int64_t i = vq_least(pair.latent[r], p.problem.n - 1);
    pair.norm[r] = s.latent_norm[i];
    pair.error[r] = s.latent_error[i];
    pair.slack[r] =
        12.0F * static_cast<float>(p.padded + 64) * kUlp * reach * (reach + pair.norm[r]);
    pair.threshold[r] = kVqNoScore;
  }
  const std::int64_t last = vq_least(p.problem.k, (std::int64_t{blockIdx.y} + 1) * p.slice);
  for (std::int64_t j = std::int64_t{blockIdx.y} * p.slice; j < last; j += kCodes) {
    float sum[kCodes / 8][4] = {};
    for (std::int64_t t = 0; t < p.padded; t += kVqDepth) {
      __syncthreads();
      load_codes(tile, p, j, last, t);
      if (t == 0 && threadIdx.x < kCodes) {
        const std::int64_t code = vq_least(j + threadIdx.x, last - 1);
        const float norm = s.code_norm[code];
        tile.half[threadIdx.x] = s.half_norms[code];
        tile.norm[threadIdx.x] = norm;
        tile.error[threadIdx.x] = s.code_error[code];
      }
      __syncthreads();
      for (int k = 0; k < kVqDepth; k += 16) {
        const auto* from = latents + row * (p.padded + kPad) + t + k + 2 * (lane % 4);
        const auto* below = from + 8 * (p.padded + kPad);
        const std::uint32_t a[4] = {two(from), two(below), two(from + 8), two(below + 8)};
        for (int c = 0; c < kCodes / 8; ++c) {
          const auto* code = &tile.values[c * 8 + lane / 4][k + 2 * (lane % 4)];
          const std::uint32_t b[2] = {two(code), two(code + 8)};
          mma_bf16(sum[c], a, b);
        }
      }
    }
    judge<0>(p, tile, sum, j, last, pair);
    judge<1>(p, tile, sum, j, last, pair);
  }
}

/// A warp scores the candidates of a latent, a lane each.
__global__ void __launch_bounds__(kThreads) rescore_kernel(VqProblem p) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  if (i >= p.n || vq_lost(p.scratch, i)) return;
  const VqScratch& s = p.scratch;
  const float threshold = vq_unordered(s.threshold[i]);
  unsigned long long key = 0;
  for (int at = lane; at < s.counts[i]; at += kWarpLanes) {
    const VqCandidate candidate = s.candidates[i * kVqRoom + at];
    if (!(candidate.upper >= threshold)) continue;
    const float* latent = p.latents + i * p.d;
    const float* code = p.codebook + candidate.code * p.d;
    float sum = s.half_norms[candidate.code];
    for (std::int64_t t = 0; t < p.d; ++t) sum = __fmaf_rn(latent[t], code[t], sum);
    const auto complement = ~static_cast<std::uint32_t>(candidate.code);
    const auto mine = static_cast<unsigned long long>(vq_ordered(sum)) << 32 | complement;
    key = mine > key ? mine : key;
  }
  __syncwarp();
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kFullWarp, key, step);
    key = other > key ? other : key;
  }
  if (lane == 0) p.indices[i] = static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

}  // namespace

void vq_screen(const VqProblem& q, int n_processors, cudaStream_t stream) {
  const VqScratch& s = q.scratch;
  const std::int64_t padded = (q.d + kVqDepth - 1) / kVqDepth * kVqDepth;
  check(cudaMemsetAsync(s.reach, 0, sizeof(*s.reach), stream), kOp);
  const RowsParams codes = {
      q.codebook, q.k, q.d, padded, s.codes, s.code_norm, s.code_error, s.reach, nullptr, nullptr};
  launch(kOp, rows_kernel, {vq_blocks(q.k, kWarps), kThreads}, stream, codes);
  const RowsParams latents = {q.latents,
                              q.n,
                              q.d,
                              padded,
                              s.latents,
                              s.latent_norm,
                              s.latent_error,
                              nullptr,
                              s.threshold,
                              s.counts};
  launch(kOp, rows_kernel, {vq_blocks(q.n, kWarps), kThreads}, stream, latents);

  const std::size_t shared =
      static_cast<std::size_t>(kLatents * (padded + kPad)) * sizeof(__nv_bfloat16);
  allow_shared_bytes(kOp, screen_kernel, shared);
  const std::int64_t n_tiles = vq_blocks(q.n, kLatents);
  const std::int64_t code_tiles = vq_blocks(q.k, kCodes);
  constexpr std::int64_t kBlocksPerProcessor = 2;
  const std::int64_t wanted =
      std::clamp<std::int64_t>(kBlocksPerProcessor * n_processors / n_tiles, 1, code_tiles);
  const std::int64_t slice = (code_tiles + wanted - 1) / wanted * kCodes;
  const LaunchShape shape{
      dim3(static_cast<unsigned>(n_tiles), vq_blocks(q.k, slice)), kThreads, shared};
  launch(kOp, screen_kernel, shape, stream, {q, padded, slice});
  launch(kOp, rescore_kernel, {vq_blocks(q.n, kWarps), kThreads}, stream, q);
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// What the screen has left, in float: a warp has a latent, some lanes the list of a slice. Of the
// codes that may still win the warp brings some rows at a time into shared memory, whole cache
// lines at a time, and a lane has the chain of each.
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kRows = 4;     // codes at a time: few latents have more
constexpr int kWidth = 128;  // dimensions at a time
constexpr int kEach = kWidth / kWarpLanes;

struct RescoreParams {
  VqProblem problem;
  int share;  // lanes of a list
};

struct alignas(16) Survivors {
  float rows[1 + kRows][kWidth + 4];  // the latent's, and codes'; 4 on: in different banks
  std::int32_t codes[2 * kWarpLanes];
};

/// Dimensions t + lane, t + lane + 32, .. of a row, zeros past the last.
__device__ __forceinline__ void fetch(float (&value)[kEach],
                                      const float* row,
                                      std::int64_t t,
                                      std::int64_t d) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const std::int64_t column = t + e * kWarpLanes + lane;
    value[e] = column < d ? row[column] : 0.0F;
  }
}

/// In lane r the score of codes[r], r < n: the chain of vq.h.
__device__ float scores(
    const VqProblem& q, const float* latent, Survivors& mine, const std::int32_t* codes, int n) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int chain = lane < n ? lane : 0;
  float sum = q.scratch.half_norms[codes[chain]];
  float value[1 + kRows][kEach] = {};
  const auto fetch_all = [&](std::int64_t t) {
    fetch(value[0], latent, t, q.d);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r < n) fetch(value[1 + r], q.codebook + codes[r] * q.d, t, q.d);
    }
  };
  fetch_all(0);
  for (std::int64_t t = 0; t < q.d; t += kWidth) {
    __syncwarp();
#pragma unroll
    for (int r = 0; r <= kRows; ++r) {
#pragma unroll
      for (int e = 0; e < kEach; ++e) {
        if (r <= n) mine.rows[r][e * kWarpLanes + lane] = value[r][e];
      }
    }
    __syncwarp();
    if (t + kWidth < q.d) fetch_all(t + kWidth);
    const int width = static_cast<int>(vq_least(q.d - t, kWidth));
    sum = vq_chain(sum, mine.rows[0], mine.rows[1 + chain], width);
  }
  return sum;
}

/// The larger of key and those of the n codes in mine.
__device__ unsigned long long best_of(
    const VqProblem& q, std::int64_t i, Survivors& mine, int n, unsigned long long key) {
  __syncwarp();
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  for (int from = 0; from < n; from += kRows) {
    const int n_rows = n - from < kRows ? n - from : kRows;
    const std::int32_t* const codes = &mine.codes[from];
    const float sum = scores(q, q.latents + i * q.d, mine, codes, n_rows);
    if (lane < n_rows) {
      const auto complement = ~static_cast<std::uint32_t>(codes[lane]);
      const auto found = static_cast<unsigned long long>(vq_ordered(sum)) << 32 | complement;
      key = found > key ? found : key;
    }
  }
  __syncwarp();
  return key;
}

__global__ void __launch_bounds__(kThreads) rescore_kernel(RescoreParams p) {
  const VqProblem& q = p.problem;
  const VqScratch& s = q.scratch;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + warp;
  if (i >= q.n) return;
  Survivors& kept = block_shared<Survivors[kWarps]>()[warp];
  const float threshold = vq_unordered(s.threshold[i]);
  if (vq_lost(s, i)) return;
  unsigned long long key = 0;
  int n = 0;
  for (std::int64_t from = 0; from < q.plan.n_slices; from += kWarpLanes / p.share) {
    const std::int64_t slice = from + lane / p.share;
    const std::int64_t list = slice * q.plan.n + i;
    const int n_mine = slice < q.plan.n_slices ? s.counts[list] : 0;
    for (int at = lane % p.share; __any_sync(kFullWarp, at < n_mine ? 1 : 0) != 0; at += p.share) {
      VqCandidate mine = {-kVqNoScore, 0};
      if (at < n_mine) mine = s.candidates[list * kVqRoom + at];
      const bool may_win = at < n_mine && mine.upper >= threshold;
      const unsigned who = __ballot_sync(kFullWarp, may_win ? 1 : 0);
      if (may_win) kept.codes[n + __popc(who & ((1U << lane) - 1))] = mine.code;
      n += __popc(who);
      if (n >= kWarpLanes) {
        key = best_of(q, i, kept, n, key);
        n = 0;
      }
    }
  }
  key = best_of(q, i, kept, n, key);
  for (int step = kRows / 2; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kFullWarp, key, step);
    key = other > key ? other : key;
  }
  if (lane == 0) q.indices[i] = static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

}  // namespace

void vq_rescore(const VqProblem& q, cudaStream_t stream) {
  int share = kWarpLanes;
  while (share > 1 && share * q.plan.n_slices > kWarpLanes) share /= 2;
  const LaunchShape shape{vq_blocks(q.n, kWarps), kThreads};
  launch(kOp, rescore_kernel, shape, stream, {q, share});
}

}  // namespace glc::cuda

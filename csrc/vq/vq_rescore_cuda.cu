// SPDX-License-Identifier: Apache-2.0
// What the screen has left, in float: a warp has a latent, some lanes the list of a slice, then a
// lane a candidate.
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpLanes;

struct RescoreParams {
  VqProblem problem;
  int share;     // lanes of a list
  bool by_four;  // rows may be read four values at a time
};

struct Survivors {
  std::int32_t codes[kWarps][2 * kWarpLanes];
};

/// The chain of vq.h.
__device__ float score(const VqProblem& q, const float* latent, std::int64_t code, bool by_four) {
  const float* const row = q.codebook + code * q.d;
  float sum = q.scratch.half_norms[code];
  std::int64_t t = 0;
  if (by_four) {
#pragma unroll 8
    for (; t < q.d; t += 4) {
      const float4 l = *reinterpret_cast<const float4*>(latent + t);
      const float4 c = *reinterpret_cast<const float4*>(row + t);
      sum = __fmaf_rn(l.x, c.x, sum);
      sum = __fmaf_rn(l.y, c.y, sum);
      sum = __fmaf_rn(l.z, c.z, sum);
      sum = __fmaf_rn(l.w, c.w, sum);
    }
  }
  for (; t < q.d; ++t) sum = __fmaf_rn(latent[t], row[t], sum);
  return sum;
}

/// The larger of key and those of n codes, by a lane each.
__device__ unsigned long long best_of(const VqProblem& q,
                                      std::int64_t i,
                                      const std::int32_t* codes,
                                      int n,
                                      bool by_four,
                                      unsigned long long key) {
  __syncwarp();
  for (int at = static_cast<int>(threadIdx.x) % kWarpLanes; at < n; at += kWarpLanes) {
    const float sum = score(q, q.latents + i * q.d, codes[at], by_four);
    const auto complement = ~static_cast<std::uint32_t>(codes[at]);
    const auto mine = static_cast<unsigned long long>(vq_ordered(sum)) << 32 | complement;
    key = mine > key ? mine : key;
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
  if (i >= q.n || vq_lost(s, i)) return;
  auto& codes = block_shared<Survivors>().codes[warp];
  const float threshold = vq_unordered(s.threshold[i]);
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
      if (may_win) codes[n + __popc(who & ((1U << lane) - 1))] = mine.code;
      n += __popc(who);
      if (n >= kWarpLanes) {
        key = best_of(q, i, codes, n, p.by_four, key);
        n = 0;
      }
    }
  }
  key = best_of(q, i, codes, n, p.by_four, key);
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(kFullWarp, key, step);
    key = other > key ? other : key;
  }
  if (lane == 0) q.indices[i] = static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

bool aligned(const float* rows) { return reinterpret_cast<std::uintptr_t>(rows) % 16 == 0; }

}  // namespace

void vq_rescore(const VqProblem& q, cudaStream_t stream) {
  int share = kWarpLanes;
  while (share > 1 && share * q.plan.n_slices > kWarpLanes) share /= 2;
  const bool by_four = q.d % 4 == 0 && aligned(q.latents) && aligned(q.codebook);
  const LaunchShape shape{vq_blocks(q.n, kWarps), kThreads};
  launch(kOp, rescore_kernel, shape, stream, {q, share, by_four});
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// The screen of vq_screen_cuda.cuh on Hopper's own instructions: four warps have 64 codes x 256
// latents, a lane two codes and 64 latents. Of a tile it compares each score with what the latent's
// threshold and the largest error leave, and looks closer only at what is not below.
#include <limits>

#include "core/cuda_wgmma.h"
#include "vq/vq_screen_cuda.cuh"

namespace glc::cuda {
namespace {

using namespace screen;

constexpr int kColumns = 32;  // of eight latents
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct HopperBlock : Shared<4, 4> {
  float cutoffs[2][kLatents];  // of each half: a lower score cannot win
};

struct FourWarps {
  using Block = HopperBlock;
  float sum[kColumns][4];

  __device__ static void show_copies() { show_to_products(); }

  /// The first of a lane's two codes, of the half's 64; the other is 8 on.
  __device__ static int code_of_lane() {
    const int thread = static_cast<int>(threadIdx.x) % Block::kHalf;
    return thread / kWarpLanes * 16 + thread % kWarpLanes / 4;
  }

  __device__ void start(const VqSize* codes) {
    const float half[2] = {codes[code_of_lane()].half, codes[code_of_lane() + 8].half};
#pragma unroll
    for (int at = 0; at < 4 * kColumns; ++at) sum[at / 4][at % 4] = half[at % 4 / 2];
  }

  template <class Meanwhile>
  __device__ void multiply(const Chunk* latents, const Chunk* codes, Meanwhile meanwhile) {
    multiply_64_by_256(sum, codes, latents, meanwhile);
  }

  /// The larger of a lane's scores of latent 8 j + 2 (lane % 4) + e.
  __device__ float larger(int j, int e) const { return fmaxf(sum[j][e], sum[j][2 + e]); }

  /// Raises all thresholds by the largest scores: before the first tile they say nothing.
  __device__ void raise_all(Block& shared, const VqSize& most) const {
    constexpr int kGroups = kWarpLanes / 4;  // of lanes; each takes one of so many latents
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
    for (int from = 0; from < 2 * kColumns; from += kGroups) {
      float mine = 0;
#pragma unroll
      for (int at = from; at < from + kGroups; ++at) {
        float largest = larger(at / 2, at % 2);
#pragma unroll
        for (int step = 4; step < kWarpLanes; step *= 2) {
          largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, step));
        }
        mine = lane / 4 == at - from ? largest : mine;
      }
      const int at = from + lane / 4;
      const int latent = at / 2 * 8 + lane % 4 * 2 + at % 2;
      raise(shared, latent, mine - error_bound(shared.latent_sizes[latent], most));
    }
  }

  /// One latent's two scores in a lane.
  __device__ static void judge_latent(const VqProblem& q,
                                      Block& shared,
                                      const float (&score)[2],
                                      const VqSize* codes,
                                      std::int64_t first_code,
                                      int latent) {
    float bound[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      bound[r] = error_bound(shared.latent_sizes[latent], codes[code_of_lane() + 8 * r]);
    }
    const float threshold = raise(shared, latent, fmaxf(score[0] - bound[0], score[1] - bound[1]));
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float upper = score[r] + bound[r];
      const std::int64_t code = first_code + code_of_lane() + 8 * r;
      if (upper >= threshold) keep(q, shared, latent, upper, code);
    }
  }

  __device__ void judge(const VqProblem& q,
                        Block& shared,
                        const VqSize* codes,
                        std::int64_t first_code,
                        bool first_tile) {
    const int half = static_cast<int>(threadIdx.x) / Block::kHalf;
    const VqSize most = largest_size(codes);
    if (first_tile) {
      raise_all(shared, most);
      sync_threads(1 + half, Block::kHalf);
    }
    for (int latent = static_cast<int>(threadIdx.x) % Block::kHalf; latent < Block::kLatents;
         latent += Block::kHalf) {
      const float threshold = vq_unordered(load_relaxed(shared.threshold[latent]));
      const float bound = error_bound(shared.latent_sizes[latent], most);
      shared.cutoffs[half][latent] = threshold < kVqNoScore ? threshold - bound : kInfinity;
    }
    sync_threads(1 + half, Block::kHalf);
    const int first = static_cast<int>(threadIdx.x) % 4 * 2;
    const float* const cutoffs = &shared.cutoffs[half][first];
    unsigned near[2] = {};
#pragma unroll
    for (int at = 0; at < 2 * kColumns; ++at) {
      if (larger(at / 2, at % 2) >= cutoffs[at / 2 * 8 + at % 2]) near[at % 2] |= 1U << at / 2;
    }
    if ((near[0] | near[1]) == 0) return;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      for (unsigned left = near[e]; left != 0; left &= left - 1) {
        const int j = __ffs(static_cast<int>(left)) - 1;
        float score[2] = {sum[0][e], sum[0][2 + e]};
#pragma unroll
        for (int other = 1; other < kColumns; ++other) {
          score[0] = j == other ? sum[other][e] : score[0];
          score[1] = j == other ? sum[other][2 + e] : score[1];
        }
        judge_latent(q, shared, score, codes, first_code, 8 * j + first + e);
      }
    }
  }
};

}  // namespace

void vq_screen_hopper(const VqProblem& q, cudaStream_t stream) {
  launch_screen<FourWarps>(q, stream);
}

}  // namespace glc::cuda

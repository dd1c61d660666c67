// SPDX-License-Identifier: Apache-2.0
// What both ways need of the rows: half norms, and for the screen the values in bf16 with their
// norms and errors. Each half norm is one chain (vq.h), so a lane has a row; the warp reads its 32
// rows through shared memory, for whole cache lines at a time.
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr float kUp = 1.001F;  // more than the norms' own rounding

struct RowTile {
  float values[kWarpLanes][kWarpLanes + 1];
};

struct RowsParams {
  VqProblem problem;
  unsigned code_blocks;
};

struct Squares {
  float whole;   // |row|^2, a chain of fused operations
  float missed;  // |row - row in bf16|^2
};

/// Of row first + lane. Rounds the 32 rows to bf16 when out is not null; rows past the n-th are 0.
__device__ Squares measure(const float* rows,
                           std::int64_t n,
                           std::int64_t d,
                           __nv_bfloat16* out,
                           std::int64_t padded,
                           std::int64_t first) {
  auto& tile = block_shared<RowTile>();
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t width = out != nullptr ? padded : d;
  float value[kWarpLanes];  // one dimension of every row, and the next 32 while these are summed
  const auto load = [&](std::int64_t column) {
#pragma unroll
    for (int r = 0; r < kWarpLanes; ++r) {
      value[r] = first + r < n && column < d ? rows[(first + r) * d + column] : 0.0F;
    }
  };
  load(lane);
  Squares sum = {};
  for (std::int64_t t = 0; t < width; t += kWarpLanes) {
#pragma unroll
    for (int r = 0; r < kWarpLanes; ++r) {
      tile.values[r][lane] = value[r];
      if (out != nullptr) out[(first + r) * padded + t + lane] = __float2bfloat16_rn(value[r]);
    }
    __syncwarp();
    load(t + kWarpLanes + lane);
#pragma unroll
    for (int s = 0; s < kWarpLanes; ++s) {
      const float x = tile.values[lane][s];  // zeros past the d-th change no sum
      const float by = x - __bfloat162float(__float2bfloat16_rn(x));
      sum.whole = __fmaf_rn(x, x, sum.whole);
      sum.missed = __fmaf_rn(by, by, sum.missed);
    }
    __syncwarp();
  }
  return sum;
}

__device__ VqSize size_of(const Squares& squares) {
  const float error = __fsqrt_rn(squares.missed) * kUp;
  return {0.0F, __fsqrt_rn(squares.whole) * kUp + error, error, 0.0F};
}

__global__ void __launch_bounds__(kWarpLanes) rows_kernel(RowsParams p) {
  const VqProblem& q = p.problem;
  const VqScratch& s = q.scratch;
  if (blockIdx.x < p.code_blocks) {
    const std::int64_t first = std::int64_t{blockIdx.x} * kWarpLanes;
    const std::int64_t j = first + threadIdx.x;
    const Squares squares = measure(q.codebook, q.k, q.d, s.codes, q.plan.d, first);
    const float half = __fmul_rn(-0.5F, squares.whole);
    if (j < q.k) s.half_norms[j] = half;
    if (s.codes == nullptr) return;
    VqSize size = size_of(squares);
    size.half = j < q.k ? half : -__int_as_float(0x7F800000);
    s.code_sizes[j] = size;
    const unsigned most = __reduce_max_sync(kFullWarp, __float_as_uint(size.norm));
    if (threadIdx.x == 0) atomicMax(s.reach, most);  // NaN is above infinity
    return;
  }
  const std::int64_t first = std::int64_t{blockIdx.x - p.code_blocks} * kWarpLanes;
  const std::int64_t i = first + threadIdx.x;
  if (i < q.n) s.keys[i] = 0;
  if (s.latents == nullptr) return;
  const VqSize size = size_of(measure(q.latents, q.n, q.d, s.latents, q.plan.d, first));
  const bool ordinary = size.norm <= kVqMostReach;  // false for NaN
  s.latent_sizes[i] = size;
  s.lost[i] = ordinary ? 0 : 1;
  s.threshold[i] = vq_ordered(ordinary && i < q.n ? -kVqNoScore : kVqNoScore);
}

}  // namespace

void vq_rows(const VqProblem& q, cudaStream_t stream) {
  const bool screened = q.plan.n_slices != 0;
  if (screened) check(cudaMemsetAsync(q.scratch.reach, 0, sizeof(*q.scratch.reach), stream), kOp);
  const unsigned code_blocks = vq_blocks(screened ? q.plan.k : q.k, kWarpLanes);
  const unsigned latent_blocks = vq_blocks(screened ? q.plan.n : q.n, kWarpLanes);
  launch(kOp, rows_kernel, {code_blocks + latent_blocks, kWarpLanes}, stream, {q, code_blocks});
}

}  // namespace glc::cuda

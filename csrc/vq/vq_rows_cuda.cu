// SPDX-License-Identifier: Apache-2.0
// What both ways need of the rows: half norms, and for the screen the values in bf16 with their
// norms and errors. A warp reads eight rows, 128 dimensions at a time, each lane four neighbours.
// Each half norm is one chain (vq.h): the block puts its 32 rows into shared memory for a lane
// each.
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr float kUp = 1.001F;  // more than the norms' own rounding
constexpr int kRows = kWarpLanes;
constexpr int kWarps = 4;
constexpr int kWarpRows = kRows / kWarps;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kWidth = 4 * kWarpLanes;  // dimensions at a time

struct alignas(16) RowTile {
  float values[kRows][kWidth + 4];  // 4 on: rows begin in different banks
};

struct RowsParams {
  VqProblem problem;
  unsigned code_blocks;
  bool by_four;  // rows may be read four values at a time
};

/// A warp's rows first .. first + 7 of a matrix, zeros outside it.
struct Rows {
  const float* values;
  std::int64_t n;
  std::int64_t d;
  std::int64_t first;
  bool by_four;

  __device__ void load(VqFour (&to)[kWarpRows], std::int64_t t) const {
    const std::int64_t column = t + threadIdx.x % kWarpLanes * 4;
    const int n_columns = static_cast<int>(vq_least(d - column, 4));
    const int n_rows = n_columns > 0 ? static_cast<int>(vq_least(n - first, kWarpRows)) : 0;
    std::int64_t at = first * d + column;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r, at += d) {
      to[r] = {};
      if (r >= n_rows) continue;
      if (by_four) {
        to[r] = vq_four(values + at);
        continue;
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (e < n_columns) to[r].values[e] = values[at + e];
      }
    }
  }
};

struct alignas(8) FourRounded {
  __nv_bfloat16 values[4];
};

/// Squares of a lane's values of a row.
struct Squares {
  float whole;
  float missed;  // by rounding to bf16
};

__device__ __forceinline__ FourRounded round_four(const VqFour& four, Squares& sum) {
  FourRounded rounded;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const float x = four.values[e];
    rounded.values[e] = __float2bfloat16_rn(x);
    const float by = x - __bfloat162float(rounded.values[e]);
    sum.whole = __fmaf_rn(x, x, sum.whole);
    sum.missed = __fmaf_rn(by, by, sum.missed);
  }
  return rounded;
}

/// In lane r, r < 8, the norm and error of a warp's row r.
__device__ VqSize size_of(const Squares (&squares)[kWarpRows]) {
  Squares mine = {};
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) {
    Squares all = squares[r];
#pragma unroll
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
      all.whole += __shfl_xor_sync(kFullWarp, all.whole, step);
      all.missed += __shfl_xor_sync(kFullWarp, all.missed, step);
    }
    if (static_cast<int>(threadIdx.x) % kWarpLanes == r) mine = all;
  }
  const float error = __fsqrt_rn(mine.missed) * kUp;
  return {0.0F, __fsqrt_rn(mine.whole) * kUp + error, error, 0.0F};
}

/// Rounds a warp's rows to bf16 when out is not null. With with_chain the block's first warp gets
/// in each lane |row|^2 of one of the 32 rows, a chain of fused operations, in chain.
__device__ void measure(const Rows& rows,
                        __nv_bfloat16* out,
                        std::int64_t padded,
                        bool with_chain,
                        Squares (&squares)[kWarpRows],
                        float& chain) {
  auto& tile = block_shared<RowTile>();
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const std::int64_t width = out != nullptr ? padded : rows.d;
  VqFour value[kWarpRows];
  rows.load(value, 0);
  for (std::int64_t t = 0; t < width; t += kWidth) {
    if (with_chain) __syncthreads();
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const FourRounded rounded = round_four(value[r], squares[r]);
      const std::int64_t column = t + 4 * lane;
      if (out != nullptr && column < padded) {
        *reinterpret_cast<FourRounded*>(out + (rows.first + r) * padded + column) = rounded;
      }
      if (with_chain) {
        *reinterpret_cast<VqFour*>(&tile.values[warp * kWarpRows + r][4 * lane]) = value[r];
      }
    }
    if (with_chain) __syncthreads();
    rows.load(value, t + kWidth);
    if (with_chain && warp == 0 && t < rows.d) {
      const float* const row = tile.values[lane];
      chain = vq_chain(chain, row, row, static_cast<int>(vq_least(rows.d - t, kWidth)));
    }
  }
}

__global__ void __launch_bounds__(kThreads, 6) rows_kernel(RowsParams p) {
  const VqProblem& q = p.problem;
  const VqScratch& s = q.scratch;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarpLanes;
  const std::int64_t warp_row = thread / kWarpLanes * kWarpRows;
  Squares squares[kWarpRows] = {};
  float chain = 0;
  if (blockIdx.x < p.code_blocks) {
    const std::int64_t first = std::int64_t{blockIdx.x} * kRows;
    const Rows rows = {q.codebook, q.k, q.d, first + warp_row, p.by_four};
    measure(rows, s.codes, q.plan.d, true, squares, chain);
    const float half = __fmul_rn(-0.5F, chain);
    const std::int64_t j = first + thread;
    if (thread < kRows && j < q.k) s.half_norms[j] = half;
    if (s.codes == nullptr) return;
    if (thread < kRows) s.code_sizes[j].half = j < q.k ? half : -__int_as_float(0x7F800000);
    const VqSize size = size_of(squares);
    if (lane < kWarpRows) {
      s.code_sizes[rows.first + lane].norm = size.norm;
      s.code_sizes[rows.first + lane].error = size.error;
    }
    const unsigned most = __reduce_max_sync(kFullWarp, __float_as_uint(size.norm));
    if (lane == 0) atomicMax(s.reach, most);  // NaN is above infinity
    return;
  }
  const std::int64_t first = std::int64_t{blockIdx.x - p.code_blocks} * kRows;
  if (thread < kRows && first + thread < q.n) {
    s.keys[first + thread] = 0;
    if ((first + thread) % kVqFloatTile == 0) s.arrived[(first + thread) / kVqFloatTile] = 0;
  }
  if (s.latents == nullptr) return;
  const Rows rows = {q.latents, q.n, q.d, first + warp_row, p.by_four};
  measure(rows, s.latents, q.plan.d, false, squares, chain);
  const VqSize size = size_of(squares);
  if (lane >= kWarpRows) return;
  const std::int64_t i = rows.first + lane;
  const bool ordinary = size.norm <= kVqMostReach;  // false for NaN
  s.latent_sizes[i] = size;
  s.lost[i] = ordinary ? 0 : 1;
  s.threshold[i] = vq_ordered(ordinary && i < q.n ? -kVqNoScore : kVqNoScore);
}

bool aligned(const float* rows) { return reinterpret_cast<std::uintptr_t>(rows) % 16 == 0; }

}  // namespace

void vq_rows(const VqProblem& q, cudaStream_t stream) {
  const bool screened = q.plan.n_slices != 0;
  if (screened) check(cudaMemsetAsync(q.scratch.reach, 0, sizeof(*q.scratch.reach), stream), kOp);
  const unsigned code_blocks = vq_blocks(screened ? q.plan.k : q.k, kRows);
  const unsigned latent_blocks = vq_blocks(screened ? q.plan.n : q.n, kRows);
  const bool by_four = q.d % 4 == 0 && aligned(q.latents) && aligned(q.codebook);
  const LaunchShape shape{code_blocks + latent_blocks, kThreads};
  launch(kOp, rows_kernel, shape, stream, {q, code_blocks, by_four});
}

}  // namespace glc::cuda

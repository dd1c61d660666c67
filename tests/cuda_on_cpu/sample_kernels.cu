// SPDX-License-Identifier: Apache-2.0
#include "core/cuda_launch.h"
#include "cuda_on_cpu/sample_kernels.h"

namespace glc::cuda::samples {
namespace {

constexpr int kWarps = kTile / kWarpLanes;

struct CompactParams {
  const std::int32_t* in;
  int n;
  std::int32_t* out;
  std::int32_t* counts;
};

__global__ void compact_kernel(CompactParams p) {
  auto& offsets = block_shared<std::int32_t[kWarps]>();
  const int tile = static_cast<int>(blockIdx.x) * kTile;
  const int i = tile + static_cast<int>(threadIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const std::int32_t value = i < p.n ? p.in[i] : 0;
  const unsigned kept = __ballot_sync(kFullWarp, value != 0);
  if (lane == 0) offsets[warp] = __popc(kept);
  __syncthreads();
  if (warp == 0) {
    const std::int32_t count = lane < kWarps ? offsets[lane] : 0;
    std::int32_t end = count;
    for (int d = 1; d < kWarpLanes; d *= 2) {
      const std::int32_t before = __shfl_up_sync(kFullWarp, end, static_cast<unsigned>(d));
      if (lane >= d) end += before;
    }
    if (lane < kWarps) offsets[lane] = end - count;
    if (lane == kWarpLanes - 1) p.counts[blockIdx.x] = end;
  }
  __syncthreads();
  if (value != 0) p.out[tile + offsets[warp] + __popc(kept & ((1U << lane) - 1U))] = value;
}

struct HistogramParams {
  const std::uint8_t* in;
  int n;
  std::uint32_t* histogram;
};

__global__ void histogram_kernel(HistogramParams p) {
  auto* const counts = dynamic_shared<std::uint32_t>();
  for (unsigned value = threadIdx.x; value < 256; value += blockDim.x) counts[value] = 0;
  __syncthreads();
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < p.n; i += step) {
    atomicAdd(&counts[p.in[i]], 1U);
  }
  __syncthreads();
  for (unsigned value = threadIdx.x; value < 256; value += blockDim.x) {
    if (counts[value] != 0) atomicAdd(&p.histogram[value], counts[value]);
  }
}

struct SumParams {
  const float* in;
  int n;
  float* out;
  float* partial;
  std::uint32_t* counter;
};

__device__ float warp_sum(float value) {
  for (int d = kWarpLanes / 2; d > 0; d /= 2) {
    value = __fadd_rn(value, __shfl_xor_sync(kFullWarp, value, d));
  }
  return value;
}

__global__ void sum_kernel(SumParams p) {
  float mine = 0.0F;
  const int step = static_cast<int>(gridDim.x) * kWarpLanes;
  for (int i = static_cast<int>(blockIdx.x * kWarpLanes + threadIdx.x); i < p.n; i += step) {
    mine = __fadd_rn(mine, p.in[i]);
  }
  const float total = warp_sum(mine);
  bool last = false;
  if (threadIdx.x == 0) {
    p.partial[blockIdx.x] = total;
    __threadfence();
    last = atomicAdd(p.counter, 1U) + 1 == gridDim.x;
    __threadfence();
  }
  if (__any_sync(kFullWarp, last) == 0) return;
  if (threadIdx.x != 0) return;
  float sum = 0.0F;
  for (unsigned block = 0; block < gridDim.x; ++block) sum = __fadd_rn(sum, p.partial[block]);
  *p.out = sum;
}

}  // namespace

void compact(
    const std::int32_t* in, int n, std::int32_t* out, std::int32_t* counts, cudaStream_t stream) {
  if (n == 0) return;
  const auto n_tiles = static_cast<unsigned>((n + kTile - 1) / kTile);
  launch("compact", compact_kernel, {n_tiles, kTile}, stream, {in, n, out, counts});
}

void histogram(const std::uint8_t* in, int n, std::uint32_t* histogram, cudaStream_t stream) {
  if (n == 0) return;
  const LaunchShape shape{3, 64, 256 * sizeof(std::uint32_t)};
  launch("histogram", histogram_kernel, shape, stream, {in, n, histogram});
}

void sum(const float* in,
         int n,
         float* out,
         float* partial,
         std::uint32_t* counter,
         int n_blocks,
         cudaStream_t stream) {
  const LaunchShape shape{static_cast<unsigned>(n_blocks), kWarpLanes};
  launch("sum", sum_kernel, shape, stream, {in, n, out, partial, counter});
}

}  // namespace glc::cuda::samples

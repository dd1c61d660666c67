// SPDX-License-Identifier: Apache-2.0
// The values of a warp or a block joined into one, in a fixed order.
#pragma once

#include "core/cuda_launch.h"
#include "entropy/vec_cuda.cuh"

namespace glc::entropy {
namespace {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// On all lanes; joined(a, b) must equal joined(b, a).
template <class T, class F>
__device__ T of_warp(T mine, F joined) {
  for (int step = cuda::kWarpLanes / 2; step > 0; step /= 2) {
    mine = joined(mine, __shfl_xor_sync(cuda::kFullWarp, mine, step));
  }
  return mine;
}

/// On all of kThreads threads.
template <class T, class F>
__device__ T of_block(T mine, F joined) {
  constexpr unsigned kWarps = kThreads / cuda::kWarpLanes;
  auto& all = cuda::block_shared<T[kWarps]>();
  mine = of_warp(mine, joined);
  __syncthreads();  // before others' reads of the last result
  if (threadIdx.x % cuda::kWarpLanes == 0) all[threadIdx.x / cuda::kWarpLanes] = mine;
  __syncthreads();
  T result = all[0];
  for (unsigned warp = 1; warp < kWarps; ++warp) result = joined(result, all[warp]);
  return result;
}

}  // namespace
}  // namespace glc::entropy

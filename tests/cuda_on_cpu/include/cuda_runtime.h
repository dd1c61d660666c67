// SPDX-License-Identifier: Apache-2.0
//
// Stand-in for the CUDA runtime's header: what a kernel file compiled by a plain C++ compiler sees.
// Shared memory is taken through glc::cuda::block_shared and dynamic_shared (core/cuda_launch.h);
// the keyword __shared__ is left undefined, because a variable of it could not be poisoned.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

#include "cuda_on_cpu/atomics.h"
#include "cuda_on_cpu/collectives.h"
#include "cuda_on_cpu/intrinsics.h"
#include "cuda_on_cpu/scheduler.h"
#include "cuda_runtime_api.h"
#include "vector_types.h"

#define threadIdx (::cuda_on_cpu::this_thread().thread)
#define blockIdx (::cuda_on_cpu::this_thread().block)
#define blockDim (::cuda_on_cpu::this_thread().block_dim)
#define gridDim (::cuda_on_cpu::this_thread().grid_dim)
inline constexpr int warpSize = 32;

// SPDX-License-Identifier: Apache-2.0
//
// How threads of a block that run at their own pace meet and read what others change, and the plain
// twins for the tests on the CPU.
#pragma once

#include <cstdint>

#include "core/cuda_launch.h"

namespace glc::cuda {

/// Waits until n_threads, whole warps, have come to this barrier, 0 .. 15, of the block, and orders
/// memory among them. Every thread of the block has to call it equally often: the twin waits for
/// all of them.
__device__ __forceinline__ void sync_threads(int barrier, int n_threads) {
#ifdef __CUDACC__
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(n_threads) : "memory");
#else
  static_cast<void>(barrier);
  static_cast<void>(n_threads);
  __syncthreads();
#endif
}

/// What an atomic operation of some thread has left there.
__device__ __forceinline__ std::uint32_t load_relaxed(const std::uint32_t& from) {
#ifdef __CUDACC__
  return *static_cast<const volatile std::uint32_t*>(&from);
#else
  return __atomic_load_n(&from, __ATOMIC_RELAXED);
#endif
}

}  // namespace glc::cuda

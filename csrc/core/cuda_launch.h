// SPDX-License-Identifier: Apache-2.0
//
// What a .cu file includes in place of the CUDA runtime's header: launches and shared memory in the
// one way that also compiles without nvcc, so that the tests can run the same kernels on the CPU
// (tests/cuda_on_cpu).
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include <cuda_runtime.h>

#include "glc/error.h"

namespace glc::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr unsigned kFullWarp = 0xFFFFFFFFU;

/// Throws CudaError naming op unless the call succeeded.
inline void check(cudaError_t error, const char* op) {
  if (error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // or the next launch would report it once more
    throw CudaError(std::string(op) + ": CUDA: " + cudaGetErrorString(error));
  }
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  ///< dynamic shared memory
};

/// Starts kernel on the stream; never waits. Throws CudaError naming op when it cannot start.
template <class... Params>
void launch(const char* op,
            void (*kernel)(Params...),
            LaunchShape shape,
            cudaStream_t stream,
            std::type_identity_t<Params>... arguments) {
#ifdef __CUDACC__
  kernel<<<shape.grid, shape.block, shape.shared_bytes, stream>>>(arguments...);
#else
  static_cast<void>(stream);
  cuda_on_cpu::launch(
      reinterpret_cast<const void*>(kernel), shape.grid, shape.block, shape.shared_bytes, [&] {
        kernel(arguments...);
      });
#endif
  check(cudaGetLastError(), op);
}

/// Lets kernel be launched with more dynamic shared memory than the 48 KiB every device gives. The
/// same bytes each time: threads share the limit, and one that lowers it fails another's launch.
template <class... Params>
void allow_shared_bytes(const char* op, void (*kernel)(Params...), std::size_t bytes) {
  check(cudaFuncSetAttribute(
            kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        op);
}

/// The block's own T, uninitialised. It is the same one wherever the kernel asks for this T: what
/// has to live side by side goes into one struct.
template <class T>
__device__ __forceinline__ T& block_shared() {
#ifdef __CUDACC__
  __shared__ T memory;
  return memory;
#else
  static constexpr char kKey = 0;
  return *static_cast<T*>(cuda_on_cpu::shared_memory(&kKey, sizeof(T)));
#endif
}

/// The dynamic shared memory of the launch, aligned to 1024 bytes, uninitialised.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(1024) unsigned char glc_dynamic_shared[];
  return reinterpret_cast<T*>(glc_dynamic_shared);
#else
  return static_cast<T*>(cuda_on_cpu::dynamic_shared_memory());
#endif
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// Copies from global into shared memory that bypass the registers (sm_80 and later), loads that
// nothing waits for yet, and their plain twins for the tests on the CPU, which have happened when
// they return.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cuda_launch.h"

namespace glc::cuda {

/// Starts copying kFloats floats, 1 or 4, to shared memory; zeros where not inside, whose address
/// is not read. Both addresses are multiples of the size.
template <int kFloats>
__device__ __forceinline__ void copy_async(float* to, const float* from, bool inside) {
  static_assert(kFloats == 1 || kFloats == 4);
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int n_bytes = inside ? kFloats * 4 : 0;
  if constexpr (kFloats == 4) {
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(n_bytes)
        : "memory");
  } else {
    asm volatile(
        "cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(n_bytes)
        : "memory");
  }
#else
  for (int i = 0; i < kFloats; ++i) to[i] = inside ? from[i] : 0.0F;
#endif
}

/// Starts loading the number at a place, which no kernel writes, or gives 0 and reads nothing.
/// Written as a choice between the two, the load would be waited for at once.
__device__ __forceinline__ std::uint32_t load_if(bool wanted,
                                                 const std::uint32_t* numbers,
                                                 std::uint32_t place) {
  std::uint32_t value = 0;
#ifdef __CUDACC__
  asm volatile(
      "{\n"
      "  .reg .pred wanted;\n"
      "  setp.ne.u32 wanted, %2, 0;\n"
      "  @wanted ld.global.nc.u32 %0, [%1];\n"
      "}"
      : "+r"(value)
      : "l"(numbers + place), "r"(static_cast<std::uint32_t>(wanted)));
#else
  if (wanted) value = numbers[place];
#endif
  return value;
}

/// Starts copying 16 bytes to shared memory; both addresses are multiples of 16.
__device__ __forceinline__ void copy_16_async(void* to, const void* from) {
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
  std::memcpy(to, from, 16);
#endif
}

/// Ends a group of the copies that this thread has started.
__device__ __forceinline__ void commit_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most kPending of this thread's groups are under way. Other threads see the copied
/// values after a barrier.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// Dynamic shared memory by address. A load takes 32 bits, and what is computed of them stays there:
// an address that a table holds, or that a mask keeps inside a ring, costs no base to be added.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/cuda_launch.h"

namespace glc::cuda {

/// Where the block's dynamic shared memory begins, a multiple of 1024.
__device__ __forceinline__ std::uint32_t shared_address() {
#ifdef __CUDACC__
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(dynamic_shared<unsigned char>()));
#else
  return 0;
#endif
}

/// The T at an address; volatile: loads and stores of these functions keep their order, among each
/// other and beside barriers. Other accesses to the same memory do not.
template <class T>
__device__ __forceinline__ T load_shared(std::uint32_t address) {
  T value;
#ifdef __CUDACC__
  if constexpr (sizeof(T) == 2) {
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(value) : "r"(address));
  } else if constexpr (sizeof(T) == 4) {
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address));
  } else {
    static_assert(sizeof(T) == sizeof(uint2));
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(value.x), "=r"(value.y) : "r"(address));
  }
#else
  std::memcpy(&value, dynamic_shared<unsigned char>() + address, sizeof(value));
#endif
  return value;
}

/// Stores 4 bytes; the address is a multiple of 4.
__device__ __forceinline__ void store_shared(std::uint32_t address, std::uint32_t value) {
#ifdef __CUDACC__
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(value));
#else
  std::memcpy(dynamic_shared<unsigned char>() + address, &value, sizeof(value));
#endif
}

}  // namespace glc::cuda

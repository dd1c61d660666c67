// SPDX-License-Identifier: Apache-2.0
//
// The tensor-core instructions that kernels use, and their plain twins for the tests on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include <cuda_bf16.h>

#include "core/cuda_launch.h"

namespace glc::cuda {

/// sum[16][8] += a[16][16] b[16][8] in bf16, sums in float32, by one warp (sm_80 and later). With
/// group = lane / 4 and pair = lane % 4, a register holds two neighbours along the summed
/// dimension:
///   a[0], a[1]: rows group, group + 8, columns 2 pair ..; a[2], a[3]: the same, columns 8 + 2 pair
///   .. b[0], b[1]: rows 2 pair .., 8 + 2 pair .., column group sum[0..1]: row group, columns 2
///   pair ..; sum[2..3]: row group + 8, the same columns
__device__ __forceinline__ void mma_bf16(float (&sum)[4],
                                         const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const auto value = [](std::uint32_t word, int half) {
    return __uint_as_float(half == 0 ? word << 16 : word & 0xFFFF0000U);
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  for (int from = 0; from < 4; ++from) {
    std::uint32_t row[4];
    std::uint32_t column[2][2];
    for (int i = 0; i < 4; ++i) row[i] = __shfl_sync(kFullWarp, a[i], lane / 4 * 4 + from);
    for (int c = 0; c < 2; ++c) {
      for (int i = 0; i < 2; ++i) {
        column[c][i] = __shfl_sync(kFullWarp, b[i], (2 * (lane % 4) + c) * 4 + from);
      }
    }
    for (int i = 0; i < 4; ++i) {  // sum[i]: row i / 2, column i % 2
      for (int half = 0; half < 2; ++half) {
        sum[i] += value(row[i / 2], half) * value(column[i % 2][0], half);
        sum[i] += value(row[2 + i / 2], half) * value(column[i % 2][1], half);
      }
    }
  }
#endif
}

/// Four 8 x 8 matrices of 16-bit values from shared memory, by one warp: lane i brings the address
/// of row i % 8 of matrix i / 8, 16 bytes, and gets in out[m] values 2 (i % 4) .. of row i / 4 of
/// matrix m, which is how mma_bf16 takes its factors.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* row) {
#ifdef __CUDACC__
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
#else
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  for (int m = 0; m < 4; ++m) {
    const void* const from = __shfl_sync(kFullWarp, row, 8 * m + lane / 4);
    std::memcpy(&out[m], static_cast<const unsigned char*>(from) + lane % 4 * 4, 4);
  }
#endif
}

}  // namespace glc::cuda

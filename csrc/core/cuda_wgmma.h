// SPDX-License-Identifier: Apache-2.0
//
// Hopper's products of matrices in shared memory, by four warps (sm_90a alone), and their plain
// twin for the tests on the CPU.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>

#include "core/cuda_launch.h"

namespace glc::cuda {

/// Makes what this thread has copied to shared memory visible to products after a barrier.
__device__ __forceinline__ void show_to_products() {
#ifdef __CUDACC__
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/// A row's 64 values in bf16. Of row r, the u-th 16 bytes stand at place u ^ r % 8.
using SwizzledRow = __nv_bfloat16[64];

#if defined(__CUDACC__)
namespace wgmma {

/// Rows of 128 bytes, swizzled as above, eight rows after eight: the address of the first, a
/// multiple of 1024 and further along a row by multiples of 32, in 16 bytes; of eight rows to the
/// next 1024; and 1 for a swizzle over 128 bytes. (PTX ISA, matrix descriptor)
__device__ __forceinline__ std::uint64_t descriptor(const void* rows) {
  const auto address = static_cast<std::uint64_t>(__cvta_generic_to_shared(rows));
  return (address & 0x3FFFF) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}

/// sum += 64 x 16 values of a by 256 x 16 of b, transposed.
__device__ __forceinline__ void multiply_add(float (&sum)[32][4],
                                             std::uint64_t a,
                                             std::uint64_t b) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GLC_FOUR(i) "+f"(sum[i][0]), "+f"(sum[i][1]), "+f"(sum[i][2]), "+f"(sum[i][3])
  // clang-format off
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, 1, 1, 1, 0, 0;"
      : GLC_FOUR(0), GLC_FOUR(1), GLC_FOUR(2), GLC_FOUR(3),
        GLC_FOUR(4), GLC_FOUR(5), GLC_FOUR(6), GLC_FOUR(7),
        GLC_FOUR(8), GLC_FOUR(9), GLC_FOUR(10), GLC_FOUR(11),
        GLC_FOUR(12), GLC_FOUR(13), GLC_FOUR(14), GLC_FOUR(15),
        GLC_FOUR(16), GLC_FOUR(17), GLC_FOUR(18), GLC_FOUR(19),
        GLC_FOUR(20), GLC_FOUR(21), GLC_FOUR(22), GLC_FOUR(23),
        GLC_FOUR(24), GLC_FOUR(25), GLC_FOUR(26), GLC_FOUR(27),
        GLC_FOUR(28), GLC_FOUR(29), GLC_FOUR(30), GLC_FOUR(31)
      : "l"(a), "l"(b));
  // clang-format on
#undef GLC_FOUR
#endif
}

}  // namespace wgmma
#endif

/// sum += a b^T: 64 rows of a, 256 of b, which both begin at multiples of 1024 bytes. Warp w of the
/// four and its lane hold in sum[j][2 r + e] row 16 w + lane / 4 + 8 r of a and row
/// 8 j + 2 (lane % 4) + e of b. Calls meanwhile() while the tensor cores work.
template <class Meanwhile>
__device__ __forceinline__ void multiply_64_by_256(float (&sum)[32][4],
                                                   const SwizzledRow* a,
                                                   const SwizzledRow* b,
                                                   Meanwhile meanwhile) {
#ifdef __CUDACC__
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
  for (int t = 0; t < 64; t += 16) {
    wgmma::multiply_add(sum, wgmma::descriptor(&a[0][t]), wgmma::descriptor(&b[0][t]));
  }
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  meanwhile();
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
  for (auto& four : sum) {
#pragma unroll
    for (float& value : four) asm volatile("" : "+f"(value)::"memory");  // not read before the wait
  }
#endif
#else
  const auto value = [](const SwizzledRow* rows, int r, int t) {
    return __bfloat162float(rows[r][(t / 8 ^ r % 8) * 8 + t % 8]);
  };
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes % 4;
  for (int at = 0; at < 128; ++at) {
    const int row = 16 * warp + lane / 4 + at % 4 / 2 * 8;
    const int column = at / 4 * 8 + lane % 4 * 2 + at % 2;
    for (int t = 0; t < 64; ++t) sum[at / 4][at % 4] += value(a, row, t) * value(b, column, t);
  }
  meanwhile();
#endif
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of the coder share. A warp works on 32 / lanes segments side by side, one group
// of lanes each; with 32 lanes, a warp is a segment.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/cuda_answers.h"
#include "core/cuda_copy.h"
#include "core/cuda_launch.h"
#include "glc/cuda/rans.h"
#include "rans/entries.h"
#include "rans/escape_number.h"
#include "rans/rans_cuda_error.h"
#include "rans/rans_state.h"
#include "rans/segments.h"
#include "rans/stream_check.h"

namespace glc::cuda {

using rans::OneRow;

/// Threads of a block. Tables are staged once for each block, so it is large; two such blocks give
/// a processor 32 of its 64 warps at up to 64 registers a thread, which is enough to fill it.
inline constexpr int kBlock = 512;
inline constexpr int kBlocksPerProcessor = 2;
inline constexpr int kBlockWarps = kBlock / kWarpLanes;
static_assert(kBlocksPerProcessor * kBlockWarps == kRansWarpsPerProcessor);

/// Keeps the error with the smallest place.
__device__ inline void note(std::uint64_t* error, RansError code, std::uint64_t place) {
  atomicMin(reinterpret_cast<unsigned long long*>(error),
            static_cast<unsigned long long>(place << 8 | static_cast<std::uint64_t>(code)));
}

/// This thread's place among the lanes of a segment.
struct Group {
  int lanes;
  int lane;               ///< of the segment
  int first;              ///< the segment's lane 0, in the warp
  unsigned mask;          ///< the segment's lanes, in the warp
  std::uint64_t segment;  ///< of the push; may be beyond its last

  __device__ Group(std::uint32_t log2_lanes, std::uint64_t turn)
      : lanes(1 << log2_lanes), lane(thread_lane() & (lanes - 1)), first(thread_lane() - lane) {
    mask = (lanes == kWarpLanes ? kFullWarp : (1U << lanes) - 1U) << first;
    segment = (turn << (5U - log2_lanes)) + static_cast<std::uint32_t>(first >> log2_lanes);
  }
  __device__ static int thread_lane() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
  /// Number of this group's votes, and those of lanes before this one.
  __device__ int votes(unsigned ballot) const { return __popc(ballot & mask); }
  __device__ int votes_before(unsigned ballot) const {
    return __popc(ballot & mask & ((1U << thread_lane()) - 1U));
  }
};

/// The sum (rans/stream_check.h) of n symbols, in every lane of the group that calls it; mine is of
/// this lane's, of which `lanes` times the sum's factor leads to the next; more is added.
__device__ inline std::uint32_t sum_of_lanes(const Group& group,
                                             std::uint32_t mine,
                                             std::uint32_t n,
                                             std::uint32_t more = 0) {
  const auto lane = static_cast<std::uint32_t>(group.lane);
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  std::uint32_t sum = more;
  if (lane < n) sum += mine * rans::sum_power((n - 1 - lane) % lanes);
  for (int d = 1; d < group.lanes; d *= 2) sum += __shfl_xor_sync(group.mask, sum, d);
  return sum;
}

/// Warps of the grid take turns: f(turn) with turn < n_turns, the same for all lanes of a warp.
template <class F>
__device__ __forceinline__ void each_turn(std::uint64_t n_turns, F f) {
  const std::uint64_t n_warps = std::uint64_t{gridDim.x} * (blockDim.x / kWarpLanes);
  std::uint64_t turn =
      std::uint64_t{blockIdx.x} * (blockDim.x / kWarpLanes) + threadIdx.x / kWarpLanes;
  for (; turn < n_turns; turn += n_warps) f(turn);
}
/// Turns of a push of n_segments.
__device__ inline std::uint64_t turns_of(std::uint64_t n_segments, std::uint32_t log2_lanes) {
  const std::uint64_t at_once = 32U >> log2_lanes;
  return (n_segments + at_once - 1) / at_once;
}

/// The row of symbol i; one for all when Row is OneRow.
template <class Row>
__device__ __forceinline__ std::uint32_t row_of(const Row* rows,
                                                std::uint32_t one_row,
                                                std::uint64_t i) {
  if constexpr (std::is_same_v<Row, OneRow>) {
    return one_row;
  } else {
    return static_cast<std::uint32_t>(__ldg(&rows[i]));
  }
}

/// Copies bytes to the block's dynamic shared memory, from `at` on, both multiples of kRansAlign;
/// all threads call it.
__device__ inline const std::byte* stage(const std::byte* from,
                                         std::uint32_t bytes,
                                         std::uint32_t at = 0) {
  auto* const to = dynamic_shared<uint4>() + at / sizeof(uint4);
  const auto* const vectors = reinterpret_cast<const uint4*>(from);
  for (unsigned i = threadIdx.x; i < bytes / sizeof(uint4); i += blockDim.x) {
    copy_16_async(&to[i], &vectors[i]);
  }
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  return reinterpret_cast<const std::byte*>(to);
}

/// Host: shared memory that a block may have, beside what the kernel uses statically.
inline std::size_t most_shared_bytes(const char* op) {
  static Answers<std::size_t, int> answers;
  int device = 0;
  check(cudaGetDevice(&device), op);
  return answers.to(device, [&] {
    int bytes = 0;
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), op);
    constexpr int kStatic = 8 << 10;
    return static_cast<std::size_t>(bytes > kStatic ? bytes - kStatic : 0);
  });
}

/// Host: blocks that fill the device, or fewer when there is less to do. The kernel is allowed all
/// the dynamic shared memory there is where kMuchShared is.
template <bool kMuchShared = false, class Kernel>
unsigned blocks_for(const char* op, Kernel kernel, std::size_t shared_bytes, std::size_t n_warps) {
  static Answers<std::size_t, int, Kernel, std::size_t> answers;
  int device = 0;
  check(cudaGetDevice(&device), op);
  const std::size_t most = answers.to(device, kernel, shared_bytes, [&] {
    if constexpr (kMuchShared) allow_shared_bytes(op, kernel, most_shared_bytes(op));
    int n_processors = 0;
    int per_processor = 0;
    check(cudaDeviceGetAttribute(&n_processors, cudaDevAttrMultiProcessorCount, device), op);
    check(
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, kernel, kBlock, shared_bytes),
        op);
    return static_cast<std::size_t>(n_processors) *
           static_cast<std::size_t>(per_processor < 1 ? 1 : per_processor);
  });
  const std::size_t wanted = (n_warps + kBlockWarps - 1) / kBlockWarps;
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

}  // namespace glc::cuda

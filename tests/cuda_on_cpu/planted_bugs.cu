// SPDX-License-Identifier: Apache-2.0
//
//   planted_bugs NAME    runs a kernel with one mistake in it
//
// Each must be reported: by the emulation, by the address sanitizer or by the thread sanitizer, at
// the line marked "bug". CMakeLists.txt says what the report has to read.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/cuda_launch.h"

namespace {

using glc::cuda::block_shared;
using glc::cuda::dynamic_shared;
using glc::cuda::kFullWarp;

struct Params {
  unsigned* out;
};

__global__ void caller_not_in_mask(Params p) {
  p.out[threadIdx.x] = __ballot_sync(0x0000FFFFU, 1);  // bug: lanes 16..31 are not in it
}

__global__ void shuffle_from_outside(Params p) {
  if (threadIdx.x >= 16) return;
  p.out[threadIdx.x] = __shfl_sync(0x0000FFFFU, threadIdx.x, 20);  // bug: lane 20 is not there
}

__global__ void deadlock(Params p) {
  if (threadIdx.x == 0) __syncwarp(0x3U);  // bug: lane 1 waits for the block, and so for this one
  __syncthreads();
  p.out[threadIdx.x] = threadIdx.x;
}

// A lane leaves the loop, and the collective of those that stay meets its next one.
__global__ void escaping_collective(Params p) {
  unsigned rounds = 0;
  while (rounds < threadIdx.x % 4) {
    rounds += static_cast<unsigned>(__popc(__ballot_sync(kFullWarp, 1)) / 32);  // bug
  }
  p.out[threadIdx.x] = __reduce_add_sync(kFullWarp, rounds);
}

__global__ void divergent_barrier(Params p) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();  // bug: not the same barrier as below
  } else {
    __syncthreads();
  }
  p.out[threadIdx.x] = threadIdx.x;
}

__global__ void missing_block_barrier(Params p) {
  auto& values = block_shared<unsigned[64]>();
  values[threadIdx.x] = threadIdx.x;
  p.out[threadIdx.x] = values[63 - threadIdx.x];  // bug: no __syncthreads() before
}

__global__ void missing_warp_barrier(Params p) {
  auto& values = block_shared<unsigned[64]>();
  values[threadIdx.x] = threadIdx.x;
  __ballot_sync(kFullWarp, 1);                   // orders no memory
  p.out[threadIdx.x] = values[threadIdx.x ^ 1];  // bug: no __syncwarp() before
}

__global__ void missing_second_barrier(Params p) {
  auto& values = block_shared<unsigned[64]>();
  for (unsigned i = 0; i < 2; ++i) {
    values[threadIdx.x] = i;  // bug: others may still read those of the last round
    __syncthreads();
    p.out[threadIdx.x] = values[63 - threadIdx.x];
  }
}

__global__ void race_between_blocks(Params p) {
  p.out[threadIdx.x % 2] = blockIdx.x;  // bug: every block writes here
}

__global__ void static_overflow(Params p) {
  auto& values = block_shared<unsigned[64]>();
  values[threadIdx.x + 1] = threadIdx.x;  // bug: by one
  p.out[threadIdx.x] = threadIdx.x;
}

__global__ void dynamic_overflow(Params p) {
  auto* const values = dynamic_shared<unsigned>();
  values[threadIdx.x] = threadIdx.x;  // bug: the launch asked for 63
  p.out[threadIdx.x] = threadIdx.x;
}

__global__ void global_overflow(Params p) {
  p.out[threadIdx.x + 1] = threadIdx.x;  // bug: by one
}

__global__ void uninitialised_shared(Params p) {
  auto& sum = block_shared<unsigned>();
  __syncthreads();
  atomicAdd(&sum, 1U);  // bug: never set to 0
  __syncthreads();
  p.out[threadIdx.x] = sum;
}

using Kernel = void (*)(Params);
struct Bug {
  const char* name;
  Kernel kernel;
};
constexpr Bug kBugs[] = {
    {"caller_not_in_mask", caller_not_in_mask},
    {"shuffle_from_outside", shuffle_from_outside},
    {"deadlock", deadlock},
    {"escaping_collective", escaping_collective},
    {"divergent_barrier", divergent_barrier},
    {"missing_block_barrier", missing_block_barrier},
    {"missing_warp_barrier", missing_warp_barrier},
    {"missing_second_barrier", missing_second_barrier},
    {"race_between_blocks", race_between_blocks},
    {"static_overflow", static_overflow},
    {"dynamic_overflow", dynamic_overflow},
    {"global_overflow", global_overflow},
    {"uninitialised_shared", uninitialised_shared},
};

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, [](int) { std::_Exit(1); });  // a report ends with abort()
  const std::string_view name = argc == 2 ? argv[1] : "";
  for (const Bug& bug : kBugs) {
    if (bug.name != name) continue;
    std::vector<unsigned> out(64);
    glc::cuda::launch(bug.name, bug.kernel, {2, 64, 63 * sizeof(unsigned)}, nullptr, {out.data()});
    std::printf("out[0] is %u\n", out[0]);
    return 0;
  }
  std::fprintf(stderr, "no such bug\n");
  return 2;
}

// SPDX-License-Identifier: Apache-2.0
//
// The limits that a device puts on a launch.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "cuda_on_cpu/scheduler.h"
#include "cuda_runtime_api.h"

namespace cuda_on_cpu {
namespace {

constexpr unsigned kMostGridYz = 65535;

thread_local cudaError_t last_error = cudaSuccess;

struct AllowedShared {
  std::mutex mutex;
  std::map<const void*, std::size_t> bytes;  // of a kernel
};
AllowedShared allowed;

std::size_t allowed_shared(const void* kernel) {
  const std::lock_guard lock(allowed.mutex);
  const auto found = allowed.bytes.find(kernel);
  return found == allowed.bytes.end() ? kDefaultShared : found->second;
}

}  // namespace

void launch(const void* kernel,
            dim3 grid,
            dim3 block,
            std::size_t shared_bytes,
            const std::function<void()>& body) {
  const std::size_t n_threads = std::size_t{block.x} * block.y * block.z;
  const bool empty = n_threads == 0 || grid.x == 0 || grid.y == 0 || grid.z == 0;
  if (empty || n_threads > kMostThreads || grid.y > kMostGridYz || grid.z > kMostGridYz) {
    last_error = cudaErrorInvalidConfiguration;
  } else if (shared_bytes > allowed_shared(kernel)) {
    last_error = cudaErrorInvalidValue;
  } else {
    run_grid(grid, block, shared_bytes, body);
  }
}

cudaError_t allow_dynamic_shared(const void* kernel, std::size_t bytes) {
  if (bytes > kMostShared) return last_error = cudaErrorInvalidValue;
  const std::lock_guard lock(allowed.mutex);
  std::size_t& limit = allowed.bytes[kernel];
  // a device takes less, and then fails the launch of a thread that just asked for more
  if (bytes < limit) return last_error = cudaErrorInvalidValue;
  limit = std::max(bytes, kDefaultShared);
  return cudaSuccess;
}

int compute_capability() {
  const char* const asked = std::getenv("CUDA_ON_CPU_CAPABILITY");
  return asked == nullptr ? 9 : std::atoi(asked);
}

cudaError_t take_error() { return std::exchange(last_error, cudaSuccess); }

}  // namespace cuda_on_cpu

// SPDX-License-Identifier: Apache-2.0
//
// Runs a kernel with one fiber for each CUDA thread. Blocks run one after another; within a block
// a thread runs until it waits for others, then the next one does, in an order that a seed picks.
// What waits for ever, or meets others in the wrong place, is reported with file and line, and the
// program ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "vector_types.h"

namespace cuda_on_cpu {

inline constexpr unsigned kMostThreads = 1024;  ///< of a block

/// Where in the kernel a collective was called.
struct Site {
  const char* file;
  int line;
  /// As a default argument, the place of the call.
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

struct ThreadPlace {
  uint3 thread;
  uint3 block;
  dim3 block_dim;
  dim3 grid_dim;
  unsigned lane;  ///< of its warp
  unsigned warp;  ///< of its block
};
[[nodiscard]] const ThreadPlace& this_thread();

/// Lanes of one warp that have met: combine() sees what each brought and writes what it gets.
struct Meeting {
  unsigned lanes;  ///< those that came
  Site site;
  std::uint64_t value[32];
  int argument[32];
  std::uint64_t reply[32];

  /// Calls f(lane) for each lane that came, in ascending order.
  template <class F>
  void each(F f) const {
    for (unsigned left = lanes; left != 0; left &= left - 1) f(__builtin_ctz(left));
  }
  /// Gives every lane the same.
  void reply_all(std::uint64_t value_for_all) {
    for (std::uint64_t& r : reply) r = value_for_all;
  }
};
using Combine = void (*)(Meeting&);

/// Waits until every live lane of mask has called this with the same mask from the same line;
/// returns the caller's reply. Only when orders_memory is set do they see each other's stores.
std::uint64_t meet_warp(unsigned mask,
                        std::uint64_t value,
                        int argument,
                        Combine combine,
                        bool orders_memory,
                        Site site);

/// Waits for every live thread of the block at the same line; returns how many brought true.
unsigned meet_block(bool value, Site site);

/// A memory fence, as far as the thread sanitizer is concerned: ordered with every other fence.
void fence();
/// Lets others run; what a kernel that polls has to call.
void yield();
/// Ends the program with a message, naming the calling thread.
[[noreturn]] void report(const char* what, Site site);

/// The block's shared memory named by key: fresh for each block, filled with poison, and guarded
/// by the address sanitizer at both ends.
void* shared_memory(const void* key, std::size_t bytes);
/// The bytes that the launch asked for.
void* dynamic_shared_memory();
inline constexpr unsigned char kPoison = 0xCB;

/// Runs body for each thread of the grid. kernel only identifies what may use how much dynamic
/// shared memory. A shape no device would take sets the error that cudaGetLastError returns.
void launch(const void* kernel,
            dim3 grid,
            dim3 block,
            std::size_t shared_bytes,
            const std::function<void()>& body);

/// The same of a shape that is known to be good.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);

/// 0 runs blocks and threads in ascending order; any other value in one permutation of its own.
void set_seed(std::uint64_t seed);

}  // namespace cuda_on_cpu

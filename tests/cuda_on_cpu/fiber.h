// SPDX-License-Identifier: Apache-2.0
//
// A stack that can be left and returned to, known to the address and thread sanitizers.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "cuda_on_cpu/sanitizers.h"

namespace cuda_on_cpu {

/// A stack and the place where it was left. The scheduler's own is the thread's.
class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// Makes this the thread's own stack.
  void adopt_current();
  /// Makes the next switch_to() start entry on a stack of this fiber's own. entry never returns.
  void restart(void (*entry)());
  /// Leaves `from`, which is running, for this; returns when someone switches back. `final` says
  /// that nobody will.
  void switch_from(Fiber& from, bool final = false);
  /// The first thing that entry has to call, with the fiber that it was started from.
  static void entered(Fiber& from);

 private:
  static constexpr std::size_t kStackBytes = 256 << 10;
  char* stack_ = nullptr;
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
  sanitizers::FiberState sanitizer_;
};

}  // namespace cuda_on_cpu

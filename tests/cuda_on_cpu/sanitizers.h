// SPDX-License-Identifier: Apache-2.0
//
// What the sanitizers must be told about fibers. Without a sanitizer all of it is empty.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_ON_CPU_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CUDA_ON_CPU_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CUDA_ON_CPU_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) || defined(GLC_EMULATE_UNDER_TSAN)
#define CUDA_ON_CPU_TSAN 1
#endif

#if defined(CUDA_ON_CPU_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(CUDA_ON_CPU_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {
void __tsan_acquire(void* address);  // NOLINT(bugprone-reserved-identifier)
void __tsan_release(void* address);  // NOLINT(bugprone-reserved-identifier)
}
#endif

namespace cuda_on_cpu::sanitizers {

/// What one thread publishes here, another that acquires it later sees without a race.
inline void release([[maybe_unused]] void* where) {
#if defined(CUDA_ON_CPU_TSAN)
  __tsan_release(where);
#endif
}
inline void acquire([[maybe_unused]] void* where) {
#if defined(CUDA_ON_CPU_TSAN)
  __tsan_acquire(where);
#endif
}

constexpr std::ptrdiff_t kOwnFrame = 1024;  // more than before_leaving() has on the stack

/// Sanitizer state of one stack.
struct FiberState {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  void* fake_stack = nullptr;
  void* tsan_fiber = nullptr;
  char* left_at = nullptr;  // for good: functions that returned left no poison below

  void adopt_current() {
#if defined(CUDA_ON_CPU_TSAN)
    tsan_fiber = __tsan_get_current_fiber();
#endif
  }
  void restart(char* stack, std::size_t stack_bytes) {
    bottom = stack;
    bytes = stack_bytes;
    fake_stack = nullptr;
#if defined(CUDA_ON_CPU_ASAN)
    char* const poisoned = left_at == nullptr ? stack : left_at;
    __asan_unpoison_memory_region(poisoned,
                                  static_cast<std::size_t>(stack + stack_bytes - poisoned));
#endif
#if defined(CUDA_ON_CPU_TSAN)
    if (tsan_fiber == nullptr) tsan_fiber = __tsan_create_fiber(0);
#endif
  }
  void destroy() const {
#if defined(CUDA_ON_CPU_TSAN)
    if (tsan_fiber != nullptr) __tsan_destroy_fiber(tsan_fiber);
#endif
  }
  /// Around the switch from this stack to another.
  void before_leaving([[maybe_unused]] const FiberState& to, [[maybe_unused]] bool final) {
#if defined(CUDA_ON_CPU_ASAN)
    if (final) left_at = static_cast<char*>(__builtin_frame_address(0)) - kOwnFrame;
    __sanitizer_start_switch_fiber(final ? nullptr : &fake_stack, to.bottom, to.bytes);
#endif
#if defined(CUDA_ON_CPU_TSAN)
    __tsan_switch_to_fiber(to.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
  }
  void after_return() {
#if defined(CUDA_ON_CPU_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
  }
  /// On a stack entered for the first time; learns where the stack that it came from lies.
  static void entered([[maybe_unused]] FiberState& from) {
#if defined(CUDA_ON_CPU_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, &from.bottom, &from.bytes);
#endif
  }
};

}  // namespace cuda_on_cpu::sanitizers

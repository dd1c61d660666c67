// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out when told to. To be included by one file of a program: it replaces new and
// delete.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>

namespace glc::test {

inline constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
inline std::atomic<std::size_t> allocations_left = kNever;  // threads of the coder allocate too

inline void* allocate(std::size_t size) {
  std::size_t left = allocations_left;
  while (left != kNever && left != 0 && !allocations_left.compare_exchange_weak(left, left - 1)) {
  }
  if (left == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace glc::test

// NOLINTBEGIN(misc-definitions-in-headers): of one file
// Not inlined: GCC would see free() of what new gave, and warn.
void* operator new(std::size_t size) { return glc::test::allocate(size); }
void* operator new[](std::size_t size) { return glc::test::allocate(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
// NOLINTEND(misc-definitions-in-headers)

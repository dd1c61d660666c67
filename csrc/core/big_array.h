// SPDX-License-Identifier: Apache-2.0
//
// Uninitialised memory that may be large. The system gives it page by page, on first touch, and
// clears each: with large pages that takes a fraction of the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace glc {

/// Asks for large pages where whole ones fit into the memory. Call it before the first touch.
inline void prefer_large_pages([[maybe_unused]] void* p, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  const std::uintptr_t begin = (address + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (address + bytes) / kPage * kPage;
  if (begin >= end) return;
  // a refusal costs only time
  madvise(static_cast<char*>(p) + (begin - address), end - begin, MADV_HUGEPAGE);
#endif
}

struct Free {
  void operator()(void* p) const noexcept {
    std::free(p);  // NOLINT(cppcoreguidelines-no-malloc,cppcoreguidelines-owning-memory)
  }
};
template <class T>
using BigArray = std::unique_ptr<T[], Free>;

/// n values of T, not initialised. Throws std::bad_alloc.
template <class T>
[[nodiscard]] BigArray<T> big_array(std::size_t n) {
  static_assert(std::is_trivial_v<T>);
  if (n > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
  const std::size_t bytes = n * sizeof(T);
  // NOLINTNEXTLINE(cppcoreguidelines-no-malloc,cppcoreguidelines-owning-memory): BigArray owns it
  void* const p = std::malloc(bytes != 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  prefer_large_pages(p, bytes);
  return BigArray<T>(static_cast<T*>(p));
}

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "core/cpu_features.h"

namespace glc::fuzz {

inline void expect(bool condition) {
  if (!condition) __builtin_trap();
}

/// Names of the back ends that this CPU can run, for GLC_SIMD.
inline std::vector<const char*> back_ends() {
  std::vector<const char*> out = {"scalar"};
  if (cpu_features().neon) out.push_back("neon");
  if (cpu_features().avx2) out.push_back("avx2");
  if (cpu_features().avx512) out.push_back("avx512");
  return out;
}

/// The result of f, which every back end has to share.
template <class F>
auto on_every_back_end(F f) {
  static const std::vector<const char*> all = back_ends();
  std::optional<decltype(f())> first;
  for (const char* name : all) {
    setenv("GLC_SIMD", name, 1);  // NOLINT(concurrency-mt-unsafe)
    auto result = f();
    if (!first) {
      first = std::move(result);
    } else {
      expect(result == *first);
    }
  }
  return std::move(*first);
}

}  // namespace glc::fuzz

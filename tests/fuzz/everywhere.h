// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "back_ends.h"

namespace glc::fuzz {

inline void expect(bool condition) {
  if (!condition) __builtin_trap();
}

/// The result of f, which every back end has to share.
template <class F>
auto on_every_back_end(F f) {
  static const std::vector<const char*> all = test::back_ends();
  std::optional<decltype(f())> first;
  for (const char* name : all) {
    test::use_back_end(name);
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

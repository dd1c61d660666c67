// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
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
  test::use_back_end(all.front());
  auto first = f();
  for (const char* name : std::span(all).subspan(1)) {
    test::use_back_end(name);
    expect(f() == first);
  }
  return first;
}

}  // namespace glc::fuzz

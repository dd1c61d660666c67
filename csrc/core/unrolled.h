// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

namespace glc {

/// f(0) .. f(kN - 1), without a loop: in one, compilers keep an array that f indexes in memory.
template <int kN, class F>
[[gnu::always_inline]] inline void unrolled(F f) {
  [&]<int... kI>(std::integer_sequence<int, kI...>) {
    (f(kI), ...);
  }(std::make_integer_sequence<int, kN>());
}

}  // namespace glc

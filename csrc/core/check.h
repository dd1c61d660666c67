// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

#include "glc/error.h"

/// States what inner loops may assume. Compiled out of release builds: it guards against our bugs,
/// never against the caller or a file.
#ifdef NDEBUG
#define GLC_DCHECK(condition) static_cast<void>(0)
#else
#define GLC_DCHECK(condition) assert(condition)
#endif

namespace glc {

/// Throws InvalidArgument(`message`) unless `condition` holds. For messages that are built, branch
/// first and call fail_argument: the text must cost nothing on the good path.
inline void require(bool condition, const char* message) {
  if (!condition) {
    throw InvalidArgument(message);
  }
}

/// Throws InvalidArgument reading `op: argument: expected X, got Y`.
template <class Expected, class Got>
[[noreturn]] void fail_argument(std::string_view op,
                                std::string_view argument,
                                const Expected& expected,
                                const Got& got) {
  const auto text = [](const auto& value) -> std::string {
    if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(value)>>) {
      char digits[32];
      std::snprintf(digits, sizeof(digits), "%g", static_cast<double>(value));
      return digits;
    } else if constexpr (requires { std::to_string(value); }) {
      return std::to_string(value);
    } else {
      return std::string(value);
    }
  };
  throw InvalidArgument(std::string(op) + ": " + std::string(argument) + ": expected " +
                        text(expected) + ", got " + text(got));
}

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <string>
#include <string_view>

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
    if constexpr (requires { std::to_string(value); }) {
      return std::to_string(value);
    } else {
      return std::string(value);
    }
  };
  throw InvalidArgument(std::string(op) + ": " + std::string(argument) + ": expected " +
                        text(expected) + ", got " + text(got));
}

}  // namespace glc

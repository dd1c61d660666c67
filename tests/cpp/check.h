// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <source_location>
#include <string>
#include <utility>

// The native tests are plain programs: main() runs the cases, and the first violated check prints
// its place and ends the program with status 1. No framework, so they build where the core builds.

namespace glc::test {

[[noreturn]] inline void stop(const std::string& what, const std::source_location& at) {
  std::fprintf(
      stderr, "%s:%u: %s: %s\n", at.file_name(), at.line(), at.function_name(), what.c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
}

inline void check(bool condition,
                  const char* what = "check",
                  std::source_location at = std::source_location::current()) {
  if (!condition) {
    stop(what, at);
  }
}

template <class A, class B>
void check_equal(const A& got,
                 const B& expected,
                 const char* what = "check_equal",
                 std::source_location at = std::source_location::current()) {
  if (!(got == expected)) {
    std::string message = what;  // NOLINT(misc-const-correctness): not of every type
    if constexpr (requires {
                    std::to_string(got);
                    std::to_string(expected);
                  }) {
      message += ": expected " + std::to_string(expected) + ", got " + std::to_string(got);
    }
    stop(message, at);
  }
}

/// `body` must throw exactly an E (or a class derived from it).
template <class E, class F>
void check_throws(F&& body,
                  const char* what = "check_throws",
                  std::source_location at = std::source_location::current()) {
  try {
    std::forward<F>(body)();
  } catch (const E&) {
    return;
  } catch (const std::exception& other) {
    stop(std::string(what) + ": another exception: " + other.what(), at);
  }
  stop(std::string(what) + ": nothing was thrown", at);
}

}  // namespace glc::test

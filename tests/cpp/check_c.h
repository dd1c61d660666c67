// SPDX-License-Identifier: Apache-2.0
#ifndef GLC_TESTS_CHECK_C_H_
#define GLC_TESTS_CHECK_C_H_

// What check.h is to the C++ tests: the first violated check prints its place and ends the program
// with status 1. A test says first whose errors it looks at:
//   #define LAST_ERROR glc_rans_last_error

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The C interfaces number their statuses alike.
enum { kOk = 0, kInvalidArgument = 1, kBitstreamError = 2 };

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CHECK_STATUS(call, status) check_status((call), (status), #call, __FILE__, __LINE__)
#define CHECK_OK(call) CHECK_STATUS(call, kOk)
#define CHECK_INVALID(call) CHECK_STATUS(call, kInvalidArgument)
#define CHECK_BROKEN(call) CHECK_STATUS(call, kBitstreamError)

static inline void check(int condition, const char* what, const char* file, int line) {
  if (condition) return;
  fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, LAST_ERROR());
  exit(1);
}

/// An error also explains itself.
static inline void check_status(
    int32_t got, int32_t expected, const char* what, const char* file, int line) {
  check(got == expected, what, file, line);
  if (expected != kOk) check(strlen(LAST_ERROR()) > 10, what, file, line);
}

static inline uint32_t next_random(void) {
  static uint32_t state = 1;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/// Exactly what was asked for, so that a sanitizer sees every overrun.
static inline void* allocate(size_t n) {
  void* memory = malloc(n);
  CHECK(memory != NULL);
  return memory;
}

#endif  // GLC_TESTS_CHECK_C_H_

// SPDX-License-Identifier: Apache-2.0
#ifndef GLC_TESTS_CHECK_C_H_
#define GLC_TESTS_CHECK_C_H_

// What check.h is to the C++ tests: the first violated check prints its place and ends the program
// with status 1.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glc/rans_c.h"

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CHECK_OK(call) check_status((call), GLC_RANS_OK, #call, __FILE__, __LINE__)
#define CHECK_INVALID(call) \
  check_status((call), GLC_RANS_INVALID_ARGUMENT, #call, __FILE__, __LINE__)
#define CHECK_BROKEN(call) check_status((call), GLC_RANS_BITSTREAM_ERROR, #call, __FILE__, __LINE__)

static inline void check(int condition, const char* what, const char* file, int line) {
  if (condition) return;
  fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, glc_rans_last_error());
  exit(1);
}

/// An error also explains itself.
static inline void check_status(
    glc_rans_status got, glc_rans_status expected, const char* what, const char* file, int line) {
  check(got == expected, what, file, line);
  if (expected != GLC_RANS_OK) check(strlen(glc_rans_last_error()) > 10, what, file, line);
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

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

#if !defined(__wasm__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "core/cpu_features.h"

namespace glc::test {

/// Names of the back ends that this CPU can run, as GLC_SIMD takes them; scalar code first.
inline std::vector<const char*> back_ends() {
  std::vector<const char*> out = {"scalar"};
  if (cpu_features().neon) out.push_back("neon");
  if (cpu_features().avx2) out.push_back("avx2");
  if (cpu_features().avx512) out.push_back("avx512");
  return out;
}

/// Puts a back end in force, for code that asks at every call, as the coder does. Not while another
/// thread codes.
inline void use_back_end(const char* name) { force_simd(name); }

/// For code that chooses once in a process: runs `tests` in a child process for each back end, and
/// returns the exit status for main(). Call it before anything has chosen or started a thread.
inline int on_every_back_end(void (*tests)()) {
#if defined(__wasm__)  // which has scalar code alone, and no processes
  tests();
#else
  for (const char* name : back_ends()) {
    const pid_t child = fork();
    if (child == 0) {
      use_back_end(name);
      tests();
      std::exit(0);  // NOLINT(concurrency-mt-unsafe)
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
      std::fprintf(stderr, "the above with GLC_SIMD=%s\n", name);
      return 1;
    }
  }
#endif
  return 0;
}

}  // namespace glc::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <vector>

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
inline void use_back_end(const char* name) {
  setenv("GLC_SIMD", name, 1);  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace glc::test

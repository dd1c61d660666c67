// SPDX-License-Identifier: Apache-2.0
#include "core/cpu_features.h"

#include <array>
#include <cstdlib>
#include <string>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "glc/error.h"

namespace glc {
namespace {

CpuFeatures detect() {
  CpuFeatures out;
#if defined(__aarch64__) || defined(_M_ARM64)
  out.neon = true;
#if defined(__ARM_FEATURE_DOTPROD)
  out.neon_dotprod = true;
#elif defined(__aarch64__) && defined(__linux__)
  out.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
#elif defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  out.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi2");
  out.avx512 = out.avx2 && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
  out.avx512_vnni = out.avx512 && __builtin_cpu_supports("avx512vnni");
#endif
  return out;
}

bool available(Simd simd) {
  const CpuFeatures& cpu = cpu_features();
  switch (simd) {
    case Simd::kScalar:
      return true;
    case Simd::kNeon:
      return cpu.neon;
    case Simd::kAvx2:
      return cpu.avx2;
    case Simd::kAvx512:
      return cpu.avx512;
  }
  return false;
}

/// What GLC_SIMD asks for. Read once: the host may change its environment while kernels run.
std::string& asked_simd() {
  static std::string asked = [] {
    const char* const value = std::getenv("GLC_SIMD");  // NOLINT(concurrency-mt-unsafe)
    return std::string(value == nullptr ? "" : value);
  }();
  return asked;
}

constexpr std::array kAll = {Simd::kAvx512, Simd::kAvx2, Simd::kNeon, Simd::kScalar};

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::string_view simd_name(Simd simd) {
  switch (simd) {
    case Simd::kScalar:
      return "scalar";
    case Simd::kNeon:
      return "neon";
    case Simd::kAvx2:
      return "avx2";
    case Simd::kAvx512:
      return "avx512";
  }
  return "unknown";
}

void force_simd(std::string_view name) { asked_simd() = name; }

Simd simd_in_force(Simd most) {
  const std::string& asked = asked_simd();
  if (asked.empty()) {
    for (const Simd simd : kAll) {
      if (simd <= most && available(simd)) {
        return simd;
      }
    }
    return Simd::kScalar;
  }
  for (const Simd simd : kAll) {
    if (simd_name(simd) == asked) {
      if (!available(simd)) {
        throw Unsupported("simd: GLC_SIMD: this CPU has no " + asked);
      }
      return simd;
    }
  }
  throw Unsupported("simd: GLC_SIMD: expected scalar, neon, avx2 or avx512, got " + asked);
}

}  // namespace glc

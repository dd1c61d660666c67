// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace glc {

/// Instruction sets that kernels are written for, weakest first.
enum class Simd : std::uint8_t { kScalar, kNeon, kAvx2, kAvx512 };

/// What this CPU and operating system can run. Read once.
struct CpuFeatures {
  bool neon = false;
  bool neon_dotprod = false;  ///< with the above: products of bytes, added four at a time
  bool avx2 = false;          ///< with FMA and BMI2, which our AVX2 files also use
  bool avx512 = false;        ///< F, BW, VL and DQ together
  bool avx512_vnni = false;   ///< likewise
};

[[nodiscard]] const CpuFeatures& cpu_features();

/// The instruction set in force: what GLC_SIMD=scalar|neon|avx2|avx512 asked for at the first call,
/// else the best one available up to `most`, which an op raises where AVX-512 measured faster than
/// AVX2.
/// Throws Unsupported when the variable names an unknown set or one this CPU lacks.
[[nodiscard]] Simd simd_in_force(Simd most = Simd::kAvx2);

/// As though GLC_SIMD had asked for this, "" for nothing: for tests. Not while another thread may
/// ask what is in force.
void force_simd(std::string_view name);

[[nodiscard]] std::string_view simd_name(Simd simd);

}  // namespace glc

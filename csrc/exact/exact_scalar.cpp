// SPDX-License-Identifier: Apache-2.0
// Any target. std::fma is one instruction where the compiler may assume one (AArch64); elsewhere it
// is a call of the C library: slow, but the same bits.
#include <cmath>

#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Scalar {
  using Float = float;
  static constexpr int kWidth = 1;
  static constexpr int kRows = 4;

  static Float load(const float* p) { return *p; }
  static void store(float* p, Float v) { *p = v; }
  static Float broadcast(float v) { return v; }
  static Float fma(Float a, Float b, Float c) { return std::fma(a, b, c); }
  static Float add(Float a, Float b) { return a + b; }
  static Float mul(Float a, Float b) { return a * b; }
  static Float where_positive(Float v, Float yes, Float no) { return v > 0.0F ? yes : no; }
};

}  // namespace

Backend backend_scalar() { return Kernel<Scalar>::backend(Simd::kScalar); }

}  // namespace glc::exact

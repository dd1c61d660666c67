// SPDX-License-Identifier: Apache-2.0
// Any target: four floats by what the compiler makes of them.
#include <cstring>

#include "core/fused.h"
#include "exact/exact_kernel.h"

namespace glc::exact {
namespace {

struct Scalar {
  using Float = Float4;
  static constexpr int kWidth = 4;
  static constexpr int kRows = 4;

  static Float load(const float* p) {
    Float v;
    std::memcpy(&v, p, sizeof(v));
    return v;
  }
  static void store(float* p, Float v) { std::memcpy(p, &v, sizeof(v)); }
  static Float broadcast(float v) { return Float{v, v, v, v}; }
  static Float fma(Float a, Float b, Float c) { return fused(a, b, c); }
  static Float add(Float a, Float b) { return a + b; }
  static Float mul(Float a, Float b) { return a * b; }
  static Float where_positive(Float v, Float yes, Float no) { return v > 0.0F ? yes : no; }
};

}  // namespace

Backend backend_scalar() { return Kernel<Scalar>::backend(Simd::kScalar); }

}  // namespace glc::exact

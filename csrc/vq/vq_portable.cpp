// SPDX-License-Identifier: Apache-2.0
// Any target, and the choice among what this one has.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "core/cpu_features.h"
#include "core/fused.h"
#include "vq/vq_backend.h"

namespace glc {
namespace {

/// Loops over four lanes become vectors where the target has them.
struct Portable {
  static constexpr int kWidth = 4;
  static constexpr int kCodes = 4;
  static constexpr int kScreenCodes = 4;
  static constexpr int kLevels = 127;
  static constexpr int kOffset = 128;
  using Float = std::array<float, kWidth>;
  using Int = std::array<std::int32_t, kWidth>;

  template <class Array, class F>
  static Array each(F f) {
    return {f(0), f(1), f(2), f(3)};
  }

  static Float load(const float* p) { return {p[0], p[1], p[2], p[3]}; }
  static void store(float* p, const Float& v) { std::ranges::copy(v, p); }
  static Int load_int(const std::int32_t* p) { return {p[0], p[1], p[2], p[3]}; }
  static void store_int(std::int32_t* p, const Int& v) { std::ranges::copy(v, p); }
  static Float broadcast(float v) { return {v, v, v, v}; }
  static Int broadcast_int(std::int32_t v) { return {v, v, v, v}; }
  static Float value(float v) { return broadcast(v); }
  static Int word(std::int32_t v) { return broadcast_int(v); }
  static float fma_one(float a, float b, float c) { return fused(a, b, c); }
  static Float fma(const Float& a, const Float& b, const Float& c) {
    return std::bit_cast<Float>(
        fused(std::bit_cast<Float4>(a), std::bit_cast<Float4>(b), std::bit_cast<Float4>(c)));
  }
  static Float larger(const Float& a, const Float& b) {  // b if a is NaN
    return each<Float>([&](std::size_t i) { return a[i] > b[i] ? a[i] : b[i]; });
  }
  static void keep_larger(const Float& score, std::int32_t number, Float& best, Int& index) {
    for (std::size_t lane = 0; lane < kWidth; ++lane) {
      if (score[lane] > best[lane]) {
        best[lane] = score[lane];
        index[lane] = number;
      }
    }
  }
  static std::uint32_t not_less(const Float& a, const Float& b) {
    std::uint32_t lanes = 0;
    for (std::size_t lane = 0; lane < kWidth; ++lane) {
      lanes |= static_cast<std::uint32_t>(a[lane] >= b[lane]) << lane;
    }
    return lanes;
  }

  static Int dot4(const Int& sum, const Int& latents, const Int& codes) {
    return each<Int>([&](std::size_t i) {
      std::int32_t out = sum[i];
      for (int byte = 0; byte < 4; ++byte) {
        out += static_cast<std::uint8_t>(latents[i] >> (8 * byte)) *
               static_cast<std::int8_t>(codes[i] >> (8 * byte));
      }
      return out;
    });
  }
  static Int add_int(const Int& a, const Int& b) {
    return each<Int>([&](std::size_t i) { return a[i] + b[i]; });
  }
  static Int round(const Float& v) {
    return each<Int>([&](std::size_t i) { return static_cast<std::int32_t>(std::lrintf(v[i])); });
  }
  static Float to_float(const Int& v) {
    return each<Float>([&](std::size_t i) { return static_cast<float>(v[i]); });
  }
  static Int put_byte(const Int& word, const Int& value, int byte) {
    return each<Int>([&](std::size_t i) {
      const std::uint32_t low = static_cast<std::uint8_t>(value[i]);
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(word[i]) | low << (8 * byte));
    });
  }
};

VqBackend choose() {
#ifdef GLC_X86_SIMD
  const Simd simd = simd_in_force(Simd::kAvx512);  // measured: twice as fast as AVX2 here
  if (simd == Simd::kAvx512) {
    return {
        .exact = vq_exact_backend_avx512(),
        .screen = cpu_features().avx512_vnni ? vq_screen_backend_vnni() : vq_backend_avx2().screen};
  }
  if (simd == Simd::kAvx2) {
    return vq_backend_avx2();
  }
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    VqBackend neon = vq_backend_neon();
    if (cpu_features().neon_dotprod) neon.screen = vq_screen_backend_neondot();
    return neon;
  }
#endif
  return vq_backend_portable();
}

}  // namespace

VqBackend vq_backend_portable() {
  return {.exact = vq_exact_backend_of<Portable>(), .screen = vq_screen_backend_of<Portable>()};
}

const VqBackend& vq_backend() {
  static const VqBackend chosen = choose();
  return chosen;
}

}  // namespace glc

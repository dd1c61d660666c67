// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include <cuda_runtime_api.h>

#include "check.h"
#include "glc/bfloat16.h"

namespace glc::test {

using Floats = std::vector<float>;

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();

/// Values on the device.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values) : n_(values.size()) {
    const std::size_t bytes = std::max<std::size_t>(1, n_) * sizeof(T);
    check(cudaMalloc(&memory_, bytes) == cudaSuccess, "cudaMalloc");
    check(cudaMemcpy(memory_, values.data(), n_ * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess,
          "cudaMemcpy");
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(memory_); }

  [[nodiscard]] T* data() const { return memory_; }
  [[nodiscard]] std::span<T> span() const { return {memory_, n_}; }
  [[nodiscard]] std::vector<T> back() const {
    std::vector<T> out(n_);
    check(cudaMemcpy(out.data(), memory_, n_ * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess,
          "cudaMemcpy");
    return out;
  }

 private:
  std::size_t n_;
  T* memory_ = nullptr;
};

inline Floats normal(std::size_t n, unsigned seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0F, spread);
  Floats out(n);
  std::ranges::generate(out, [&] { return draw(random); });
  return out;
}

template <class T>
T narrow(float v) {
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    return {static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, v) >> 16)};
  }
}

inline float wide(float v) { return v; }
inline float wide(BFloat16 v) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(v.bits) << 16);
}

template <class T>
std::vector<T> narrowed(const Floats& values) {
  std::vector<T> out(values.size());
  std::ranges::transform(values, out.begin(), [](float v) { return narrow<T>(v); });
  return out;
}

}  // namespace glc::test

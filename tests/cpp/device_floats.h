// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <cuda_runtime_api.h>

#include "check.h"

namespace glc::test {

/// Floats on the device.
class Device {
 public:
  explicit Device(const std::vector<float>& values) : n_(values.size()) {
    check(cudaMalloc(&data_, std::max<std::size_t>(bytes(), 1)) == cudaSuccess);
    check(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice) == cudaSuccess);
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] float* data() const { return static_cast<float*>(data_); }
  [[nodiscard]] std::span<const float> span() const { return {data(), n_}; }
  [[nodiscard]] std::vector<float> values() const {
    std::vector<float> out(n_);
    check(cudaDeviceSynchronize() == cudaSuccess);
    check(cudaMemcpy(out.data(), data_, bytes(), cudaMemcpyDeviceToHost) == cudaSuccess);
    return out;
  }

 private:
  [[nodiscard]] std::size_t bytes() const { return n_ * sizeof(float); }

  void* data_ = nullptr;
  std::size_t n_;
};

}  // namespace glc::test

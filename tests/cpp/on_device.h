// SPDX-License-Identifier: Apache-2.0
//
// Device memory in tests, through the runtime's own calls: the same program serves a device and the
// kernels on the CPU.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <vector>

#include <cuda_runtime_api.h>

namespace glc::test {

inline void must(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

/// Memory of n items on the device.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t n) : n_(n) {
    void* data = nullptr;  // the runtime's own header has no cudaMalloc of other pointers
    must(cudaMalloc(&data, n * sizeof(T)));
    data_ = static_cast<T*>(data);
  }
  explicit OnDevice(std::span<const T> items) : OnDevice(items.size()) {
    must(cudaMemcpy(data_, items.data(), items.size_bytes(), cudaMemcpyHostToDevice));
  }
  explicit OnDevice(const std::vector<T>& items) : OnDevice(std::span<const T>(items)) {}
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaFree(data_); }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::span<T> span() const { return {data_, n_}; }
  [[nodiscard]] std::vector<T> host(std::size_t n) const {
    std::vector<T> items(n);
    must(cudaMemcpy(items.data(), data_, n * sizeof(T), cudaMemcpyDeviceToHost));
    return items;
  }
  [[nodiscard]] std::vector<T> host() const { return host(n_); }

 private:
  T* data_ = nullptr;
  std::size_t n_;
};

}  // namespace glc::test

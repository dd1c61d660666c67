// SPDX-License-Identifier: Apache-2.0
//
// Device memory in bindings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include "glc/error.h"
#include "python/dlpack.h"

namespace glc::python {

/// Borrows a contiguous tensor on a CUDA device for the duration of a call. Where kernels are
/// emulated the device is the CPU.
class DeviceTensor {
 public:
  DeviceTensor(const pybind11::handle& object, const char* op, const char* argument)
      : tensor_(object, op, argument) {
#ifdef GLC_CUDA_EMULATED
    const bool on_device = tensor_.on_cpu();
#else
    const bool on_device = tensor_.on_cuda();
#endif
    if (!on_device) {
      throw InvalidArgument(std::string(op) + ": " + argument + ": expected a CUDA tensor");
    }
  }

  [[nodiscard]] std::int32_t device() const { return tensor_.device_id(); }
  [[nodiscard]] std::size_t item_bytes() const { return tensor_.item_bytes(); }
  template <class T>
  [[nodiscard]] std::span<T> span() const {
    return {tensor_.pointer<T>(), static_cast<std::size_t>(tensor_.size())};
  }

 private:
  Dlpack tensor_;
};

/// Makes a device current for the duration of a call.
class DeviceGuard {
 public:
  explicit DeviceGuard(std::int32_t device) {
    check(cudaGetDevice(&before_));
    if (device != before_) check(cudaSetDevice(device));
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() { static_cast<void>(cudaSetDevice(before_)); }

 private:
  static void check(cudaError_t error) {
    if (error != cudaSuccess) throw CudaError(std::string("CUDA: ") + cudaGetErrorString(error));
  }
  int before_ = 0;
};

}  // namespace glc::python

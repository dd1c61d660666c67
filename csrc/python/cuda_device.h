// SPDX-License-Identifier: Apache-2.0
//
// Device memory and streams in bindings.
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

/// A Dlpack on a CUDA device. Where kernels are emulated the device is the CPU.
class DeviceTensor : public Dlpack {
 public:
  DeviceTensor(const pybind11::handle& object,
               const char* op,
               const char* argument,
               Layout layout = Layout::kDense)
      : Dlpack(object, op, argument, layout, Device::kCuda) {}

  [[nodiscard]] std::span<std::byte> bytes() const {
    return std::as_writable_bytes(span<std::uint8_t>());
  }
};

/// From here to its end a binding runs without the GIL, and what it launches is queued on the
/// stream, whose address Python passes, of the tensor's device.
class OnCuda {
 public:
  using Tensor = DeviceTensor;

  OnCuda(const DeviceTensor& tensor, std::uintptr_t stream)
      // NOLINTNEXTLINE(performance-no-int-to-ptr): from Python the handle comes as a number
      : stream_(reinterpret_cast<cudaStream_t>(stream)) {
    check(cudaGetDevice(&before_));
    if (tensor.device_id() == before_) return;
    check(cudaSetDevice(tensor.device_id()));
    moved_ = true;
  }
  OnCuda(const OnCuda&) = delete;
  OnCuda& operator=(const OnCuda&) = delete;
  ~OnCuda() {
    if (moved_) static_cast<void>(cudaSetDevice(before_));
  }

  [[nodiscard]] cudaStream_t stream() const { return stream_; }

  /// Copies one T from the device, and waits for it and all that was queued before.
  template <class T>
  void read(T* to, const T* from) const {
    check(cudaMemcpyAsync(to, from, sizeof(T), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
  }

 private:
  static void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    static_cast<void>(cudaGetLastError());  // or the next launch would report it once more
    throw CudaError(std::string("CUDA: ") + cudaGetErrorString(error));
  }

  pybind11::gil_scoped_release no_gil_;
  cudaStream_t stream_;
  int before_ = 0;
  bool moved_ = false;
};

}  // namespace glc::python

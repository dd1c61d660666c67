// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <pybind11/pybind11.h>

#include "glc/bfloat16.h"
#include "glc/error.h"
#include "glc/float16.h"
#include "glc/views.h"

// A DLPack capsule owns a reference to its tensor until it is consumed. We never consume one: the
// capsule is held while the call runs, left named "dltensor", and its own destructor gives the
// reference back. So a borrow costs no copy and leaves nothing to clean up.

namespace glc::python {

/// The parts of the DLPack binary interface (version 0.x, unversioned capsule) that we read.
namespace dlpack_abi {
enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBFloat = 4, kBool = 6 };
struct Device {
  std::int32_t type;
  std::int32_t id;
};
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null means C-contiguous
  std::uint64_t byte_offset;
};
struct ManagedTensor {
  Tensor tensor;
  void* manager;
  void (*deleter)(ManagedTensor*);
};
}  // namespace dlpack_abi

/// Borrows a tensor on the CPU for the duration of a call, from a DLPack capsule or any object with
/// __dlpack__ (detach a tensor that requires grad first). The tensor must be C-contiguous,
/// or be rows where kRows is asked for: of two dimensions, the last of them contiguous, or of
/// [b, c, h, w] in channels_last, perhaps with other channels between, a row per pixel; and aligned
/// to its dtype. Construct and destroy with the GIL held.
/// Throws InvalidArgument. (Of a tensor on a CUDA device: DeviceTensor, cuda_device.h.)
class Dlpack {
 public:
  enum class Layout : std::uint8_t { kDense, kRows };

  Dlpack(const pybind11::handle& object,
         const char* op,
         const char* argument,
         Layout layout = Layout::kDense)
      : Dlpack(object, op, argument, layout, Device::kCpu) {}

  [[nodiscard]] std::int32_t device_id() const { return tensor_->device.id; }
  [[nodiscard]] std::size_t item_bytes() const { return tensor_->dtype.bits / 8U; }
  [[nodiscard]] std::int64_t ndim() const { return tensor_->ndim; }
  [[nodiscard]] std::int64_t size() const { return size_; }
  /// `op: argument`, for messages.
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] std::int64_t shape(std::int64_t d) const {
    if (d < 0 || d >= ndim()) {
      throw InvalidArgument(where_ + ": expected at least " + std::to_string(d + 1) +
                            " dimensions, got " + std::to_string(ndim()));
    }
    return tensor_->shape[d];
  }

  /// All elements, flat, in row-major order.
  template <class T>
  [[nodiscard]] std::span<T> span() const {
    return {pointer<T>(), static_cast<std::size_t>(size_)};
  }

  [[nodiscard]] bool is_bfloat16() const { return tensor_->dtype.code == dlpack_abi::kBFloat; }

  [[nodiscard]] bool is_float16() const {
    return tensor_->dtype.code == dlpack_abi::kFloat && tensor_->dtype.bits == 16;
  }

  /// As a matrix [rows, cols]: two dimensions, or more, of which the first counts rows; or pixels.
  template <class T>
  [[nodiscard]] MatrixView<T> matrix() const {
    if (ndim() < 2) {
      throw InvalidArgument(where_ + ": expected 2 dimensions, got " + std::to_string(ndim()));
    }
    if (pixel_stride_ != 0) {
      return {span<T>().data(), shape(0) * shape(2) * shape(3), shape(1), pixel_stride_};
    }
    std::int64_t cols = shape(1);
    for (std::int32_t d = 2; d < tensor_->ndim; ++d) {
      cols *= tensor_->shape[d];
    }
    const bool strided = tensor_->strides != nullptr && ndim() == 2 && shape(0) > 1;
    return {span<T>().data(), shape(0), cols, strided ? tensor_->strides[0] : cols};
  }

 protected:
  enum class Device : std::uint8_t { kCpu, kCuda };

  Dlpack(const pybind11::handle& object,
         const char* op,
         const char* argument,
         Layout layout,
         Device device)
      : where_(std::string(op) + ": " + argument) {
    capsule_ = pybind11::isinstance<pybind11::capsule>(object)
                   ? pybind11::reinterpret_borrow<pybind11::object>(object)
                   : pybind11::object(object.attr("__dlpack__")());
    if (PyCapsule_IsValid(capsule_.ptr(), "dltensor") == 0) {
      throw InvalidArgument(where_ + ": expected a tensor or a fresh DLPack capsule");
    }
    void* pointer = PyCapsule_GetPointer(capsule_.ptr(), "dltensor");
    tensor_ = &static_cast<dlpack_abi::ManagedTensor*>(pointer)->tensor;
    for (std::int32_t d = 0; d < tensor_->ndim; ++d) {
      size_ *= tensor_->shape[d];
    }
    if (!on(device)) {
      throw InvalidArgument(where_ + (device == Device::kCuda ? ": expected a CUDA tensor"
                                                              : ": expected a CPU tensor"));
    }
    if (tensor_->data == nullptr && size_ != 0) {  // of a tensor that only tells its shape
      throw InvalidArgument(where_ + ": expected a tensor with memory, got none");
    }
    const bool rows = layout == Layout::kRows;
    if (contiguous_from(rows && ndim() == 2 ? 1 : 0)) return;
    if (rows && ndim() == 4) pixel_stride_ = pixel_stride();
    if (pixel_stride_ == 0) {
      throw InvalidArgument(where_ + ": expected a contiguous tensor, got strides");
    }
  }

 private:
  [[nodiscard]] bool on([[maybe_unused]] Device device) const {
#ifndef GLC_CUDA_EMULATED  // where kernels are emulated the device is the CPU
    if (device == Device::kCuda) return tensor_->device.type == dlpack_abi::kCuda;
#endif
    return tensor_->device.type == dlpack_abi::kCpu;
  }

  /// First element.
  template <class T>
  [[nodiscard]] T* pointer() const {
    using Value = std::remove_const_t<T>;
    constexpr std::uint8_t code = std::is_same_v<Value, bool>       ? dlpack_abi::kBool
                                  : std::is_same_v<Value, BFloat16> ? dlpack_abi::kBFloat
                                  : std::is_same_v<Value, Float16>  ? dlpack_abi::kFloat
                                  : std::is_floating_point_v<Value> ? dlpack_abi::kFloat
                                  : std::is_unsigned_v<Value>       ? dlpack_abi::kUInt
                                                                    : dlpack_abi::kInt;
    const auto& dtype = tensor_->dtype;
    if (dtype.code != code || dtype.bits != 8 * sizeof(Value) || dtype.lanes != 1) {
      throw InvalidArgument(where_ + ": expected dtype " + type_name(code, 8 * sizeof(Value)) +
                            ", got " + type_name(dtype.code, dtype.bits));
    }
    if (tensor_->data == nullptr) {
      return nullptr;
    }
    auto* const first = static_cast<std::byte*>(tensor_->data) + tensor_->byte_offset;
    if (size_ != 0 && reinterpret_cast<std::uintptr_t>(first) % alignof(Value) != 0) {
      throw InvalidArgument(where_ + ": expected memory aligned to its dtype, got a view of bytes");
    }
    return reinterpret_cast<T*>(first);
  }

  /// From a dimension on.
  [[nodiscard]] bool contiguous_from(std::int32_t first) const {
    if (tensor_->strides == nullptr || size_ == 0) return true;
    std::int64_t expected = 1;
    for (std::int32_t d = tensor_->ndim; d-- > first;) {
      if (tensor_->shape[d] != 1 && tensor_->strides[d] != expected) return false;
      expected *= tensor_->shape[d];
    }
    return true;
  }

  /// From one pixel of [b, c, h, w] to the next, channels lying side by side; 0 where they do not.
  [[nodiscard]] std::int64_t pixel_stride() const {
    const std::int64_t channels = shape(1);
    if (channels < 2 || tensor_->strides[1] != 1) return 0;
    std::int64_t stride = 0;
    std::int64_t pixels = 1;
    for (const std::int32_t d : {3, 2, 0}) {
      if (shape(d) > 1) {  // the stride of a single one says nothing
        if (stride == 0) stride = tensor_->strides[d];
        if (tensor_->strides[d] != pixels * stride) return 0;
      }
      pixels *= shape(d);
    }
    return stride >= channels ? stride : 0;
  }

  static std::string type_name(unsigned code, std::size_t bits) {
    const char* kind = code == dlpack_abi::kInt      ? "int"
                       : code == dlpack_abi::kUInt   ? "uint"
                       : code == dlpack_abi::kFloat  ? "float"
                       : code == dlpack_abi::kBFloat ? "bfloat"
                       : code == dlpack_abi::kBool   ? "bool"
                                                     : "type code ";
    return code <= dlpack_abi::kFloat || code == dlpack_abi::kBFloat || code == dlpack_abi::kBool
               ? kind + std::to_string(bits)
               : kind + std::to_string(code) + " of " + std::to_string(bits) + " bits";
  }

  std::string where_;
  pybind11::object capsule_;
  const dlpack_abi::Tensor* tensor_ = nullptr;
  std::int64_t size_ = 1;
  std::int64_t pixel_stride_ = 0;
};

}  // namespace glc::python

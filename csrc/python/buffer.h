// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <pybind11/pybind11.h>

#include "glc/error.h"

namespace glc::python {

inline void check_contiguous(const pybind11::buffer_info& info, const std::string& where) {
  pybind11::ssize_t expected = info.itemsize;
  for (pybind11::ssize_t d = info.ndim; d-- > 0;) {
    const auto i = static_cast<std::size_t>(d);
    if (info.size != 0 && info.shape[i] != 1 && info.strides[i] != expected) {
      throw InvalidArgument(where + ": expected contiguous memory, got strides");
    }
    expected *= info.shape[i];
  }
}

/// Borrows any C-contiguous buffer-protocol object (bytes, bytearray, memoryview, numpy array) as a
/// flat span of T for the duration of a call. `const T` accepts read-only memory. Holds the Python
/// buffer, so construct and destroy it with the GIL held.
template <class T>
class Buffer {
 public:
  using Value = std::remove_const_t<T>;

  Buffer(const pybind11::buffer& object, const char* op, const char* argument)
      : info_(object.request(!std::is_const_v<T>)) {
    const std::string where = std::string(op) + ": " + argument;
    if (!info_.template item_type_is_equivalent_to<Value>()) {
      throw InvalidArgument(where + ": expected items of format '" +
                            pybind11::format_descriptor<Value>::format() + "', got '" +
                            info_.format + "'");
    }
    check_contiguous(info_, where);
  }

  [[nodiscard]] std::span<T> span() const {
    return {static_cast<T*>(info_.ptr), static_cast<std::size_t>(info_.size)};
  }
  [[nodiscard]] std::int64_t ndim() const { return info_.ndim; }
  [[nodiscard]] std::int64_t shape(std::size_t d) const { return info_.shape.at(d); }

 private:
  pybind11::buffer_info info_;
};

/// The same for what is bytes-like: read only, items of one byte whatever they are said to be.
class Bytes {
 public:
  Bytes(const pybind11::buffer& object, const char* op, const char* argument)
      : info_(object.request()) {
    const std::string where = std::string(op) + ": " + argument;
    if (info_.itemsize != 1) {
      throw InvalidArgument(where + ": expected items of one byte, got format '" + info_.format +
                            "'");
    }
    check_contiguous(info_, where);
  }

  [[nodiscard]] std::span<const std::uint8_t> span() const {
    return {static_cast<const std::uint8_t*>(info_.ptr), static_cast<std::size_t>(info_.size)};
  }

 private:
  pybind11::buffer_info info_;
};

}  // namespace glc::python

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
    pybind11::ssize_t expected = info_.itemsize;
    for (pybind11::ssize_t d = info_.ndim; d-- > 0;) {
      const auto i = static_cast<std::size_t>(d);
      if (info_.size != 0 && info_.shape[i] != 1 && info_.strides[i] != expected) {
        throw InvalidArgument(where + ": expected contiguous memory, got strides");
      }
      expected *= info_.shape[i];
    }
  }

  [[nodiscard]] std::span<T> span() const {
    return {static_cast<T*>(info_.ptr), static_cast<std::size_t>(info_.size)};
  }
  [[nodiscard]] std::int64_t ndim() const { return info_.ndim; }
  [[nodiscard]] std::int64_t shape(std::size_t d) const { return info_.shape.at(d); }

 private:
  pybind11::buffer_info info_;
};

}  // namespace glc::python

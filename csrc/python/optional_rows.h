// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include <pybind11/pybind11.h>

#include "glc/views.h"

namespace glc::python {

/// A tensor that may be None.
template <class Tensor>
std::optional<Tensor> optional_rows(const pybind11::object& tensor,
                                    const char* op,
                                    const char* argument) {
  if (tensor.is_none()) return std::nullopt;
  return std::optional<Tensor>(std::in_place, tensor, op, argument, Tensor::Layout::kRows);
}

template <class T, class Tensor>
MatrixView<T> optional_view(const std::optional<Tensor>& tensor) {
  return tensor ? tensor->template matrix<T>() : MatrixView<T>();
}

/// N tensors, each of which may be None.
template <class Tensor, std::size_t N>
class OptionalRows {
 public:
  OptionalRows(const std::array<pybind11::object, N>& tensors,
               const char* op,
               const char* argument) {
    for (std::size_t i = 0; i < N; ++i) {
      tensors_[i] = optional_rows<Tensor>(tensors[i], op, argument);
    }
  }
  template <class T>
  [[nodiscard]] std::array<MatrixView<T>, N> views() const {
    std::array<MatrixView<T>, N> out;
    for (std::size_t i = 0; i < N; ++i) out[i] = optional_view<T>(tensors_[i]);
    return out;
  }

 private:
  std::array<std::optional<Tensor>, N> tensors_;
};

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <pybind11/pybind11.h>

#include "glc/error.h"
#include "glc/exact.h"
#include "python/dlpack.h"

namespace glc::python {

using ThreeInts = std::array<std::int64_t, 3>;  // stride, row, col

/// Everything but the residual.
inline exact::Conv::Options conv_options(const ThreeInts& sampling,
                                         std::optional<float> slope,
                                         std::int64_t shuffle) {
  return {.sampling = {sampling[0], sampling[1], sampling[2]}, .slope = slope, .shuffle = shuffle};
}

/// A tensor [n, c, h, w]. Throws InvalidArgument.
template <class T>
exact::MapView<T> map(const Dlpack& tensor) {
  if (tensor.ndim() != 4) {
    throw InvalidArgument(tensor.where() + ": expected 4 dimensions, got " +
                          std::to_string(tensor.ndim()));
  }
  const auto values = tensor.span<T>();
  return {values.data(), tensor.shape(0), tensor.shape(1), tensor.shape(2), tensor.shape(3)};
}

/// run(workspace) with memory for one call, not cleared, and without the GIL.
template <class Run>
void with_workspace(std::size_t n, Run run) {
  const pybind11::gil_scoped_release no_gil;
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(n);
  run(std::span(bytes.get(), n));
}

}  // namespace glc::python

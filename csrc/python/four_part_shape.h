// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/four_part.h"

namespace glc::python {

/// (batch, channels, height, width, channels_last)
inline entropy::FourPartShape shape_of(const pybind11::tuple& shape) {
  return {shape[0].cast<std::int64_t>(),
          shape[1].cast<std::int64_t>(),
          shape[2].cast<std::int64_t>(),
          shape[3].cast<std::int64_t>(),
          shape[4].cast<bool>()};
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include "python/dlpack.h"

namespace glc::python {

/// From here to its end a binding runs without the GIL. The twin of OnCuda (cuda_device.h): a
/// binding that is a template over the two is written once.
class OnCpu {
 public:
  using Tensor = Dlpack;

  explicit OnCpu(const Dlpack& /*tensor*/) {}

 private:
  pybind11::gil_scoped_release no_gil_;
};

}  // namespace glc::python

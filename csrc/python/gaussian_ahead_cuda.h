// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <tuple>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cuda/entropy.h"
#include "python/cuda_device.h"
#include "python/gaussian_bindings.h"

namespace glc::python {

/// The tensors of a GaussianForesight.
class ForesightArguments {
 public:
  ForesightArguments(const char* op, const pybind11::object& state, const pybind11::object& used)
      : state_(state, op, "state"), used_(used, op, "used") {}
  [[nodiscard]] cuda::GaussianForesight view() const {
    return {state_.span<float>(), used_.span<float>()};
  }

 private:
  DeviceTensor state_;
  DeviceTensor used_;
};

/// What a forward pass leaves.
class AheadArguments {
 public:
  /// None, or (state, used, gradients by y, mean and scale).
  using Objects = std::optional<
      std::tuple<pybind11::object, pybind11::object, std::array<pybind11::object, 3>>>;

  AheadArguments(const char* op, const Objects& ahead) {
    if (!ahead) return;
    const auto& [state, used, out] = *ahead;
    foresight_.emplace(op, state, used);
    out_.emplace(op, out);
  }
  template <class T>
  [[nodiscard]] cuda::GaussianAhead<T> view() const {
    if (!foresight_ || !out_) return {};
    return {foresight_->view(), out_->view<T>()};
  }

 private:
  std::optional<ForesightArguments> foresight_;
  std::optional<GaussianGradientArguments<DeviceTensor>> out_;
};

}  // namespace glc::python

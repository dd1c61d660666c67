// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "python/bindings.h"
#include "python/categorical_bindings.h"
#include "python/on_cpu.h"

// Outputs are made by the caller and passed in: this layer allocates nothing.

namespace glc::python {
namespace {

struct CategoricalOnCpu : OnCpu {
  using OnCpu::OnCpu;
  template <class T>
  void bits(const auto&... a) const {
    entropy::categorical_bits<T>(a...);
  }
  template <class T>
  void backward(const auto&... a) const {
    entropy::categorical_bits_backward<T>(a...);
  }
  void cdf(const auto&... a) const { entropy::categorical_cdf(a...); }
};

}  // namespace

void bind_categorical(pybind11::module_& m) { CategoricalBindings<CategoricalOnCpu>::bind(m); }

}  // namespace glc::python

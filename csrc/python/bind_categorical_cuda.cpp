// SPDX-License-Identifier: Apache-2.0
//
// The overloads with a stream. Only in builds with CUDA.
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/cuda/entropy.h"
#include "python/bindings.h"
#include "python/categorical_bindings.h"
#include "python/cuda_device.h"

namespace glc::python {
namespace {

struct CategoricalOnCuda : OnCuda {
  using OnCuda::OnCuda;
  template <class T>
  void bits(const auto&... a) const {
    cuda::categorical_bits<T>(a..., stream());
  }
  template <class T>
  void backward(const auto&... a) const {
    cuda::categorical_bits_backward<T>(a..., stream());
  }
  void cdf(const auto&... a) const { cuda::categorical_cdf(a..., stream()); }
};

}  // namespace

void bind_categorical_cuda(pybind11::module_& m) {
  CategoricalBindings<CategoricalOnCuda, std::uintptr_t>::bind(m);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
//
// The overloads with a stream. Only in builds with CUDA.
#include <cstdint>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cuda/entropy.h"
#include "python/bindings.h"
#include "python/cuda_device.h"
#include "python/four_part_bindings.h"

namespace glc::python {
namespace {

struct FourPartOnCuda : OnCuda {
  using OnCuda::OnCuda;
  void step(const auto&... a) const { cuda::four_part_step(a..., stream()); }
  void merge(const auto&... a) const { cuda::four_part_merge(a..., stream()); }
  void spread(const auto&... a) const { cuda::four_part_spread(a..., stream()); }
  void pick(const auto&... a) const { cuda::four_part_pick(a..., stream()); }
  void put(const auto&... a) const { cuda::four_part_put(a..., stream()); }
};

}  // namespace

void bind_four_part_cuda(pybind11::module_& m) {
  FourPartBindings<FourPartOnCuda, std::uintptr_t>::bind(m);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/four_part.h"
#include "python/bindings.h"
#include "python/four_part_bindings.h"
#include "python/on_cpu.h"

namespace py = pybind11;

namespace glc::python {
namespace {

struct FourPartOnCpu : OnCpu {
  using OnCpu::OnCpu;
  void step(const auto&... a) const { entropy::four_part_step(a...); }
  void merge(const auto&... a) const { entropy::four_part_merge(a...); }
  void spread(const auto&... a) const { entropy::four_part_spread(a...); }
  void pick(const auto&... a) const { entropy::four_part_pick(a...); }
  void put(const auto&... a) const { entropy::four_part_put(a...); }
};

}  // namespace

void bind_four_part(py::module_& m) {
  FourPartBindings<FourPartOnCpu>::bind(m);
  m.def("four_part_size", [](const py::tuple& shape, int part) {
    return entropy::four_part_size(shape_of(shape), part);
  });
}

}  // namespace glc::python

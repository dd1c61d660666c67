// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/four_part.h"
#include "python/bindings.h"
#include "python/dlpack.h"
#include "python/four_part_shape.h"

namespace py = pybind11;

namespace glc::python {
namespace {

void pick(const py::tuple& shape, int part, const py::object& map, const py::object& picked) {
  constexpr const char* kOp = "four_part_pick";
  const Dlpack map_in(map, kOp, "map", Dlpack::Layout::kRows);
  const Dlpack picked_out(picked, kOp, "picked");
  const auto m = map_in.matrix<const float>();
  const auto p = picked_out.span<float>();
  const auto s = shape_of(shape);
  const py::gil_scoped_release release;
  entropy::four_part_pick(s, part, m, p);
}

void put(const py::tuple& shape,
         int part,
         const py::object& symbols,
         const py::object& mean,
         const py::object& y_hat) {
  constexpr const char* kOp = "four_part_put";
  const Dlpack symbols_in(symbols, kOp, "symbols");
  const Dlpack mean_in(mean, kOp, "mean");
  const Dlpack y_hat_out(y_hat, kOp, "y_hat", Dlpack::Layout::kRows);
  const auto q = symbols_in.span<const std::int32_t>();
  const auto m = mean_in.span<const float>();
  const auto y = y_hat_out.matrix<float>();
  const auto s = shape_of(shape);
  const py::gil_scoped_release release;
  entropy::four_part_put(s, part, q, m, y);
}

std::int64_t size(const py::tuple& shape, int part) {
  return entropy::four_part_size(shape_of(shape), part);
}

}  // namespace

void bind_four_part_coding(py::module_& m) {
  m.def("four_part_pick",
        &pick,
        py::arg("shape"),
        py::arg("part"),
        py::arg("map"),
        py::arg("picked"));
  m.def("four_part_put",
        &put,
        py::arg("shape"),
        py::arg("part"),
        py::arg("symbols"),
        py::arg("mean"),
        py::arg("y_hat"));
  m.def("four_part_size", &size, py::arg("shape"), py::arg("part"));
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

// Outputs are made by the caller and passed in: this layer allocates nothing.

namespace glc::python {
namespace {

constexpr auto kRows = Dlpack::Layout::kRows;

void gaussian_rows(const py::object& scale, const py::object& bounds, const py::object& rows) {
  constexpr const char* kOp = "gaussian_rows";
  const Dlpack scale_in(scale, kOp, "scale", kRows);
  const Dlpack bounds_in(bounds, kOp, "bounds");
  const Dlpack rows_out(rows, kOp, "rows", kRows);
  const auto s = scale_in.matrix<const float>();
  const auto b = bounds_in.span<const float>();
  const auto r = rows_out.matrix<std::uint8_t>();
  const py::gil_scoped_release release;
  entropy::gaussian_rows(s, b, r);
}

void gaussian_symbols(const py::object& y,
                      const py::object& mean,
                      const py::object& scale,
                      const py::object& bounds,
                      const py::object& symbols,
                      const py::object& rows) {
  constexpr const char* kOp = "gaussian_symbols";
  const Dlpack y_in(y, kOp, "y", kRows);
  const Dlpack mean_in(mean, kOp, "mean", kRows);
  const Dlpack scale_in(scale, kOp, "scale", kRows);
  const Dlpack bounds_in(bounds, kOp, "bounds");
  const Dlpack symbols_out(symbols, kOp, "symbols", kRows);
  const Dlpack rows_out(rows, kOp, "rows", kRows);
  const auto a = y_in.matrix<const float>();
  const auto m = mean_in.matrix<const float>();
  const auto s = scale_in.matrix<const float>();
  const auto b = bounds_in.span<const float>();
  const auto q = symbols_out.matrix<std::int32_t>();
  const auto r = rows_out.matrix<std::uint8_t>();
  const py::gil_scoped_release release;
  entropy::gaussian_symbols({a, m, s}, b, q, r);
}

}  // namespace

void bind_entropy(py::module_& m) {
  m.def("gaussian_rows", &gaussian_rows, py::arg("scale"), py::arg("bounds"), py::arg("rows"));
  m.def("gaussian_symbols",
        &gaussian_symbols,
        py::arg("y"),
        py::arg("mean"),
        py::arg("scale"),
        py::arg("bounds"),
        py::arg("symbols"),
        py::arg("rows"));
}

}  // namespace glc::python

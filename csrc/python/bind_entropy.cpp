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

void categorical_cdf(const py::object& logits, std::int32_t bits, const py::object& cdf) {
  constexpr const char* kOp = "categorical_cdf";
  const Dlpack logits_in(logits, kOp, "logits");
  const Dlpack cdf_out(cdf, kOp, "cdf");
  const auto in = logits_in.matrix<const float>();
  const auto out = cdf_out.matrix<std::int32_t>();
  const py::gil_scoped_release release;
  entropy::categorical_cdf(in, bits, out);
}

}  // namespace

void bind_entropy(py::module_& m) {
  m.def("categorical_cdf", &categorical_cdf, py::arg("logits"), py::arg("bits"), py::arg("cdf"));
}

}  // namespace glc::python

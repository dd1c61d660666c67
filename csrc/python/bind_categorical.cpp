// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

// Outputs are made by the caller and passed in: this layer allocates nothing. Logits may have any
// row stride, and are float32 or bfloat16 where rates are asked for.

namespace glc::python {
namespace {

constexpr auto kRows = Dlpack::Layout::kRows;

/// f(T{}) with the type of the logits.
template <class F>
void visit(const Dlpack& logits, F f) {
  logits.is_bfloat16() ? f(BFloat16{}) : f(float{});
}

void categorical_bits(const py::object& logits,
                      const py::object& index,
                      const py::object& bits,
                      const py::object& norms) {
  constexpr const char* kOp = "categorical_bits";
  const Dlpack logits_in(logits, kOp, "logits", kRows);
  const Dlpack index_in(index, kOp, "index");
  const Dlpack bits_out(bits, kOp, "bits");
  const Dlpack norms_out(norms, kOp, "norms");
  const auto chosen = index_in.span<const std::int64_t>();
  const auto b = bits_out.span<float>();
  const auto n = norms_out.matrix<float>();
  visit(logits_in, [&]<class T>(T) {
    const auto in = logits_in.matrix<const T>();
    const py::gil_scoped_release release;
    entropy::categorical_bits<T>(in, chosen, b, n);
  });
}

void categorical_bits_backward(const py::object& grad,
                               const py::object& logits,
                               const py::object& index,
                               const py::object& norms,
                               const py::object& grad_logits) {
  constexpr const char* kOp = "categorical_bits_backward";
  const Dlpack grad_in(grad, kOp, "grad");
  const Dlpack logits_in(logits, kOp, "logits", kRows);
  const Dlpack index_in(index, kOp, "index");
  const Dlpack norms_in(norms, kOp, "norms");
  const Dlpack grad_out(grad_logits, kOp, "grad_logits", kRows);
  const auto g = grad_in.span<const float>();
  const auto chosen = index_in.span<const std::int64_t>();
  const auto n = norms_in.matrix<const float>();
  visit(logits_in, [&]<class T>(T) {
    const auto in = logits_in.matrix<const T>();
    const auto out = grad_out.matrix<T>();
    const py::gil_scoped_release release;
    entropy::categorical_bits_backward<T>(g, in, chosen, n, out);
  });
}

void categorical_cdf(const py::object& logits, std::int32_t bits, const py::object& cdf) {
  constexpr const char* kOp = "categorical_cdf";
  const Dlpack logits_in(logits, kOp, "logits", kRows);
  const Dlpack cdf_out(cdf, kOp, "cdf");
  const auto in = logits_in.matrix<const float>();
  const auto out = cdf_out.matrix<std::int32_t>();
  const py::gil_scoped_release release;
  entropy::categorical_cdf(in, bits, out);
}

}  // namespace

void bind_categorical(py::module_& m) {
  m.def("categorical_bits",
        &categorical_bits,
        py::arg("logits"),
        py::arg("index"),
        py::arg("bits"),
        py::arg("norms"));
  m.def("categorical_bits_backward",
        &categorical_bits_backward,
        py::arg("grad"),
        py::arg("logits"),
        py::arg("index"),
        py::arg("norms"),
        py::arg("grad_logits"));
  m.def("categorical_cdf", &categorical_cdf, py::arg("logits"), py::arg("bits"), py::arg("cdf"));
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "glc/views.h"

namespace glc::python {

/// The bindings of the categorical ops for tensors on one device. Logits may have any row stride,
/// and are float32 or bfloat16 where rates are asked for. On is OnCpu or OnCuda with the ops as
/// members, and Stream what its constructor takes beside a tensor.
template <class On, class... Stream>
struct CategoricalBindings {
  using Object = pybind11::object;
  using Tensor = typename On::Tensor;
  static constexpr auto kRows = Tensor::Layout::kRows;

  /// f(T{}) with the type of the logits.
  template <class F>
  static void visit(const Tensor& logits, F f) {
    logits.is_bfloat16() ? f(BFloat16{}) : f(float{});
  }

  static void bits(const Object& logits,
                   const Object& index,
                   const Object& bits,
                   const Object& norms,
                   Stream... stream) {
    constexpr const char* kOp = "categorical_bits";
    const Tensor logits_in(logits, kOp, "logits", kRows);
    const Tensor index_in(index, kOp, "index");
    const Tensor bits_out(bits, kOp, "bits");
    const Tensor norms_out(norms, kOp, "norms");
    const auto chosen = index_in.template span<const std::int64_t>();
    const auto b = bits_out.template span<float>();
    const auto n = norms_out.template matrix<float>();
    visit(logits_in, [&]<class T>(T) {
      const auto in = logits_in.template matrix<const T>();
      On(logits_in, stream...).template bits<T>(in, chosen, b, n);
    });
  }

  static void backward(const Object& grad,
                       const Object& logits,
                       const Object& index,
                       const Object& norms,
                       const Object& grad_logits,
                       Stream... stream) {
    constexpr const char* kOp = "categorical_bits_backward";
    const Tensor grad_in(grad, kOp, "grad");
    const Tensor logits_in(logits, kOp, "logits", kRows);
    const Tensor index_in(index, kOp, "index");
    const Tensor norms_in(norms, kOp, "norms");
    const Tensor grad_out(grad_logits, kOp, "grad_logits", kRows);
    const auto g = grad_in.template span<const float>();
    const auto chosen = index_in.template span<const std::int64_t>();
    const auto n = norms_in.template matrix<const float>();
    visit(logits_in, [&]<class T>(T) {
      const auto in = logits_in.template matrix<const T>();
      const auto out = grad_out.template matrix<T>();
      On(logits_in, stream...).template backward<T>(g, in, chosen, n, out);
    });
  }

  static void cdf(const Object& logits, std::int32_t bits, const Object& cdf, Stream... stream) {
    constexpr const char* kOp = "categorical_cdf";
    const Tensor logits_in(logits, kOp, "logits", kRows);
    const Tensor cdf_out(cdf, kOp, "cdf");
    const auto in = logits_in.template matrix<const float>();
    const auto out = cdf_out.template matrix<std::int32_t>();
    On(logits_in, stream...).cdf(in, bits, out);
  }

  static void bind(pybind11::module_& m) {
    m.def("categorical_bits", &bits);
    m.def("categorical_bits_backward", &backward);
    m.def("categorical_cdf", &cdf);
  }
};

}  // namespace glc::python

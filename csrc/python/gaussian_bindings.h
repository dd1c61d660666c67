// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "glc/views.h"
#include "python/optional_rows.h"

namespace glc::python {

/// y, mean and scale of one call: matrices with any row stride.
template <class Tensor>
class GaussianArguments {
 public:
  GaussianArguments(const char* op, const std::array<pybind11::object, 3>& latents)
      : y_(latents[0], op, "y", Tensor::Layout::kRows),
        mean_(latents[1], op, "mean", Tensor::Layout::kRows),
        scale_(latents[2], op, "scale", Tensor::Layout::kRows) {}

  /// f(view) with the view of the dtype that y has; the others must have the same.
  template <class F>
  void visit(F f) const {
    y_.is_bfloat16() ? f(view<BFloat16>()) : f(view<float>());
  }
  template <class T>
  [[nodiscard]] entropy::GaussianLatents<T> view() const {
    return {y_.template matrix<const T>(),
            mean_.template matrix<const T>(),
            scale_.template matrix<const T>()};
  }
  [[nodiscard]] const Tensor& y() const { return y_; }

 private:
  Tensor y_;
  Tensor mean_;
  Tensor scale_;
};

/// Gradients by y, mean and scale, any of which may be None.
template <class Tensor>
class GaussianGradientArguments {
 public:
  GaussianGradientArguments(const char* op, const std::array<pybind11::object, 3>& gradients)
      : y_(optional_rows<Tensor>(gradients[0], op, "grad_y")),
        mean_(optional_rows<Tensor>(gradients[1], op, "grad_mean")),
        scale_(optional_rows<Tensor>(gradients[2], op, "grad_scale")) {}

  template <class T>
  [[nodiscard]] entropy::GaussianGradients<T> view() const {
    return {optional_view<T>(y_), optional_view<T>(mean_), optional_view<T>(scale_)};
  }

 private:
  std::optional<Tensor> y_;
  std::optional<Tensor> mean_;
  std::optional<Tensor> scale_;
};

/// The bindings of the Gaussian ops for tensors on one device. On is OnCpu or OnCuda with the ops
/// as members and a Seed, which is an int64 tensor of one element or None; Stream is what
/// its constructor takes beside a tensor.
template <class On, class... Stream>
struct GaussianBindings {
  using Object = pybind11::object;
  using Tensor = typename On::Tensor;
  using Latents = std::array<Object, 3>;  // y, mean, scale
  using Arguments = GaussianArguments<Tensor>;
  static constexpr auto kRows = Tensor::Layout::kRows;

  static void rows(const Object& scale,
                   const Object& bounds,
                   const Object& rows,
                   Stream... stream) {
    constexpr const char* kOp = "gaussian_rows";
    const Tensor scale_in(scale, kOp, "scale", kRows);
    const Tensor bounds_in(bounds, kOp, "bounds");
    const Tensor rows_out(rows, kOp, "rows", kRows);
    const auto s = scale_in.template matrix<const float>();
    const auto b = bounds_in.template span<const float>();
    const auto r = rows_out.template matrix<std::uint8_t>();
    On(scale_in, stream...).rows(s, b, r);
  }

  static void symbols(const Latents& latents,
                      const Object& bounds,
                      const Object& symbols,
                      const Object& rows,
                      Stream... stream) {
    constexpr const char* kOp = "gaussian_symbols";
    const Arguments in(kOp, latents);
    const Tensor bounds_in(bounds, kOp, "bounds");
    const Tensor symbols_out(symbols, kOp, "symbols", kRows);
    const Tensor rows_out(rows, kOp, "rows", kRows);
    const auto from = in.template view<float>();
    const auto b = bounds_in.template span<const float>();
    const auto q = symbols_out.template matrix<std::int32_t>();
    const auto r = rows_out.template matrix<std::uint8_t>();
    On(in.y(), stream...).symbols(from, b, q, r);
  }

  /// `more` is what the op takes beside.
  static void backward_with(const Object& grad,
                            const Latents& latents,
                            const Object& seed,
                            const Latents& gradients,
                            const std::tuple<Stream...>& stream,
                            const auto&... more) {
    constexpr const char* kOp = "gaussian_bits_backward";
    const Tensor grad_in(grad, kOp, "grad", kRows);
    const Arguments in(kOp, latents);
    const typename On::Seed noise(seed, kOp);
    const GaussianGradientArguments<Tensor> out(kOp, gradients);
    const auto g = grad_in.template matrix<const float>();
    in.visit([&]<class T>(const entropy::GaussianLatents<T>& from) {
      const auto on = std::apply([&](auto... s) { return On(in.y(), s...); }, stream);
      on.backward(g, from, noise.value(), out.template view<T>(), more...);
    });
  }

  static void backward(const Object& grad,
                       const Latents& latents,
                       const Object& seed,
                       const Latents& gradients,
                       Stream... stream) {
    backward_with(grad, latents, seed, gradients, std::tuple<Stream...>(stream...));
  }

  static void bind(pybind11::module_& m) {
    m.def("gaussian_rows", &rows);
    m.def("gaussian_symbols", &symbols);
    m.def("gaussian_bits_backward", &backward);
  }
};

}  // namespace glc::python

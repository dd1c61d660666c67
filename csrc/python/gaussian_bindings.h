// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "glc/views.h"

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

  static void bits(const Latents& latents,
                   const Object& seed,
                   const Object& bits,
                   Stream... stream) {
    constexpr const char* kOp = "gaussian_bits";
    const Arguments in(kOp, latents);
    const typename On::Seed noise(seed, kOp);
    const Tensor bits_out(bits, kOp, "bits", kRows);
    const auto to = bits_out.template matrix<float>();
    in.visit([&](const auto& from) { On(in.y(), stream...).bits(from, noise.value(), to); });
  }

  static void backward(const Object& grad,
                       const Latents& latents,
                       const Object& seed,
                       const Latents& gradients,
                       Stream... stream) {
    static constexpr const char* kOp = "gaussian_bits_backward";
    const Tensor grad_in(grad, kOp, "grad", kRows);
    const Arguments in(kOp, latents);
    const typename On::Seed noise(seed, kOp);
    const auto wanted = [](const Object& tensor, const char* name) {
      return tensor.is_none() ? std::nullopt
                              : std::optional<Tensor>(std::in_place, tensor, kOp, name, kRows);
    };
    const auto y_out = wanted(gradients[0], "grad_y");
    const auto mean_out = wanted(gradients[1], "grad_mean");
    const auto scale_out = wanted(gradients[2], "grad_scale");
    const auto g = grad_in.template matrix<const float>();
    in.visit([&]<class T>(const entropy::GaussianLatents<T>& from) {
      const auto view = [](const std::optional<Tensor>& out) {
        return out ? out->template matrix<T>() : MatrixView<T>();
      };
      const entropy::GaussianGradients<T> to{view(y_out), view(mean_out), view(scale_out)};
      On(in.y(), stream...).backward(g, from, noise.value(), to);
    });
  }

  static void bind(pybind11::module_& m) {
    m.def("gaussian_rows", &rows);
    m.def("gaussian_symbols", &symbols);
    m.def("gaussian_bits", &bits);
    m.def("gaussian_bits_backward", &backward);
  }
};

}  // namespace glc::python

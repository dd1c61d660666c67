// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <optional>
#include <utility>

#include <pybind11/pybind11.h>

#include "glc/entropy.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

// Outputs are made by the caller and passed in: this layer allocates nothing. Matrices may have any
// row stride. A seed is an int64 tensor of one element, or empty.

namespace glc::python {
namespace {

constexpr auto kRows = Dlpack::Layout::kRows;

/// y, mean and scale of one call.
class Latents {
 public:
  Latents(const char* op, const py::object& y, const py::object& mean, const py::object& scale)
      : y_(y, op, "y", kRows), mean_(mean, op, "mean", kRows), scale_(scale, op, "scale", kRows) {}

  /// f(view) with the view of the dtype that y has; the others must have the same.
  template <class F>
  void visit(F f) const {
    y_.is_bfloat16() ? f(view<BFloat16>()) : f(view<float>());
  }

 private:
  template <class T>
  [[nodiscard]] entropy::GaussianLatents<T> view() const {
    return {y_.matrix<const T>(), mean_.matrix<const T>(), scale_.matrix<const T>()};
  }

  Dlpack y_;
  Dlpack mean_;
  Dlpack scale_;
};

std::optional<std::uint64_t> seed_of(const py::object& seed, const char* op) {
  const Dlpack in(seed, op, "seed");
  const auto value = in.span<const std::int64_t>();
  return value.empty() ? std::nullopt
                       : std::optional<std::uint64_t>(static_cast<std::uint64_t>(value[0]));
}

void gaussian_bits(const py::object& y,
                   const py::object& mean,
                   const py::object& scale,
                   const py::object& seed,
                   const py::object& bits) {
  constexpr const char* kOp = "gaussian_bits";
  const Latents in(kOp, y, mean, scale);
  const Dlpack bits_out(bits, kOp, "bits", kRows);
  const auto noise = seed_of(seed, kOp);
  const auto out = bits_out.matrix<float>();
  in.visit([&](const auto& latents) {
    const py::gil_scoped_release release;
    entropy::gaussian_bits(latents, noise, out);
  });
}

void gaussian_total_bits(const py::object& y,
                         const py::object& mean,
                         const py::object& scale,
                         const py::object& seed,
                         const py::object& totals) {
  constexpr const char* kOp = "gaussian_total_bits";
  const Latents in(kOp, y, mean, scale);
  const Dlpack totals_out(totals, kOp, "totals");
  const auto noise = seed_of(seed, kOp);
  const auto out = totals_out.span<float>();
  in.visit([&](const auto& latents) {
    const py::gil_scoped_release release;
    entropy::gaussian_total_bits(latents, noise, out);
  });
}

void gaussian_bits_backward(const py::object& grad,
                            const py::object& y,
                            const py::object& mean,
                            const py::object& scale,
                            const py::object& seed,
                            const py::object& grad_y,
                            const py::object& grad_mean,
                            const py::object& grad_scale) {
  static constexpr const char* kOp = "gaussian_bits_backward";
  const Dlpack grad_in(grad, kOp, "grad", kRows);
  const Latents in(kOp, y, mean, scale);
  const auto wanted = [](const py::object& tensor, const char* name) {
    return tensor.is_none() ? std::nullopt
                            : std::optional<Dlpack>(std::in_place, tensor, kOp, name, kRows);
  };
  const auto y_out = wanted(grad_y, "grad_y");
  const auto mean_out = wanted(grad_mean, "grad_mean");
  const auto scale_out = wanted(grad_scale, "grad_scale");
  const auto noise = seed_of(seed, kOp);
  const auto g = grad_in.matrix<const float>();
  in.visit([&]<class T>(const entropy::GaussianLatents<T>& latents) {
    const auto view = [](const std::optional<Dlpack>& out) {
      return out ? out->matrix<T>() : MatrixView<T>();
    };
    const entropy::GaussianGradients<T> out{view(y_out), view(mean_out), view(scale_out)};
    const py::gil_scoped_release release;
    entropy::gaussian_bits_backward(g, latents, noise, out);
  });
}

}  // namespace

void bind_gaussian(py::module_& m) {
  m.def("gaussian_bits",
        &gaussian_bits,
        py::arg("y"),
        py::arg("mean"),
        py::arg("scale"),
        py::arg("seed"),
        py::arg("bits"));
  m.def("gaussian_total_bits",
        &gaussian_total_bits,
        py::arg("y"),
        py::arg("mean"),
        py::arg("scale"),
        py::arg("seed"),
        py::arg("totals"));
  m.def("gaussian_bits_backward",
        &gaussian_bits_backward,
        py::arg("grad"),
        py::arg("y"),
        py::arg("mean"),
        py::arg("scale"),
        py::arg("seed"),
        py::arg("grad_y"),
        py::arg("grad_mean"),
        py::arg("grad_scale"));
}

}  // namespace glc::python

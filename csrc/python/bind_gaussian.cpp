// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/entropy.h"
#include "python/bindings.h"
#include "python/dlpack.h"
#include "python/gaussian_bindings.h"
#include "python/on_cpu.h"

namespace py = pybind11;

// Outputs are made by the caller and passed in: this layer allocates nothing.

namespace glc::python {
namespace {

struct GaussianOnCpu : OnCpu {
  using OnCpu::OnCpu;

  class Seed {
   public:
    Seed(const py::object& seed, const char* op) {
      if (seed.is_none()) return;
      const Dlpack in(seed, op, "seed");
      const auto values = in.span<const std::int64_t>();
      if (!values.empty()) value_ = static_cast<std::uint64_t>(values[0]);
    }
    [[nodiscard]] std::optional<std::uint64_t> value() const { return value_; }

   private:
    std::optional<std::uint64_t> value_;
  };

  void rows(const auto&... a) const { entropy::gaussian_rows(a...); }
  void symbols(const auto&... a) const { entropy::gaussian_symbols(a...); }
  void backward(const auto&... a) const { entropy::gaussian_bits_backward(a...); }
};

using Latents = std::array<py::object, 3>;

/// What a forward pass leaves: None, or gradients of bits [n, 1] and the tensors for gradients by
/// y, mean and scale, any of which may be None.
using OptionalAhead = std::optional<std::pair<py::object, std::array<py::object, 3>>>;

class Ahead {
 public:
  Ahead(const char* op, const OptionalAhead& ahead) {
    if (!ahead) return;
    grad_.emplace(ahead->first, op, "ahead", Dlpack::Layout::kRows);
    out_.emplace(op, ahead->second);
  }
  [[nodiscard]] entropy::GaussianAhead view() const {
    if (!grad_ || !out_) return {};
    return {grad_->matrix<const float>(), out_->view<float>()};
  }

 private:
  std::optional<Dlpack> grad_;
  std::optional<GaussianGradientArguments<Dlpack>> out_;
};

void bits(const Latents& latents,
          const py::object& seed,
          const py::object& bits,
          const OptionalAhead& ahead) {
  constexpr const char* kOp = "gaussian_bits";
  const GaussianArguments<Dlpack> in(kOp, latents);
  const GaussianOnCpu::Seed noise(seed, kOp);
  const Dlpack bits_out(bits, kOp, "bits", Dlpack::Layout::kRows);
  const Ahead left(kOp, ahead);
  const auto to = bits_out.matrix<float>();
  in.visit([&](const auto& from) {
    const OnCpu on(in.y());
    entropy::gaussian_bits(from, noise.value(), to, left.view());
  });
}

void total_bits(const Latents& latents,
                const py::object& seed,
                const py::object& totals,
                const OptionalAhead& ahead) {
  constexpr const char* kOp = "gaussian_total_bits";
  const GaussianArguments<Dlpack> in(kOp, latents);
  const GaussianOnCpu::Seed noise(seed, kOp);
  const Dlpack totals_out(totals, kOp, "totals");
  const Ahead left(kOp, ahead);
  const auto to = totals_out.span<float>();
  in.visit([&](const auto& from) {
    const OnCpu on(in.y());
    entropy::gaussian_total_bits(from, noise.value(), to, left.view());
  });
}

bool backward_from_slopes(const py::object& grad,
                          const std::array<py::object, 2>& slopes,
                          const Latents& gradients) {
  constexpr const char* kOp = "gaussian_bits_backward";
  const Dlpack grad_in(grad, kOp, "grad", Dlpack::Layout::kRows);
  const auto by_y = optional_rows<Dlpack>(slopes[0], kOp, "slope_y");
  const auto by_scale = optional_rows<Dlpack>(slopes[1], kOp, "slope_scale");
  const GaussianGradientArguments<Dlpack> out(kOp, gradients);
  const auto g = grad_in.matrix<const float>();
  const OnCpu on(grad_in);
  return entropy::gaussian_bits_backward(
      g, {optional_view<float>(by_y), optional_view<float>(by_scale)}, out.view<float>());
}

}  // namespace

void bind_gaussian(py::module_& m) {
  GaussianBindings<GaussianOnCpu>::bind(m);
  m.def("gaussian_bits", &bits);
  m.def("gaussian_total_bits", &total_bits);
  m.def("gaussian_bits_backward", &backward_from_slopes);
}

}  // namespace glc::python

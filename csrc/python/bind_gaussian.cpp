// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <optional>

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
  void bits(const auto&... a) const { entropy::gaussian_bits(a...); }
  void backward(const auto&... a) const { entropy::gaussian_bits_backward(a...); }
};

void total_bits(const std::array<py::object, 3>& latents,
                const py::object& seed,
                const py::object& totals) {
  constexpr const char* kOp = "gaussian_total_bits";
  const GaussianArguments<Dlpack> in(kOp, latents);
  const GaussianOnCpu::Seed noise(seed, kOp);
  const Dlpack totals_out(totals, kOp, "totals");
  const auto to = totals_out.span<float>();
  in.visit([&](const auto& from) {
    const OnCpu on(in.y());
    entropy::gaussian_total_bits(from, noise.value(), to);
  });
}

}  // namespace

void bind_gaussian(py::module_& m) {
  GaussianBindings<GaussianOnCpu>::bind(m);
  m.def("gaussian_total_bits", &total_bits);
}

}  // namespace glc::python

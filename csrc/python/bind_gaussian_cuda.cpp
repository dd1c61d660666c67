// SPDX-License-Identifier: Apache-2.0
//
// The overloads with a stream. Only in builds with CUDA.
#include <array>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cuda/entropy.h"
#include "python/bindings.h"
#include "python/cuda_device.h"
#include "python/gaussian_ahead_cuda.h"
#include "python/gaussian_bindings.h"

namespace py = pybind11;

namespace glc::python {
namespace {

struct GaussianOnCuda : OnCuda {
  using OnCuda::OnCuda;

  class Seed {
   public:
    Seed(const py::object& seed, const char* op) {
      if (!seed.is_none()) tensor_.emplace(seed, op, "seed");
    }
    [[nodiscard]] const std::int64_t* value() const {
      return tensor_ ? tensor_->span<const std::int64_t>().data() : nullptr;
    }

   private:
    std::optional<DeviceTensor> tensor_;
  };

  void rows(const auto&... a) const { cuda::gaussian_rows(a..., stream()); }
  void symbols(const auto&... a) const { cuda::gaussian_symbols(a..., stream()); }
  template <class T>
  void backward(const MatrixView<const float>& grad,
                const entropy::GaussianLatents<T>& in,
                const std::int64_t* seed,
                const entropy::GaussianGradients<T>& out,
                const cuda::GaussianForesight& foresight = {}) const {
    cuda::gaussian_bits_backward(grad, in, seed, out, stream(), foresight);
  }
};

using Bindings = GaussianBindings<GaussianOnCuda, std::uintptr_t>;

using Latents = std::array<py::object, 3>;

void bits(const Latents& latents,
          const py::object& seed,
          const py::object& bits,
          std::uintptr_t stream) {
  constexpr const char* kOp = "gaussian_bits";
  const GaussianArguments<DeviceTensor> in(kOp, latents);
  const GaussianOnCuda::Seed noise(seed, kOp);
  const DeviceTensor bits_out(bits, kOp, "bits", DeviceTensor::Layout::kRows);
  const auto to = bits_out.matrix<float>();
  in.visit([&](const auto& from) {
    const OnCuda on(in.y(), stream);
    cuda::gaussian_bits(from, noise.value(), to, on.stream());
  });
}

void total_bits(const Latents& latents,
                const py::object& seed,
                const py::object& totals,
                const py::object& workspace,
                const py::object& ticket,
                const AheadArguments::Objects& ahead,
                std::uintptr_t stream) {
  constexpr const char* kOp = "gaussian_total_bits";
  const GaussianArguments<DeviceTensor> in(kOp, latents);
  const GaussianOnCuda::Seed noise(seed, kOp);
  const DeviceTensor totals_out(totals, kOp, "totals");
  const DeviceTensor scratch(workspace, kOp, "workspace");
  std::uint32_t* word = nullptr;
  if (!ticket.is_none()) {
    word = reinterpret_cast<std::uint32_t*>(
        DeviceTensor(ticket, kOp, "ticket").span<std::int32_t>().data());
  }
  const AheadArguments left(kOp, ahead);
  in.visit([&]<class T>(const entropy::GaussianLatents<T>& from) {
    const OnCuda on(in.y(), stream);
    cuda::gaussian_total_bits(from,
                              noise.value(),
                              totals_out.span<float>(),
                              scratch.bytes(),
                              word,
                              on.stream(),
                              left.view<T>());
  });
}

void backward_unless_foreseen(const py::object& grad,
                              const Latents& latents,
                              const py::object& seed,
                              const Latents& gradients,
                              const std::pair<py::object, py::object>& foresight,
                              std::uintptr_t stream) {
  const ForesightArguments counted("gaussian_bits_backward", foresight.first, foresight.second);
  Bindings::backward_with(grad, latents, seed, gradients, std::tuple(stream), counted.view());
}

}  // namespace

void bind_gaussian_cuda(py::module_& m) {
  Bindings::bind(m);
  m.def("gaussian_bits", &bits);
  m.def("gaussian_total_bits", &total_bits);
  m.def("gaussian_bits_backward", &backward_unless_foreseen);
  m.def("gaussian_total_bits_workspace_bytes", &cuda::gaussian_total_bits_workspace_bytes);
}

}  // namespace glc::python

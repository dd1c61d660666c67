// SPDX-License-Identifier: Apache-2.0
// Gaussian rates on a device against the CPU's, within the tolerance of an estimate. Memory goes
// through the runtime's calls, so the same program serves a device and the kernels on the CPU.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <cuda_runtime_api.h>

#include "check.h"
#include "entropy_values.h"
#include "glc/cuda/entropy.h"
#include "glc/entropy.h"
#include "glc/error.h"
#include "on_device.h"

namespace {

using glc::BFloat16;
using glc::InvalidArgument;
using glc::MatrixView;
using glc::entropy::GaussianGradients;
using glc::entropy::GaussianLatents;
using glc::test::check;
using glc::test::check_throws;
using glc::test::Floats;
using glc::test::kNan;
using glc::test::must;
using glc::test::narrowed;
using glc::test::normal;
using glc::test::OnDevice;

/// Rates, totals and gradients of [rows, cols], rows `stride` apart in the input.
template <class T>
void rates_agree(
    std::int64_t rows, std::int64_t cols, std::int64_t stride, std::int64_t groups, bool noisy) {
  const auto n_in = static_cast<std::size_t>(rows * stride);
  const auto n = static_cast<std::size_t>(rows * cols);
  const auto y = narrowed<T>(normal(n_in, 1, 3.0F));
  const auto mean = narrowed<T>(normal(n_in, 2, 1.0F));
  const auto scale = narrowed<T>(normal(n_in, 3, 2.0F));  // half of them negative
  const auto view = [&](auto* data) { return MatrixView<const T>(data, rows, cols, stride); };
  const OnDevice<T> y_on(y);
  const OnDevice<T> mean_on(mean);
  const OnDevice<T> scale_on(scale);
  const OnDevice<std::int64_t> seed_on(std::vector<std::int64_t>{-77});
  const GaussianLatents<T> host{view(y.data()), view(mean.data()), view(scale.data())};
  const GaussianLatents<T> device{view(y_on.data()), view(mean_on.data()), view(scale_on.data())};
  std::optional<std::uint64_t> seed;
  if (noisy) {
    seed = static_cast<std::uint64_t>(std::int64_t{-77});
  }
  const std::int64_t* const seed_there = noisy ? seed_on.data() : nullptr;

  const auto near = [](float a, float b, float slack) {
    return std::fabs(a - b) <= slack * (1.0F + std::fabs(b));
  };
  Floats bits(n);
  glc::entropy::gaussian_bits(host, seed, MatrixView<float>(bits.data(), rows, cols));
  const OnDevice<float> bits_on(Floats(n, kNan));
  glc::cuda::gaussian_bits(
      device, seed_there, MatrixView<float>(bits_on.data(), rows, cols), nullptr);
  const Floats bits_back = bits_on.host();
  for (std::size_t i = 0; i < n; ++i) {
    check(near(bits_back[i], bits[i], 5e-5F), "bits");
  }

  Floats totals(static_cast<std::size_t>(groups));
  glc::entropy::gaussian_total_bits(host, seed, totals);
  const std::size_t bytes = glc::cuda::gaussian_total_bits_workspace_bytes(rows, cols, groups);
  const OnDevice<std::byte> workspace{std::vector<std::byte>(bytes)};
  const OnDevice<std::uint32_t> ticket(std::vector<std::uint32_t>{0});
  Floats without_ticket;
  for (std::uint32_t* const its : {static_cast<std::uint32_t*>(nullptr), ticket.data()}) {
    const OnDevice<float> totals_on{Floats(totals.size(), kNan)};
    glc::cuda::gaussian_total_bits(
        device, seed_there, totals_on.span(), workspace.span(), its, nullptr);
    const Floats totals_back = totals_on.host();
    for (std::size_t g = 0; g < totals.size(); ++g) {
      check(near(totals_back[g], totals[g], 1e-5F), "total");
    }
    if (its == nullptr) without_ticket = totals_back;
    check(totals_back == without_ticket, "total with a ticket");
  }
  check(ticket.host()[0] == 0, "ticket");

  for (const bool each : {true, false}) {
    const std::int64_t grad_rows = each ? rows : groups;
    const std::int64_t grad_cols = each ? cols : 1;
    const Floats grad = normal(static_cast<std::size_t>(grad_rows * grad_cols), 4, 1.0F);
    const OnDevice<float> grad_on(grad);
    std::vector<T> by_y(n);
    std::vector<T> by_scale(n);
    const OnDevice<T> by_y_on(by_y);
    const OnDevice<T> by_scale_on(by_scale);
    const MatrixView<T> none;
    glc::entropy::gaussian_bits_backward(
        MatrixView<const float>(grad.data(), grad_rows, grad_cols),
        host,
        seed,
        GaussianGradients<T>{{by_y.data(), rows, cols}, none, {by_scale.data(), rows, cols}});
    glc::cuda::gaussian_bits_backward(
        MatrixView<const float>(grad_on.data(), grad_rows, grad_cols),
        device,
        seed_there,
        GaussianGradients<T>{{by_y_on.data(), rows, cols}, none, {by_scale_on.data(), rows, cols}},
        nullptr);
    const std::vector<T> y_back = by_y_on.host();
    const std::vector<T> scale_back = by_scale_on.host();
    const float slack = std::is_same_v<T, float> ? 1e-3F : 1e-2F;
    for (std::size_t i = 0; i < n; ++i) {
      check(near(glc::to_float(y_back[i]), glc::to_float(by_y[i]), slack), "by y");
      check(near(glc::to_float(scale_back[i]), glc::to_float(by_scale[i]), slack), "by scale");
    }
  }
}

/// Steps of a training whose gradient stays, changes and stays again. Whether a backward pass had
/// to compute shows in what it leaves of marks.
template <class T>
void gradients_come_ahead(std::int64_t rows, std::int64_t cols, std::int64_t groups, bool noisy) {
  const auto n = static_cast<std::size_t>(rows * cols);
  const OnDevice<T> y(narrowed<T>(normal(n, 1, 3.0F)));
  const OnDevice<T> mean(narrowed<T>(normal(n, 2, 1.0F)));
  const OnDevice<T> scale(narrowed<T>(normal(n, 3, 2.0F)));
  const auto view = [&](const OnDevice<T>& m) { return MatrixView<const T>(m.data(), rows, cols); };
  const auto target = [&](const OnDevice<T>& m) { return MatrixView<T>(m.data(), rows, cols); };
  const GaussianLatents<T> in{view(y), view(mean), view(scale)};
  const OnDevice<std::int64_t> seed_on(std::vector<std::int64_t>{-77});
  const std::int64_t* const seed = noisy ? seed_on.data() : nullptr;
  const auto n_grads = static_cast<std::size_t>(groups);
  const OnDevice<float> state(Floats(2 * n_grads, kNan));
  const OnDevice<std::byte> workspace(
      std::vector<std::byte>(glc::cuda::gaussian_total_bits_workspace_bytes(rows, cols, groups)));
  const OnDevice<float> totals(Floats(n_grads, kNan));
  glc::cuda::gaussian_total_bits(in, seed, totals.span(), workspace.span(), nullptr, nullptr);
  const Floats expected_totals = totals.host();
  const std::vector<T> mark = narrowed<T>(Floats(n, -12345.0F));
  const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  };
  int step = 0;
  for (const float value : {0.5F, 0.5F, 0.5F, -2.0F, -2.0F, -2.0F, kNan, kNan, kNan}) {
    Floats grads(n_grads, value);
    grads.back() *= 0.25F;
    const OnDevice<float> grad_on(grads);
    const MatrixView<const float> grad(grad_on.data(), groups, 1);
    const OnDevice<T> expected_y(mark);
    const OnDevice<T> expected_scale(mark);
    glc::cuda::gaussian_bits_backward(
        grad,
        in,
        seed,
        GaussianGradients<T>{target(expected_y), {}, target(expected_scale)},
        nullptr);
    const OnDevice<float> used(Floats(n_grads, 7.0F));
    const glc::cuda::GaussianForesight foresight{state.span(), used.span()};
    const OnDevice<T> by_y(mark);
    const OnDevice<T> by_scale(mark);
    const GaussianGradients<T> out{target(by_y), {}, target(by_scale)};
    glc::cuda::gaussian_total_bits(
        in, seed, totals.span(), workspace.span(), nullptr, nullptr, {foresight, out});
    check(totals.host() == expected_totals, "the same totals, ahead or not");
    const bool fulfilled = step == 2 || step == 5;
    if (fulfilled) {
      check(same(by_y.host(), expected_y.host()), "by y, ahead");
      check(same(by_scale.host(), expected_scale.host()), "by scale, ahead");
      must(cudaMemcpy(by_y.data(), mark.data(), n * sizeof(T), cudaMemcpyHostToDevice));
    }
    glc::cuda::gaussian_bits_backward(grad, in, seed, out, nullptr, foresight);
    check(same(by_y.host(), fulfilled ? mark : expected_y.host()), "by y");
    check(same(by_scale.host(), expected_scale.host()), "by scale");
    ++step;
  }
}

void bad_foresight_is_refused() {
  const OnDevice<float> some(Floats(16));
  const MatrixView<float> maps(some.data(), 2, 8);
  const GaussianLatents<float> in{maps, maps, maps};
  const OnDevice<std::byte> workspace(std::vector<std::byte>(64));
  const auto refuses = [&](std::size_t n_state, std::size_t n_used, MatrixView<float> out) {
    const glc::cuda::GaussianForesight foresight{some.span().first(n_state),
                                                 some.span().first(n_used)};
    check_throws<InvalidArgument>([&] {
      glc::cuda::gaussian_total_bits(in,
                                     nullptr,
                                     some.span().first(2),
                                     workspace.span(),
                                     nullptr,
                                     nullptr,
                                     {foresight, {out, {}, {}}});
    });
    const MatrixView<const float> grad(some.data(), 2, out.cols == 4 ? 8 : 1);
    check_throws<InvalidArgument>(
        [&] { glc::cuda::gaussian_bits_backward(grad, in, nullptr, {}, nullptr, foresight); });
  };
  refuses(4, 1, maps);
  refuses(2, 2, maps);
  refuses(6, 3, maps);
  refuses(4, 2, {some.data(), 2, 4});
}

void bad_shapes_are_refused() {
  const OnDevice<float> some(Floats(16));
  const MatrixView<float> wide_view(some.data(), 2, 8);
  const MatrixView<float> other(some.data(), 2, 4);
  check_throws<InvalidArgument>([&] {
    glc::cuda::gaussian_bits(
        GaussianLatents<float>{wide_view, other, wide_view}, nullptr, wide_view, nullptr);
  });
  check_throws<InvalidArgument>([&] {
    glc::cuda::gaussian_total_bits(GaussianLatents<float>{wide_view, wide_view, wide_view},
                                   nullptr,
                                   some.span().first(2),
                                   std::span<std::byte>(),
                                   nullptr,
                                   nullptr);
  });
}

}  // namespace

int main() {
  for (const bool noisy : {false, true}) {
    rates_agree<float>(1, 1, 1, 1, noisy);
    rates_agree<float>(3, 63, 63, 3, noisy);
    rates_agree<float>(6, 65, 130, 2, noisy);
    rates_agree<float>(2, 20000, 20001, 2, noisy);
    rates_agree<float>(2, 20000, 20000, 1, noisy);
    rates_agree<BFloat16>(4, 129, 131, 2, noisy);
    rates_agree<BFloat16>(3, 130, 132, 1, noisy);
    gradients_come_ahead<float>(2, 20000, 1, noisy);
    gradients_come_ahead<float>(6, 65, 3, noisy);
    gradients_come_ahead<BFloat16>(3, 130, 3, noisy);
  }
  bad_foresight_is_refused();
  bad_shapes_are_refused();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The entropy ops on a device against the CPU's: integers and the four-part step bit for bit, rates
// within the tolerance of an estimate. Memory goes through the runtime's calls, so the same program
// serves a device and the kernels on the CPU.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include <cuda_runtime_api.h>

#include "check.h"
#include "entropy_values.h"
#include "glc/cuda/entropy.h"
#include "glc/entropy.h"
#include "glc/error.h"
#include "glc/four_part.h"
#include "on_device.h"

namespace {

using glc::BFloat16;
using glc::InvalidArgument;
using glc::MatrixView;
using glc::entropy::GaussianGradients;
using glc::entropy::GaussianLatents;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;
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

void rows_and_symbols_are_equal() {
  const Floats bounds = {0.04F, 0.1F, 0.11F, 0.5F, 1.0F, 3.0F, 60.0F};
  Floats scale = normal(997, 5, 2.0F);
  scale.insert(scale.end(), {kNan, -kNan, 0.0F, -0.0F, -1.0F, 1e-45F, 3e38F});
  scale.insert(scale.end(), bounds.begin(), bounds.end());
  const auto n = static_cast<std::int64_t>(scale.size());
  const OnDevice<float> scale_on(scale);
  const OnDevice<float> bounds_on(bounds);
  const OnDevice<std::uint8_t> rows_on{std::vector<std::uint8_t>(scale.size(), 99)};
  std::vector<std::uint8_t> rows(scale.size());
  glc::entropy::gaussian_rows(MatrixView<const float>(scale.data(), 1, n),
                              bounds,
                              MatrixView<std::uint8_t>(rows.data(), 1, n));
  glc::cuda::gaussian_rows(MatrixView<const float>(scale_on.data(), 1, n),
                           bounds_on.span(),
                           MatrixView<std::uint8_t>(rows_on.data(), 1, n),
                           nullptr);
  check(rows_on.host() == rows, "rows");

  Floats y = {0.5F, 1.5F, -0.5F, 2.5F, 8388607.5F, -3.7F, kNan, kInf, -kInf, 3e9F, 16777216.0F};
  const std::vector<std::int32_t> expected = {0,
                                              2,
                                              0,
                                              2,
                                              8388608,
                                              -4,
                                              0,
                                              2147483647,
                                              std::numeric_limits<std::int32_t>::min(),
                                              2147483647,
                                              16777216};
  const auto m = static_cast<std::int64_t>(y.size());
  const Floats zeros(y.size());
  const Floats ones(y.size(), 1.0F);
  const OnDevice<float> y_on(y);
  const OnDevice<float> zeros_on(zeros);
  const OnDevice<float> ones_on(ones);
  const OnDevice<std::int32_t> symbols_on{std::vector<std::int32_t>(y.size())};
  const OnDevice<std::uint8_t> some_on{std::vector<std::uint8_t>(y.size())};
  const auto view = [&](const float* data) { return MatrixView<const float>(data, 1, m); };
  glc::cuda::gaussian_symbols({view(y_on.data()), view(zeros_on.data()), view(ones_on.data())},
                              bounds_on.span(),
                              MatrixView<std::int32_t>(symbols_on.data(), 1, m),
                              MatrixView<std::uint8_t>(some_on.data(), 1, m),
                              nullptr);
  check(symbols_on.host() == expected, "symbols");
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void four_parts_are_equal(const glc::entropy::FourPartShape& shape) {
  const std::int64_t pixels = shape.height * shape.width;
  const std::int64_t rows = shape.channels_last ? shape.batch * pixels : shape.batch;
  const std::int64_t cols = shape.channels_last ? shape.channels : shape.channels * pixels;
  const auto n = static_cast<std::size_t>(rows * cols);
  const Floats y = normal(n, 1, 3.0F);
  const OnDevice<float> y_on(y);
  const auto view = [&](auto* data) { return MatrixView<const float>(data, rows, cols); };
  const auto target = [&](float* data) { return MatrixView<float>(data, rows, cols); };
  std::vector<Floats> params;
  for (unsigned i = 0; i < 8; ++i) {
    params.push_back(normal(n, 10 + i, 1.0F));
  }
  Floats y_hat(n);
  Floats next(n);
  Floats rebuilt(n);
  const OnDevice<float> y_hat_on(y_hat);
  const OnDevice<float> next_on(next);
  const OnDevice<float> rebuilt_on(rebuilt);
  glc::entropy::FourPartMergeMaps host{.y = view(y.data())};
  glc::entropy::FourPartMergeMaps device{.y = view(y_on.data())};
  std::vector<OnDevice<float>*> kept;
  for (int part = 0; part < glc::entropy::kParts; ++part) {
    const auto p = static_cast<std::size_t>(part);
    auto* const mean_on = kept.emplace_back(new OnDevice<float>(params[p]));
    auto* const scale_on = kept.emplace_back(new OnDevice<float>(params[p + 4]));
    host.means[p] = view(params[p].data());
    host.scales[p] = view(params[p + 4].data());
    device.means[p] = view(mean_on->data());
    device.scales[p] = view(scale_on->data());
    // elsewhere: what is there, zeros, what was there before
    const auto step = [&](const auto& maps, float* to, MatrixView<const float> before) {
      return glc::entropy::FourPartStepMaps{
          .y = maps.y, .mean = maps.means[p], .before = before, .y_hat = target(to)};
    };
    const auto both = [&](float* to, float* to_on, auto before, auto before_on) {
      glc::entropy::four_part_step(shape, part, step(host, to, before));
      glc::cuda::four_part_step(shape, part, step(device, to_on, before_on), nullptr);
    };
    const MatrixView<const float> none;
    both(next.data(), next_on.data(), none, none);
    check(same_bits(next_on.host(), next), "after nothing");
    both(next.data(), next_on.data(), view(y_hat.data()), view(y_hat_on.data()));
    check(same_bits(next_on.host(), next), "after the parts before");
    both(y_hat.data(), y_hat_on.data(), view(y_hat.data()), view(y_hat_on.data()));

    const auto size =
        static_cast<std::size_t>(shape.batch * glc::entropy::four_part_size(shape, part));
    Floats picked(size);
    glc::entropy::four_part_pick(shape, part, host.means[p], picked);
    const OnDevice<float> picked_on{Floats(size)};
    glc::cuda::four_part_pick(shape, part, device.means[p], picked_on.span(), nullptr);
    check(same_bits(picked_on.host(), picked), "picked");
    std::vector<std::int32_t> symbols(size);
    for (std::size_t i = 0; i < size; ++i) {
      symbols[i] = static_cast<std::int32_t>(i % 7) - 3;
    }
    const OnDevice<std::int32_t> symbols_on(symbols);
    glc::entropy::four_part_put(shape, part, symbols, picked, target(rebuilt.data()));
    glc::cuda::four_part_put(
        shape, part, symbols_on.span(), picked_on.span(), target(rebuilt_on.data()), nullptr);
  }
  check(same_bits(y_hat_on.host(), y_hat), "y_hat");
  check(same_bits(rebuilt_on.host(), rebuilt), "rebuilt");
  std::vector<Floats> out(4, Floats(n));
  const std::array<OnDevice<float>, 4> out_on = {OnDevice<float>(out[0]),
                                                 OnDevice<float>(out[1]),
                                                 OnDevice<float>(out[2]),
                                                 OnDevice<float>(out[3])};
  const auto check_all = [&](const char* what) {
    for (std::size_t i = 0; i < out.size(); ++i) check(same_bits(out_on[i].host(), out[i]), what);
  };
  const auto all_to = [&](auto& maps, const auto& to) {
    maps.y_q = target(to(0));
    maps.y_hat = target(to(1));
    maps.mean = target(to(2));
    maps.scale = target(to(3));
  };
  all_to(host, [&](std::size_t i) { return out[i].data(); });
  all_to(device, [&](std::size_t i) { return out_on[i].data(); });
  glc::entropy::four_part_merge(shape, host);
  glc::cuda::four_part_merge(shape, device, nullptr);
  check_all("merged");
  for (const bool with_minus : {false, true}) {
    glc::entropy::FourPartSpreadMaps spread{.x = host.y};
    glc::entropy::FourPartSpreadMaps spread_on{.x = device.y};
    if (with_minus) {
      spread.minus = host.means[0];
      spread_on.minus = device.means[0];
    }
    constexpr std::array kSets = {8U, 5U, 0U, 15U};
    for (std::size_t i = 0; i < out.size() - (with_minus ? 1 : 0); ++i) {
      spread.targets[i] = {target(out[i].data()), kSets[i]};
      spread_on.targets[i] = {target(out_on[i].data()), kSets[i]};
    }
    glc::entropy::four_part_spread(shape, spread);
    glc::cuda::four_part_spread(shape, spread_on, nullptr);
    check_all("spread");
  }
  for (const auto* memory : kept) {
    delete memory;
  }
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
  check_throws<InvalidArgument>(
      [&] { glc::cuda::four_part_step({1, 6, 1, 1, false}, 0, {.y = wide_view}, nullptr); });
  check_throws<InvalidArgument>(
      [&] { glc::cuda::four_part_step({1, 16, 1, 1, false}, 4, {}, nullptr); });
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
  }
  rows_and_symbols_are_equal();
  for (const bool channels_last : {false, true}) {
    four_parts_are_equal({1, 4, 1, 1, channels_last});
    four_parts_are_equal({2, 8, 3, 5, channels_last});
    four_parts_are_equal({1, 16, 8, 17, channels_last});
  }
  bad_shapes_are_refused();
  return 0;
}

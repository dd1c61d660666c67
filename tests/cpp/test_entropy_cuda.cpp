// SPDX-License-Identifier: Apache-2.0
// Rows, symbols and the four-part step on a device against the CPU's, bit for bit. Memory goes
// through the runtime's calls, so the same program serves a device and the kernels on the CPU.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
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

using glc::InvalidArgument;
using glc::MatrixView;
using glc::test::check;
using glc::test::check_throws;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;
using glc::test::normal;
using glc::test::OnDevice;

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

  const Floats y = {
      0.5F, 1.5F, -0.5F, 2.5F, 8388607.5F, -3.7F, kNan, kInf, -kInf, 3e9F, 16777216.0F};
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
  params.reserve(8);
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
  check_throws<InvalidArgument>(
      [&] { glc::cuda::four_part_step({1, 6, 1, 1, false}, 0, {.y = wide_view}, nullptr); });
  check_throws<InvalidArgument>(
      [&] { glc::cuda::four_part_step({1, 16, 1, 1, false}, 4, {}, nullptr); });
}

}  // namespace

int main() {
  rows_and_symbols_are_equal();
  for (const bool channels_last : {false, true}) {
    four_parts_are_equal({1, 4, 1, 1, channels_last});
    four_parts_are_equal({2, 8, 3, 5, channels_last});
    four_parts_are_equal({1, 16, 8, 17, channels_last});
  }
  bad_shapes_are_refused();
  return 0;
}

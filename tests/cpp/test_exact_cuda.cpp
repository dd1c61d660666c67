// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels against the CPU's, bit for bit, on values of every kind.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "check.h"
#include "exact_values.h"
#include "glc/cuda/exact.h"
#include "glc/error.h"
#include "glc/exact.h"
#include "on_device.h"

#ifdef GLC_CUDA_EMULATED
#include "cuda_on_cpu/scheduler.h"
#endif

namespace {

using glc::InvalidArgument;
using glc::exact::Conv;
using glc::exact::MapView;
using glc::exact::Sampling;
using glc::test::between;
using glc::test::check_same;
using glc::test::draw;
using glc::test::Floats;
using glc::test::OnDevice;
using glc::test::Values;
namespace cuda = glc::cuda;

struct Shape {
  std::int64_t n;
  std::int64_t in;
  std::int64_t out;
  std::int64_t h;
  std::int64_t w;
};

/// Of at most a few tiles, with few channels in most cases.
Shape draw_shape(std::mt19937& random) {
  return {.n = between(1, 2, random),
          .in = between(1, random() % 4 == 0 ? 70 : 20, random),
          .out = between(1, 80, random),
          .h = between(1, 24, random),
          .w = between(1, 24, random)};
}

/// For which the largest tiles are chosen on a device of two processors: whole ones, and with
/// edges.
constexpr Shape kLarge[] = {{1, 20, 128, 16, 32}, {1, 35, 126, 16, 31}};

std::int64_t check_conv(const Shape& size, Values kind, std::mt19937& random) {
  const auto [n, in, channels, h, w] = size;
  const std::int64_t kernel = random() % 2 == 0 ? 1 : 3;
  const bool shuffle = random() % 4 == 0;
  const std::int64_t out = shuffle ? (channels + 3) / 4 * 4 : channels;
  Conv::Options options;
  Sampling& s = options.sampling;
  s.stride = between(1, 2, random);
  if (kernel == 1) s.row = between(0, s.stride - 1, random);
  if (kernel == 1) s.col = between(0, s.stride - 1, random);
  if (random() % 2 == 0) options.slope = 0.01F;
  options.shuffle = shuffle ? 2 : 1;
  const std::int64_t f = options.shuffle;
  MapView<float> shape{nullptr, n, out / (f * f), f * s.count(h, s.row), f * s.count(w, s.col)};
  const Floats x = draw(n * in * h * w, kind, random);
  const Floats weight = draw(out * in * kernel * kernel, kind, random);
  const Floats bias = draw(out, kind, random);
  const Floats residual = draw(shape.size(), kind, random);
  const bool add = !shuffle && random() % 2 == 0;

  Floats expected(residual.size());
  const Conv conv(weight, bias, in, out, kernel);
  std::vector<std::byte> workspace(conv.workspace_bytes());
  if (add) options.residual = {residual.data(), shape.n, shape.c, shape.h, shape.w};
  shape.data = expected.data();
  conv.run({x.data(), n, in, h, w}, options, shape, workspace);

  const OnDevice<float> x_on(x);
  const OnDevice<float> weight_on(
      cuda::exact_k_major(weight, in, kernel, cuda::exact_columns(out, false)));
  const OnDevice<float> bias_on(bias);
  const OnDevice<float> residual_on(residual);
  const OnDevice<float> out_on(Floats(residual.size(), 7.0F));
  if (add) options.residual.data = residual_on.data();
  shape.data = out_on.data();
  cuda::exact_conv2d({x_on.data(), n, in, h, w},
                     weight_on.span(),
                     bias_on.span(),
                     kernel,
                     options,
                     shape,
                     nullptr);
  check_same(out_on.host(), expected, "conv2d");
  return shape.size();
}

std::int64_t check_depthwise(Values kind, std::mt19937& random) {
  const std::int64_t n = between(1, 2, random);
  const std::int64_t c = 2 * between(1, 8, random);
  const std::int64_t h = between(1, 40, random);
  const std::int64_t w = between(1, 40, random);
  const Floats x = draw(n * c * h * w, kind, random);
  const Floats weight = draw(9 * c, kind, random);
  const Floats bias = draw(c, kind, random);
  const MapView<const float> view{x.data(), n, c, h, w};
  Floats expected(x.size());
  std::vector<std::byte> workspace(glc::exact::depthwise_workspace_bytes(w));
  glc::exact::depthwise3x3(view, weight, bias, {expected.data(), n, c, h, w}, workspace);
  const OnDevice<float> x_on(x);
  const OnDevice<float> weight_on(weight);
  const OnDevice<float> bias_on(bias);
  const OnDevice<float> out_on(Floats(x.size(), 7.0F));
  const MapView<const float> on{x_on.data(), n, c, h, w};
  cuda::exact_depthwise3x3(
      on, weight_on.span(), bias_on.span(), {out_on.data(), n, c, h, w}, nullptr);
  check_same(out_on.host(), expected, "depthwise3x3");

  return n * c * h * w;
}

std::int64_t check_gated(const Shape& size, Values kind, std::mt19937& random) {
  constexpr float kSlope = 0.1F;
  const auto [n, in, out, h, w] = size;
  const std::int64_t half = (out + 1) / 2;
  const Floats x = draw(n * in * h * w, kind, random);
  const Floats weight = draw(2 * half * in, kind, random);
  const Floats bias = draw(2 * half, kind, random);
  Floats both(static_cast<std::size_t>(n * 2 * half * h * w));
  const Conv conv(weight, bias, in, 2 * half, 1);
  std::vector<std::byte> workspace(conv.workspace_bytes());
  conv.run({x.data(), n, in, h, w}, {}, {both.data(), n, 2 * half, h, w}, workspace);
  const std::int64_t apart = half * h * w;
  Floats expected(static_cast<std::size_t>(n * apart));
  for (std::int64_t i = 0; i < n * apart; ++i) {
    const float* u = both.data() + i / apart * 2 * apart + i % apart;
    expected[static_cast<std::size_t>(i)] = u[0] * (u[apart] > 0.0F ? u[apart] : u[apart] * kSlope);
  }
  const OnDevice<float> x_on(x);
  const OnDevice<float> weight_on(
      cuda::exact_k_major(weight, in, 1, cuda::exact_columns(2 * half, true)));
  const OnDevice<float> bias_on(bias);
  const OnDevice<float> out_on(Floats(expected.size(), 7.0F));
  cuda::exact_gated_conv({x_on.data(), n, in, h, w},
                         weight_on.span(),
                         bias_on.span(),
                         kSlope,
                         {out_on.data(), n, half, h, w},
                         nullptr);
  check_same(out_on.host(), expected, "gated_conv");
  return n * apart;
}

void arguments_are_checked() {
  const OnDevice<float> four(Floats(4));
  const OnDevice<float> nine(Floats(9));
  const std::span<const float> one = four.span().first(1);
  const MapView<const float> x{four.data(), 1, 1, 2, 2};
  const auto refused = [](const auto& call) { glc::test::check_throws<InvalidArgument>(call); };
  const auto conv = [&](auto weight, auto bias, std::int64_t kernel, std::int64_t w) {
    cuda::exact_conv2d(x, weight, bias, kernel, {}, {four.data(), 1, 1, 2, w}, nullptr);
  };
  refused([&] { conv(four.span(), one, 1, 1); });
  refused([&] { conv(one, one, 1, 2); });  // a column alone
  refused([&] { conv(four.span(), one, 2, 2); });
  refused([&] { conv(nine.span().subspan(1, 4), one, 1, 2); });  // not aligned
  refused([&] { conv(four.span(), four.span(), 1, 2); });
  refused([&] {  // half a gate
    cuda::exact_gated_conv(x, four.span(), one, 0.1F, {four.data(), 1, 1, 2, 2}, nullptr);
  });
  refused(
      [&] { cuda::exact_depthwise3x3(x, nine.span(), one, {four.data(), 1, 1, 1, 2}, nullptr); });
  refused(
      [&] { cuda::exact_depthwise3x3(x, four.span(), one, {four.data(), 1, 1, 2, 2}, nullptr); });
}

}  // namespace

int main(int n_arguments, char** arguments) {
  const std::int64_t n_wanted = n_arguments > 1 ? std::atoll(arguments[1]) : 200'000;
  std::mt19937 random(7);
  for (const Values kind : glc::test::kAllValues) {
    for (const Shape& size : kLarge) {
      check_conv(size, kind, random);
      check_gated(size, kind, random);
    }
    std::int64_t n = 0;
    for (unsigned seed = 0; n < n_wanted; ++seed) {
#ifdef GLC_CUDA_EMULATED
      cuda_on_cpu::set_seed(seed);
#endif
      n += check_conv(draw_shape(random), kind, random);
      n += check_gated(draw_shape(random), kind, random);
      n += check_depthwise(kind, random);
    }
    std::printf("%lld outputs of kind %d equal the CPU's\n",
                static_cast<long long>(n),
                static_cast<int>(kind));
  }
  arguments_are_checked();
  return 0;
}

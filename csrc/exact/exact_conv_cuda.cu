// SPDX-License-Identifier: Apache-2.0
// The launcher of exact_conv_cuda.cuh: which tile, and what may be read 16 bytes at a time.
#include <algorithm>
#include <limits>

#include "exact/exact_check.h"
#include "exact/exact_conv_cuda.cuh"
#include "glc/cuda/exact.h"

namespace glc::cuda {
namespace {

using conv::conv_kernel;
using conv::ConvParams;
using conv::ConvTile;
using conv::kQuad;

constexpr const char* kOp = "exact_conv2d";
constexpr std::int64_t kMaxGrid = 65535;

using Large = ConvTile<128, 128, 8>;
using Medium = ConvTile<128, 64, 8>;
using Small = ConvTile<64, 64, 4>;

template <class T>
struct Grid {
  std::int64_t channel_tiles;
  std::int64_t pixel_tiles;

  explicit Grid(const ConvParams& p)
      : channel_tiles((p.columns + T::kChannels - 1) / T::kChannels),
        pixel_tiles((std::int64_t{p.n_pixels} + T::kPixels - 1) / T::kPixels) {}

  /// Time of the busiest processor, in outputs of a large tile among others. A block alone there
  /// has nothing to do while its threads wait for each other.
  [[nodiscard]] double cost(std::int64_t n_images, int n_processors, double of_output) const {
    constexpr double kAlone = 1.1;
    const std::int64_t blocks = n_images * channel_tiles * pixel_tiles;
    const std::int64_t most = (blocks + n_processors - 1) / n_processors;
    return static_cast<double>(most * T::kChannels * T::kPixels) * of_output *
           (most == 1 ? kAlone : 1.0);
  }
};

template <class T>
void start(ConvParams p, std::int64_t n_images, bool wide, cudaStream_t stream) {
  const Grid<T> grid(p);
  p.channel_tiles = static_cast<int>(grid.channel_tiles);
  launch(kOp,
         wide ? conv_kernel<T, kQuad> : conv_kernel<T, 1>,
         {.grid = {static_cast<unsigned>(grid.channel_tiles * grid.pixel_tiles),
                   1,
                   static_cast<unsigned>(n_images)},
          .block = {T::kThreads, 1, 1}},
         stream,
         p);
}

/// With the tile that is done first: small ones spread the work evenly, but load more for an
/// output.
void start_best(const ConvParams& p, std::int64_t n_images, bool wide, cudaStream_t stream) {
  constexpr double kMediumCost = 1.03;  // by the instructions of the inner loops
  constexpr double kSmallCost = 1.18;
  int device = 0;
  int n_processors = 0;
  check(cudaGetDevice(&device), kOp);
  check(cudaDeviceGetAttribute(&n_processors, cudaDevAttrMultiProcessorCount, device), kOp);
  const double large = Grid<Large>(p).cost(n_images, n_processors, 1.0);
  const double medium = Grid<Medium>(p).cost(n_images, n_processors, kMediumCost);
  const double small = Grid<Small>(p).cost(n_images, n_processors, kSmallCost);
  if (large <= std::min(medium, small)) return start<Large>(p, n_images, wide, stream);
  if (medium <= small) return start<Medium>(p, n_images, wide, stream);
  start<Small>(p, n_images, wide, stream);
}

bool in_quads(const float* data) {
  return reinterpret_cast<std::uintptr_t>(data) % (kQuad * sizeof(float)) == 0;
}

/// How many exact_columns gives.
std::int64_t columns(std::int64_t n, bool gated) {
  const std::int64_t run = gated ? 2 * conv::kGateRun : kQuad;
  return (n + run - 1) / run * run;
}

void run(exact::MapView<const float> x,
         std::span<const float> weight,
         std::span<const float> bias,
         std::int64_t kernel,
         const exact::Conv::Options& options,
         bool gated,
         exact::MapView<float> out,
         cudaStream_t stream) {
  const std::int64_t n_sums = ssize(bias);
  const std::int64_t row = columns(n_sums, gated);
  const std::int64_t in_channels = ssize(weight) / std::max<std::int64_t>(kernel * kernel * row, 1);
  exact::check_conv_sizes(in_channels, n_sums, kernel);
  exact::check_size(kOp, "weight", ssize(weight), kernel * kernel * in_channels * row);
  exact::check_input(kOp, x, in_channels);
  exact::check_conv_run(options, x, gated ? n_sums / 2 : n_sums, kernel, out);
  if (!in_quads(weight.data())) fail_argument(kOp, "weight", "an address in 16 bytes", "another");
  if (out.size() == 0) return;
  const exact::Sampling& s = options.sampling;
  const std::int64_t n_pixels = s.count(x.h, s.row) * s.count(x.w, s.col);
  constexpr std::int64_t kMaxPixels = std::numeric_limits<int>::max() - Large::kPixels;
  if (x.n > kMaxGrid) fail_argument(kOp, "x", "at most 65535 images", x.n);
  if (n_pixels > kMaxPixels) fail_argument(kOp, "out", "fewer than 2^31 - 128 pixels", n_pixels);
  const auto narrow = [](std::int64_t n) { return static_cast<int>(n); };
  const bool quads = n_pixels % kQuad == 0;
  const ConvParams params{.x = x.data,
                          .weight = weight.data(),
                          .bias = bias.data(),
                          .residual = options.residual.data,
                          .out = out.data,
                          .in_channels = narrow(x.c),
                          .columns = narrow(row),
                          .out_channels = narrow(gated ? n_sums / 2 : n_sums),
                          .h = narrow(x.h),
                          .w = narrow(x.w),
                          .w_out = narrow(s.count(x.w, s.col)),
                          .n_pixels = narrow(n_pixels),
                          .kernel = narrow(kernel),
                          .stride = narrow(s.stride),
                          .row = narrow(s.row - kernel / 2),
                          .col = narrow(s.col - kernel / 2),
                          .shift = narrow(options.shuffle - 1),
                          .channel_tiles = 0,
                          .gated = gated,
                          .wide_out = options.shuffle == 1 && quads && in_quads(out.data) &&
                                      in_quads(options.residual.data),
                          .activate = options.slope.has_value(),
                          .slope = options.slope.value_or(1.0F)};
  start_best(params, x.n, kernel == 1 && s.stride == 1 && quads && in_quads(x.data), stream);
}

}  // namespace

std::vector<std::int64_t> exact_columns(std::int64_t n, bool gated) {
  std::vector<std::int64_t> channels;
  const std::int64_t half = gated ? n / 2 : n;
  const std::int64_t run = gated ? conv::kGateRun : kQuad;
  for (std::int64_t first = 0; first < half; first += run) {
    for (std::int64_t start = 0; start < n; start += half) {
      for (std::int64_t r = 0; r < run; ++r) {
        channels.push_back(start + std::min(first + r, half - 1));
      }
    }
  }
  return channels;
}

std::vector<float> exact_k_major(std::span<const float> weight,
                                 std::int64_t in_channels,
                                 std::int64_t kernel,
                                 std::span<const std::int64_t> columns) {
  const std::int64_t taps = kernel * kernel;
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(taps * in_channels) * columns.size());
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    for (std::int64_t a = 0; a < in_channels; ++a) {
      for (const std::int64_t b : columns) {
        out.push_back(weight[static_cast<std::size_t>((b * in_channels + a) * taps + tap)]);
      }
    }
  }
  return out;
}

void exact_conv2d(exact::MapView<const float> x,
                  std::span<const float> weight,
                  std::span<const float> bias,
                  std::int64_t kernel,
                  const exact::Conv::Options& options,
                  exact::MapView<float> out,
                  cudaStream_t stream) {
  run(x, weight, bias, kernel, options, false, out, stream);
}

void exact_gated_conv(exact::MapView<const float> x,
                      std::span<const float> weight,
                      std::span<const float> bias,
                      float slope,
                      exact::MapView<float> out,
                      cudaStream_t stream) {
  if (ssize(bias) % 2 != 0) fail_argument(kOp, "bias", "an even number of channels", ssize(bias));
  run(x, weight, bias, 1, {.slope = slope}, true, out, stream);
}

}  // namespace glc::cuda

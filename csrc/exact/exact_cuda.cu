// SPDX-License-Identifier: Apache-2.0
// A block computes kTile channels of kTile pixels, a thread kPart of each. All threads step through
// the same blocks of k in ascending order, so an output's chain is the one of the CPU's kernels; no
// tensor cores, whose sums have an order of their own. Every operation is an explicit intrinsic:
// nothing is left for the compiler to contract.
#include "core/cuda_launch.h"
#include "exact/exact_check.h"
#include "glc/cuda/exact.h"

namespace glc::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kPart = 4;  // 16 sums a thread: enough loads in flight, and registers for 4 blocks
constexpr int kSide = kTile / kPart;
constexpr int kThreads = kSide * kSide;
constexpr int kBlock = 16;  // of k; 8 KiB of shared memory
constexpr int kElementThreads = 256;
constexpr std::int64_t kMaxGrid = 65535;

struct ConvParams {
  const float* x;
  const float* weight;
  const float* bias;
  const float* residual;
  float* out;
  std::int64_t in_channels;
  std::int64_t out_channels;
  std::int64_t h;
  std::int64_t w;
  std::int64_t h_out;
  std::int64_t w_out;
  std::int64_t kernel;
  std::int64_t stride;
  std::int64_t row;  // of the first tap, may be -1
  std::int64_t col;
  std::int64_t shuffle;
  bool activate;
  float slope;
};

struct ConvShared {
  float weight[kBlock][kTile];
  float x[kBlock][kTile];
};

__device__ float leaky(float v, float slope) { return v > 0.0F ? v : __fmul_rn(v, slope); }

/// x at value k of the chain of one output pixel; zero outside.
__device__ float tap_of(const ConvParams& p, const float* x, std::int64_t k, std::int64_t pixel) {
  const std::int64_t tap = k / p.in_channels;
  const std::int64_t channel = k % p.in_channels;
  const std::int64_t i = pixel / p.w_out * p.stride + p.row + tap / p.kernel;
  const std::int64_t j = pixel % p.w_out * p.stride + p.col + tap % p.kernel;
  if (i < 0 || j < 0 || i >= p.h || j >= p.w) return 0.0F;
  return x[(channel * p.h + i) * p.w + j];
}

__device__ void load_block(const ConvParams& p,
                           const float* x,
                           std::int64_t k0,
                           std::int64_t first_channel,
                           std::int64_t first_pixel,
                           ConvShared& shared) {
  const std::int64_t n_k = p.kernel * p.kernel * p.in_channels;
  const std::int64_t n_pixels = p.h_out * p.w_out;
  for (int i = static_cast<int>(threadIdx.x); i < kBlock * kTile; i += kThreads) {
    const int row = i / kTile;
    const int col = i % kTile;
    const std::int64_t k = k0 + row;
    const std::int64_t channel = first_channel + col;
    const std::int64_t pixel = first_pixel + col;
    shared.weight[row][col] =
        k < n_k && channel < p.out_channels ? p.weight[k * p.out_channels + channel] : 0.0F;
    shared.x[row][col] = k < n_k && pixel < n_pixels ? tap_of(p, x, k, pixel) : 0.0F;
  }
}

__device__ void store(
    const ConvParams& p, std::int64_t image, std::int64_t channel, std::int64_t pixel, float sum) {
  if (p.activate) sum = leaky(sum, p.slope);
  const std::int64_t f = p.shuffle;
  const std::int64_t plane = image * (p.out_channels / (f * f)) + channel / (f * f);
  const std::int64_t i = pixel / p.w_out * f + channel % (f * f) / f;
  const std::int64_t j = pixel % p.w_out * f + channel % f;
  const std::int64_t at = (plane * p.h_out * f + i) * p.w_out * f + j;
  p.out[at] = p.residual == nullptr ? sum : __fadd_rn(sum, p.residual[at]);
}

__global__ void __launch_bounds__(kThreads) conv_kernel(ConvParams p) {
  auto& shared = block_shared<ConvShared>();
  const std::int64_t n_k = p.kernel * p.kernel * p.in_channels;
  const std::int64_t n_pixels = p.h_out * p.w_out;
  const std::int64_t image = blockIdx.z;
  const std::int64_t first_pixel = std::int64_t{blockIdx.x} * kTile;
  const std::int64_t first_channel = std::int64_t{blockIdx.y} * kTile;
  const int channels = static_cast<int>(threadIdx.x) / kSide;  // channels + kSide * r are ours,
  const int pixels = static_cast<int>(threadIdx.x) % kSide;    // and pixels + kSide * c
  const float* x = p.x + image * p.in_channels * p.h * p.w;
  float sum[kPart][kPart];
#pragma unroll
  for (int r = 0; r < kPart; ++r) {
    const std::int64_t channel = first_channel + channels + kSide * r;
    const float bias = channel < p.out_channels ? p.bias[channel] : 0.0F;
#pragma unroll
    for (int c = 0; c < kPart; ++c) sum[r][c] = bias;
  }
  for (std::int64_t k0 = 0; k0 < n_k; k0 += kBlock) {
    load_block(p, x, k0, first_channel, first_pixel, shared);
    __syncthreads();
    // the last block ends where the chain does: one more fma(0, 0, -0.0) would change a sign
    const int n = static_cast<int>(n_k - k0 < kBlock ? n_k - k0 : kBlock);
    for (int k = 0; k < n; ++k) {
#pragma unroll
      for (int r = 0; r < kPart; ++r) {
        const float weight = shared.weight[k][channels + kSide * r];
#pragma unroll
        for (int c = 0; c < kPart; ++c) {
          sum[r][c] = __fmaf_rn(shared.x[k][pixels + kSide * c], weight, sum[r][c]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < kPart; ++r) {
#pragma unroll
    for (int c = 0; c < kPart; ++c) {
      const std::int64_t channel = first_channel + channels + kSide * r;
      const std::int64_t pixel = first_pixel + pixels + kSide * c;
      if (channel < p.out_channels && pixel < n_pixels) store(p, image, channel, pixel, sum[r][c]);
    }
  }
}

struct DepthwiseParams {
  const float* x;
  const float* weight;
  const float* bias;
  float* out;
  std::int64_t n;  // outputs
  std::int64_t channels;
  std::int64_t h;
  std::int64_t w;
};

__device__ std::int64_t first_element() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

__device__ std::int64_t element_step() { return std::int64_t{gridDim.x} * blockDim.x; }

__global__ void depthwise_kernel(DepthwiseParams p) {
  for (std::int64_t at = first_element(); at < p.n; at += element_step()) {
    const std::int64_t plane = at / (p.h * p.w);
    const std::int64_t channel = plane % p.channels;
    const std::int64_t i = at / p.w % p.h;
    const std::int64_t j = at % p.w;
    float sum = p.bias[channel];
    for (int tap = 0; tap < 9; ++tap) {
      const std::int64_t row = i + tap / 3 - 1;
      const std::int64_t col = j + tap % 3 - 1;
      const bool inside = row >= 0 && col >= 0 && row < p.h && col < p.w;
      const float x = inside ? p.x[(plane * p.h + row) * p.w + col] : 0.0F;
      sum = __fmaf_rn(x, p.weight[9 * channel + tap], sum);
    }
    p.out[at] = sum;
  }
}

struct GateParams {
  const float* x;
  float* out;
  std::int64_t n;     // outputs
  std::int64_t half;  // of one image
  float slope;
};

__global__ void gate_kernel(GateParams p) {
  for (std::int64_t at = first_element(); at < p.n; at += element_step()) {
    const float* u = p.x + at / p.half * 2 * p.half + at % p.half;
    p.out[at] = __fmul_rn(u[0], leaky(u[p.half], p.slope));
  }
}

unsigned grid_for(std::int64_t n, std::int64_t per_block) {
  const std::int64_t blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < kMaxGrid ? blocks : kMaxGrid);
}

}  // namespace

std::vector<float> exact_k_major(std::span<const float> weight,
                                 std::int64_t in_channels,
                                 std::int64_t out_channels,
                                 std::int64_t kernel) {
  const std::int64_t taps = kernel * kernel;
  exact::check_size("exact_conv2d", "weight", ssize(weight), out_channels * in_channels * taps);
  std::vector<float> out;
  out.reserve(weight.size());
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    for (std::int64_t a = 0; a < in_channels; ++a) {
      for (std::int64_t b = 0; b < out_channels; ++b) {
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
  constexpr const char* kOp = "exact_conv2d";
  const std::int64_t out_channels = ssize(bias);
  exact::check_conv_weights(weight, bias, x.c, out_channels, kernel);
  exact::check_input(kOp, x, x.c);
  exact::check_conv_run(options, x, out_channels, kernel, out);
  if (out.size() == 0) return;
  const exact::Sampling& s = options.sampling;
  const ConvParams params{.x = x.data,
                          .weight = weight.data(),
                          .bias = bias.data(),
                          .residual = options.residual.data,
                          .out = out.data,
                          .in_channels = x.c,
                          .out_channels = out_channels,
                          .h = x.h,
                          .w = x.w,
                          .h_out = s.count(x.h, s.row),
                          .w_out = s.count(x.w, s.col),
                          .kernel = kernel,
                          .stride = s.stride,
                          .row = s.row - kernel / 2,
                          .col = s.col - kernel / 2,
                          .shuffle = options.shuffle,
                          .activate = options.slope.has_value(),
                          .slope = options.slope.value_or(1.0F)};
  const std::int64_t n_pixels = params.h_out * params.w_out;
  const auto tiles = [](std::int64_t n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
  if (x.n > kMaxGrid) fail_argument(kOp, "x", "at most 65535 images", x.n);
  launch(kOp,
         conv_kernel,
         {.grid = {tiles(n_pixels), tiles(out_channels), static_cast<unsigned>(x.n)},
          .block = {kThreads, 1, 1}},
         stream,
         params);
}

void exact_depthwise3x3(exact::MapView<const float> x,
                        std::span<const float> weight,
                        std::span<const float> bias,
                        exact::MapView<float> out,
                        cudaStream_t stream) {
  constexpr const char* kOp = "exact_conv2d";
  exact::check_depthwise(x, weight, bias, out);
  if (out.size() == 0) return;
  launch(kOp,
         depthwise_kernel,
         {.grid = {grid_for(out.size(), kElementThreads), 1, 1}, .block = {kElementThreads, 1, 1}},
         stream,
         DepthwiseParams{.x = x.data,
                         .weight = weight.data(),
                         .bias = bias.data(),
                         .out = out.data,
                         .n = out.size(),
                         .channels = x.c,
                         .h = x.h,
                         .w = x.w});
}

void exact_gated_product(exact::MapView<const float> x,
                         float slope,
                         exact::MapView<float> out,
                         cudaStream_t stream) {
  constexpr const char* kOp = "exact_gated_product";
  exact::check_shape(kOp, "out", out, x.n, x.c / 2, x.h, x.w);
  if (x.c % 2 != 0) fail_argument(kOp, "x", "an even number of channels", x.c);
  if (out.size() == 0) return;
  launch(kOp,
         gate_kernel,
         {.grid = {grid_for(out.size(), kElementThreads), 1, 1}, .block = {kElementThreads, 1, 1}},
         stream,
         GateParams{.x = x.data,
                    .out = out.data,
                    .n = out.size(),
                    .half = out.c * out.h * out.w,
                    .slope = slope});
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// Depthwise layers: what they cost is reading and writing the maps once.
// Every operation is an explicit intrinsic: nothing is left for the compiler to contract.
#include <algorithm>

#include "core/cuda_launch.h"
#include "exact/exact_check.h"
#include "glc/cuda/exact.h"

namespace glc::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRun = 4;  // rows a thread writes: it reads 6 for them, not 12
constexpr std::int64_t kMaxGrid = 65535;
constexpr std::int64_t kMost = std::int64_t{1} << 30;  // threads of a plane, and planes

struct DepthwiseParams {
  const float* x;
  const float* weight;
  const float* bias;
  float* out;
  unsigned n_planes;
  unsigned channels;
  int h;
  int w;
};

/// A thread writes kRun rows of one column.
__global__ void __launch_bounds__(kThreads) depthwise_kernel(const DepthwiseParams p) {
  const unsigned at = blockIdx.x * kThreads + threadIdx.x;
  const int first = static_cast<int>(at / static_cast<unsigned>(p.w)) * kRun;
  const int j = static_cast<int>(at % static_cast<unsigned>(p.w));
  if (first >= p.h) return;
  for (unsigned plane = blockIdx.y; plane < p.n_planes; plane += gridDim.y) {
    const std::int64_t channel = plane % p.channels;
    const float* weight = p.weight + 9 * channel;
    const std::int64_t start = std::int64_t{plane} * p.h * p.w + j;
    const float* x = p.x + start;
    float* out = p.out + start;
    float rows[kRun + 2][3];
#pragma unroll
    for (int r = 0; r < kRun + 2; ++r) {
      const int i = first + r - 1;
      const bool inside = i >= 0 && i < p.h;
      const float* row = x + std::int64_t{i} * p.w;
      rows[r][0] = inside && j > 0 ? row[-1] : 0.0F;
      rows[r][1] = inside ? row[0] : 0.0F;
      rows[r][2] = inside && j + 1 < p.w ? row[1] : 0.0F;
    }
    float sum[kRun];
    for (float& s : sum) s = p.bias[channel];
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      const float tap_weight = weight[tap];
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        sum[r] = __fmaf_rn(rows[r + tap / 3][tap % 3], tap_weight, sum[r]);
      }
    }
#pragma unroll
    for (int r = 0; r < kRun; ++r) {
      if (first + r < p.h) out[std::int64_t{first + r} * p.w] = sum[r];
    }
  }
}

}  // namespace

void exact_depthwise3x3(exact::MapView<const float> x,
                        std::span<const float> weight,
                        std::span<const float> bias,
                        exact::MapView<float> out,
                        cudaStream_t stream) {
  constexpr const char* kOp = "exact_conv2d";
  exact::check_depthwise(x, weight, bias, out);
  if (out.size() == 0) return;
  const std::int64_t n_threads = (x.h + kRun - 1) / kRun * x.w;
  const std::int64_t n_planes = x.n * x.c;
  if (n_threads > kMost) fail_argument(kOp, "x", "at most 2^32 pixels", x.h * x.w);
  if (n_planes > kMost) fail_argument(kOp, "x", "at most 2^30 maps", n_planes);
  launch(kOp,
         depthwise_kernel,
         {.grid = {static_cast<unsigned>((n_threads + kThreads - 1) / kThreads),
                   static_cast<unsigned>(std::min(n_planes, kMaxGrid)),
                   1},
          .block = {kThreads, 1, 1}},
         stream,
         DepthwiseParams{.x = x.data,
                         .weight = weight.data(),
                         .bias = bias.data(),
                         .out = out.data,
                         .n_planes = static_cast<unsigned>(n_planes),
                         .channels = static_cast<unsigned>(x.c),
                         .h = static_cast<int>(x.h),
                         .w = static_cast<int>(x.w)});
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// A matrix product, [channels][k] x [k][pixels], whose sums have the order of the CPU's: every
// output is one chain of fused multiply-adds over all of k in ascending order, in one thread. So no
// tensor cores, whose sums have an order of their own, and no k shared out among blocks. Blocks of
// k pass through a ring in shared memory, filled kStages - 1 ahead. Every operation is an explicit
// intrinsic: nothing is left for the compiler to contract.
//
// A block of k lies within one tap. Where it ends after the tap's channels, weight 0 meets x -0:
// fma(-0.0, 0.0, sum) is sum, whatever its sign, and the chain is the one without it.
#pragma once

#include <cstdint>

#include "core/cuda_copy.h"
#include "core/cuda_launch.h"

namespace glc::cuda::conv {

inline constexpr int kDepth = 16;    // of a block of k
inline constexpr int kStages = 3;    // of the ring: 48 KiB for the largest tile
inline constexpr int kRows = 8;      // channels of a thread
inline constexpr int kLaneRows = 4;  // lanes of a warp along the channels, and 8 along the pixels
inline constexpr int kLaneCols = kWarpLanes / kLaneRows;
inline constexpr int kWarpRows = kLaneRows * kRows;
inline constexpr int kGateRun = kWarpRows / 2;
inline constexpr int kQuad = 4;  // a thread's channels and pixels come in runs of this

/// What a block computes, and kCols pixels by kRows channels of it a thread: 8 x 8 take 4 loads of
/// 16 bytes from shared memory for 64 fused multiply-adds.
template <int kChannelsOf, int kPixelsOf, int kColsOf>
struct ConvTile {
  static constexpr int kChannels = kChannelsOf;
  static constexpr int kPixels = kPixelsOf;
  static constexpr int kCols = kColsOf;
  static constexpr int kWarpCols = kLaneCols * kCols;
  static constexpr int kThreads = kChannels / kWarpRows * (kPixels / kWarpCols) * kWarpLanes;
  static constexpr int kBlocks = 512 / kThreads;  // a processor: leaves 128 registers a thread

  struct Stage {
    alignas(16) float weight[kDepth][kChannels];
    alignas(16) float x[kDepth][kPixels];
  };
  struct Shared {
    Stage stages[kStages];
  };
};

inline __device__ float leaky(float v, float slope) { return v > 0.0F ? v : __fmul_rn(v, slope); }

struct ConvParams {
  const float* x;
  const float* weight;
  const float* bias;
  const float* residual;
  float* out;
  int in_channels;
  int columns;       // of the weights
  int out_channels;  // after a gate half of the sums
  int h;
  int w;
  int w_out;
  int n_pixels;  // of an image of sums
  int kernel;
  int stride;
  int row;  // of the first tap, may be -1
  int col;
  int shift;          // log2 of the shuffle
  int channel_tiles;  // of the grid
  bool gated;
  bool wide_out;  // 16 bytes at a time can be written
  bool activate;
  float slope;
};

/// A block of k.
struct Step {
  int tap_row = 0;
  int tap_col = 0;
  int channel = 0;

  __device__ void advance(const ConvParams& p) {
    channel += kDepth;
    if (channel < p.in_channels) return;
    channel = 0;
    if (++tap_col < p.kernel) return;
    tap_col = 0;
    ++tap_row;
  }
};

/// What a block of threads works on.
struct Place {
  std::int64_t image;
  int channel;
  int pixel;
};

/// This thread's share of a block of k, kWide of kColumns columns of every few rows: copied from
/// `from` on where inside, `pad` from row n_rows on.
template <int kThreads, int kWide, int kColumns>
__device__ void copy_rows(float (&to)[kDepth][kColumns],
                          const float* from,
                          std::int64_t row_stride,
                          bool inside,
                          int n_rows,
                          float pad) {
  constexpr int kAcross = kColumns / kWide;
  constexpr int kPass = kThreads / kAcross;  // rows
  static_assert(kDepth % kPass == 0);
  const int first = static_cast<int>(threadIdx.x) / kAcross;
  const int column = static_cast<int>(threadIdx.x) % kAcross * kWide;
  const std::int64_t step = inside ? row_stride : 0;
  from += first * step;
#pragma unroll
  for (int pass = 0; pass < kDepth / kPass; ++pass) {
    const int row = first + pass * kPass;
    if (row < n_rows) {
      copy_async<kWide>(&to[row][column], from, inside);
    } else {
      for (int i = 0; i < kWide; ++i) to[row][column + i] = pad;
    }
    from += kPass * step;
  }
}

/// Copies blocks of k; holds where this thread's pixels are.
template <class T, int kWide>
class Loader {
 public:
  __device__ Loader(const ConvParams& p, const Place& place) : p_(p) {
    constexpr int kAcross = T::kPixels / kWide;
    const int pixel = place.pixel + static_cast<int>(threadIdx.x) % kAcross * kWide;
    plane_ = std::int64_t{p.h} * p.w;
    x_ = p.x + place.image * p.in_channels * plane_;
    exists_ = pixel < p.n_pixels;
    if constexpr (kWide == 1) {
      i_ = pixel / p.w_out * p.stride + p.row;
      j_ = pixel % p.w_out * p.stride + p.col;
    } else {
      x_ += exists_ ? pixel : 0;  // 1x1 everywhere: x is a matrix
    }
    column_ = place.channel + static_cast<int>(threadIdx.x) % (T::kChannels / kQuad) * kQuad;
  }

  __device__ void load(const Step& k, typename T::Stage& to) const {
    const int n_rows = p_.in_channels - k.channel;
    bool inside = exists_;
    const float* x = x_ + k.channel * plane_;
    if constexpr (kWide == 1) {
      const int i = i_ + k.tap_row;
      const int j = j_ + k.tap_col;
      inside = inside && i >= 0 && j >= 0 && i < p_.h && j < p_.w;
      if (inside) x += std::int64_t{i} * p_.w + j;
    }
    copy_rows<T::kThreads, kWide>(to.x, x, plane_, inside, n_rows, -0.0F);

    const bool used = column_ < p_.columns;
    const std::int64_t row = (k.tap_row * p_.kernel + k.tap_col) * p_.in_channels + k.channel;
    const float* weight = p_.weight + (used ? row * p_.columns + column_ : 0);
    copy_rows<T::kThreads, kQuad>(to.weight, weight, p_.columns, used, n_rows, 0.0F);
  }

 private:
  const ConvParams& p_;
  const float* x_;
  std::int64_t plane_;
  int i_ = 0;
  int j_ = 0;
  int column_;
  bool exists_;
};

/// The channels and pixels of a thread within the block's: runs of kQuad, the first at `row` and
/// `col`, the next kLaneRows and kLaneCols runs on. Lanes that share a run are neighbours or two
/// apart, so that one request to shared memory serves them together.
template <class T>
struct Lane {
  static constexpr int kWarpsAcross = T::kPixels / T::kWarpCols;
  static constexpr int kRowStep = kLaneRows * kQuad;
  static constexpr int kColStep = kLaneCols * kQuad;
  int row;
  int col;

  __device__ Lane() {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    row = warp / kWarpsAcross * kWarpRows + (lane % 2 + lane / 16 * 2) * kQuad;
    col = warp % kWarpsAcross * T::kWarpCols + lane / 2 % kLaneCols * kQuad;
  }
  /// From `row` to channel r, and from `col` to pixel c.
  __device__ static constexpr int row_step(int r) { return r / kQuad * kRowStep + r % kQuad; }
  __device__ static constexpr int col_step(int c) { return c / kQuad * kColStep + c % kQuad; }
};

/// The output channel of a column, a thread's first. A gate's columns are runs of kGateRun of the
/// first half of channels, each followed by its partners, so that a thread has both.
inline __device__ int first_channel(const ConvParams& p, int column) {
  return p.gated ? column / (2 * kGateRun) * kGateRun + column % (2 * kGateRun) : column;
}

template <class T>
__device__ float bias_of(const ConvParams& p, int first, int r) {
  const int step = p.gated ? r % kQuad : Lane<T>::row_step(r);
  if (step >= p.out_channels - first) return 0.0F;
  return p.bias[(p.gated ? r / kQuad * p.out_channels : 0) + first + step];
}

__device__ __forceinline__ void read_quad(const float* from, float* to) {
  const float4 quad = *reinterpret_cast<const float4*>(from);
  to[0] = quad.x;
  to[1] = quad.y;
  to[2] = quad.z;
  to[3] = quad.w;
}

template <class T>
__device__ void multiply(const typename T::Stage& stage,
                         const Lane<T>& lane,
                         float (&sum)[kRows][T::kCols]) {
#pragma unroll
  for (int k = 0; k < kDepth; ++k) {
    float weight[kRows];
    float x[T::kCols];
#pragma unroll
    for (int r = 0; r < kRows; r += kQuad)
      read_quad(&stage.weight[k][lane.row + lane.row_step(r)], weight + r);
#pragma unroll
    for (int c = 0; c < T::kCols; c += kQuad) {
      read_quad(&stage.x[k][lane.col + lane.col_step(c)], x + c);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int c = 0; c < T::kCols; ++c) sum[r][c] = __fmaf_rn(x[c], weight[r], sum[r][c]);
    }
  }
}

/// Where an output goes: an offset for its channel, another for its pixel.
struct Output {
  std::int64_t plane;
  std::int64_t width;
  int shift;

  __device__ explicit Output(const ConvParams& p)
      : plane(std::int64_t{p.n_pixels} << 2 * p.shift),
        width(std::int64_t{p.w_out} << p.shift),
        shift(p.shift) {}
  [[nodiscard]] __device__ std::int64_t of_channel(int channel) const {
    const int sub = channel & ((1 << 2 * shift) - 1);  // of 2 x 2, where shuffled
    return (channel >> 2 * shift) * plane + (sub >> shift) * width + (sub & shift);
  }
  [[nodiscard]] __device__ std::int64_t of_pixel(const ConvParams& p, int pixel) const {
    if (shift == 0) return pixel;
    return (pixel / p.w_out * width + pixel % p.w_out) << shift;
  }
};

template <int kWide>
__device__ __forceinline__ void store_at(const ConvParams& p, std::int64_t at, const float* sum) {
  if constexpr (kWide == 1) {
    p.out[at] = p.residual == nullptr ? *sum : __fadd_rn(*sum, p.residual[at]);
  } else {
    float4 quad = make_float4(sum[0], sum[1], sum[2], sum[3]);
    if (p.residual != nullptr) {
      const float4 other = *reinterpret_cast<const float4*>(p.residual + at);
      quad = make_float4(__fadd_rn(quad.x, other.x),
                         __fadd_rn(quad.y, other.y),
                         __fadd_rn(quad.z, other.z),
                         __fadd_rn(quad.w, other.w));
    }
    *reinterpret_cast<float4*>(p.out + at) = quad;
  }
}

/// Writes sum[r][c] of the channels from `first` on and the pixels from `pixel` on that exist.
template <class T, int kWide>
__device__ void store(const ConvParams& p,
                      std::int64_t image,
                      int first,
                      int n_channels,
                      int pixel,
                      const float (&sum)[kRows][T::kCols]) {
  const Output output(p);
  const std::int64_t image_start = image * (p.out_channels >> 2 * p.shift) * output.plane;
  std::int64_t of_row[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    of_row[r] = image_start + output.of_channel(first + Lane<T>::row_step(r));
  }
#pragma unroll
  for (int c = 0; c < T::kCols; c += kWide) {
    if (Lane<T>::col_step(c) >= p.n_pixels - pixel) continue;
    const std::int64_t of_col = output.of_pixel(p, pixel + Lane<T>::col_step(c));
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (Lane<T>::row_step(r) < n_channels) store_at<kWide>(p, of_row[r] + of_col, &sum[r][c]);
    }
  }
}

/// What follows the sums, up to the output.
template <class T>
__device__ void finish(const ConvParams& p,
                       int first,
                       const Lane<T>& lane,
                       const Place& place,
                       float (&sum)[kRows][T::kCols]) {
  if (p.gated) {
#pragma unroll
    for (int r = 0; r < kQuad; ++r) {
#pragma unroll
      for (int c = 0; c < T::kCols; ++c) {
        sum[r][c] = __fmul_rn(sum[r][c], leaky(sum[r + kQuad][c], p.slope));
      }
    }
  } else if (p.activate) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int c = 0; c < T::kCols; ++c) sum[r][c] = leaky(sum[r][c], p.slope);
    }
  }
  const int left = p.out_channels - first;
  const int n_channels = p.gated && left > kQuad ? kQuad : left;
  const int pixel = place.pixel + lane.col;
  if (p.wide_out) {
    store<T, kQuad>(p, place.image, first, n_channels, pixel, sum);
  } else {
    store<T, 1>(p, place.image, first, n_channels, pixel, sum);
  }
}

template <class T, int kWide>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) conv_kernel(const ConvParams p) {
  auto& stages = block_shared<typename T::Shared>().stages;
  const int tile = static_cast<int>(blockIdx.x);  // neighbours share pixels, which are the most
  const Place place{.image = blockIdx.z,
                    .channel = tile % p.channel_tiles * T::kChannels,
                    .pixel = tile / p.channel_tiles * T::kPixels};
  const Loader<T, kWide> loader(p, place);
  const Lane<T> lane;
  float sum[kRows][T::kCols];
  const int first = first_channel(p, place.channel + lane.row);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float bias = bias_of<T>(p, first, r);
#pragma unroll
    for (int c = 0; c < T::kCols; ++c) sum[r][c] = bias;
  }
  const int n = p.kernel * p.kernel * ((p.in_channels + kDepth - 1) / kDepth);
  Step next;
  int n_loaded = 0;
  const auto load_next = [&] {
    if (n_loaded < n) loader.load(next, stages[n_loaded % kStages]);
    next.advance(p);
    ++n_loaded;
    commit_copies();  // a group also where there is nothing left, so that the count of groups holds
  };
  for (int stage = 0; stage < kStages - 1; ++stage) load_next();
  for (int step = 0; step < n; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // block `step` is here, and every thread is done with the one before it
    load_next();
    multiply<T>(stages[step % kStages], lane, sum);
  }
  finish(p, first, lane, place, sum);
}

}  // namespace glc::cuda::conv

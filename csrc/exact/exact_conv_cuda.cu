// SPDX-License-Identifier: Apache-2.0
// A matrix product, [channels][k] x [k][pixels], whose sums have the order of the CPU's: every
// output is one chain of fused multiply-adds over all of k in ascending order, in one thread. So no
// tensor cores, whose sums have an order of their own, and no k shared out among blocks. Blocks of
// k pass through a ring in shared memory, filled kStages - 1 ahead. Every operation is an explicit
// intrinsic: nothing is left for the compiler to contract.
//
// A block of k lies within one tap. Where it ends after the tap's channels, weight 0 meets x -0:
// fma(-0.0, 0.0, sum) is sum, whatever its sign, and the chain is the one without it.
#include <algorithm>
#include <array>
#include <limits>

#include "core/cuda_copy.h"
#include "core/cuda_launch.h"
#include "exact/exact_check.h"
#include "glc/cuda/exact.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "exact_conv2d";
constexpr int kDepth = 16;    // of a block of k
constexpr int kStages = 3;    // of the ring: 48 KiB for the largest tile
constexpr int kRows = 8;      // channels of a thread
constexpr int kLaneRows = 4;  // lanes of a warp along the channels, and 8 along the pixels
constexpr int kLaneCols = kWarpLanes / kLaneRows;
constexpr int kWarpRows = kLaneRows * kRows;
constexpr int kGateRun = kWarpRows / 2;
constexpr int kQuad = 4;  // a thread's channels and pixels come in runs of this
constexpr std::int64_t kMaxGrid = 65535;

/// What a block computes, and kCols pixels by kRows channels of it a thread: 8 x 8 take 4 loads of
/// 16 bytes from shared memory for 64 fused multiply-adds.
template <int kChannelsOf, int kPixelsOf, int kColsOf>
struct Tile {
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

__device__ float leaky(float v, float slope) { return v > 0.0F ? v : __fmul_rn(v, slope); }

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
__device__ int first_channel(const ConvParams& p, int column) {
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

__device__ void store_wide(const ConvParams& p, std::int64_t at, const float* sum) {
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

/// Writes sum[r][c] of the channels from `first` on and the pixels from `pixel` on that exist.
template <class T>
__device__ void store(const ConvParams& p,
                      std::int64_t image,
                      int first,
                      int n_channels,
                      int pixel,
                      const float (&sum)[kRows][T::kCols]) {
  const Output output(p);
  const std::int64_t image_start = image * (p.out_channels >> 2 * p.shift) * output.plane;
#pragma unroll
  for (int c = 0; c < T::kCols; ++c) {
    if (Lane<T>::col_step(c) >= p.n_pixels - pixel || (p.wide_out && c % kQuad != 0)) continue;
    const std::int64_t start = image_start + output.of_pixel(p, pixel + Lane<T>::col_step(c));
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (Lane<T>::row_step(r) >= n_channels) continue;
      const std::int64_t at = start + output.of_channel(first + Lane<T>::row_step(r));
      if (p.wide_out) {
        store_wide(p, at, &sum[r][c / kQuad * kQuad]);
      } else {
        p.out[at] = p.residual == nullptr ? sum[r][c] : __fadd_rn(sum[r][c], p.residual[at]);
      }
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
  store<T>(p, place.image, first, n_channels, place.pixel + lane.col, sum);
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

using Large = Tile<128, 128, 8>;
using Medium = Tile<128, 64, 8>;
using Small = Tile<64, 64, 4>;

template <class T>
struct Grid {
  std::int64_t channel_tiles;
  std::int64_t pixel_tiles;

  explicit Grid(const ConvParams& p)
      : channel_tiles((p.columns + T::kChannels - 1) / T::kChannels),
        pixel_tiles((std::int64_t{p.n_pixels} + T::kPixels - 1) / T::kPixels) {}

  /// Outputs of the busiest processor.
  [[nodiscard]] double load(std::int64_t n_images, int n_processors) const {
    const std::int64_t blocks = n_images * channel_tiles * pixel_tiles;
    const std::int64_t most = (blocks + n_processors - 1) / n_processors;
    return static_cast<double>(most * T::kChannels * T::kPixels);
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

/// With the tile that leaves the busiest processor least to do; small ones also do it more slowly.
void start_best(const ConvParams& p, std::int64_t n_images, bool wide, cudaStream_t stream) {
  constexpr double kMediumCost = 1.06;  // of an output, by the loads for a sum
  constexpr double kSmallCost = 1.25;
  int device = 0;
  int n_processors = 0;
  check(cudaGetDevice(&device), kOp);
  check(cudaDeviceGetAttribute(&n_processors, cudaDevAttrMultiProcessorCount, device), kOp);
  const double large = Grid<Large>(p).load(n_images, n_processors);
  const double medium = kMediumCost * Grid<Medium>(p).load(n_images, n_processors);
  const double small = kSmallCost * Grid<Small>(p).load(n_images, n_processors);
  if (large <= std::min(medium, small)) return start<Large>(p, n_images, wide, stream);
  if (medium <= small) return start<Medium>(p, n_images, wide, stream);
  start<Small>(p, n_images, wide, stream);
}

bool in_quads(const float* data) {
  return reinterpret_cast<std::uintptr_t>(data) % (kQuad * sizeof(float)) == 0;
}

void conv(exact::MapView<const float> x,
          std::span<const float> weight,
          std::span<const float> bias,
          std::int64_t kernel,
          const exact::Conv::Options& options,
          bool gated,
          exact::MapView<float> out,
          cudaStream_t stream) {
  const std::int64_t n_sums = ssize(bias);
  const std::int64_t row = ssize(exact_columns(n_sums, gated));
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
  const std::int64_t run = gated ? kGateRun : kQuad;
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
  conv(x, weight, bias, kernel, options, false, out, stream);
}

void exact_gated_conv(exact::MapView<const float> x,
                      std::span<const float> weight,
                      std::span<const float> bias,
                      float slope,
                      exact::MapView<float> out,
                      cudaStream_t stream) {
  if (ssize(bias) % 2 != 0) fail_argument(kOp, "bias", "an even number of channels", ssize(bias));
  conv(x, weight, bias, 1, {.slope = slope}, true, out, stream);
}

}  // namespace glc::cuda

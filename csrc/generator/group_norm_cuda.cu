// SPDX-License-Identifier: Apache-2.0
// Three kernels: sums of chunks of pixels, moments of groups from them, and the values. A thread
// keeps to one vector of channels, 16 bytes of a pixel, so what depends on the channel alone stays
// in registers, and a warp reads whole pixels side by side.
#include <cstdint>
#include <string>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/check.h"
#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "glc/cuda/generator.h"
#include "glc/error.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "group_norm";
constexpr int kThreads = 256;
// Of a multiprocessor at once, which leaves 128 registers for a thread; emulated, nobody asks.
[[maybe_unused]] constexpr int kBlocks = 2;
constexpr int kUnrolled = 4;  // vectors in flight: 256 threads hide the memory's latency with them
constexpr std::int64_t kMaxChunks = 1024;  // of a sample: four rounds of two blocks on each of 132
constexpr int kMomentThreads = 128;
constexpr std::int64_t kMaxSamples = 65535;

template <class T>
inline constexpr int kVector = 16 / sizeof(T);

__device__ float widened(BFloat16 v) {
  return __uint_as_float(static_cast<unsigned>(v.bits) << 16);
}
__device__ float widened(Float16 v) { return __half2float(__ushort_as_half(v.bits)); }
__device__ float widened(float v) { return v; }
__device__ void narrow(float v, BFloat16& to) {
  to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
}
__device__ void narrow(float v, Float16& to) { to.bits = __half_as_ushort(__float2half_rn(v)); }
__device__ void narrow(float v, float& to) { to = v; }

/// A thread's 16 bytes. They are moved as one uint4, which makes one instruction of it.
template <class T>
struct alignas(16) Vector {
  T value[kVector<T>];

  __device__ static Vector at(const T* from, std::int64_t index) {
    return __builtin_bit_cast(Vector, reinterpret_cast<const uint4*>(from)[index]);
  }
  __device__ void put(T* to, std::int64_t index) const {
    reinterpret_cast<uint4*>(to)[index] = __builtin_bit_cast(uint4, *this);
  }
};

template <class T>
struct Params {
  const T* x;
  const float* offset;
  const T* residual;
  const float* weight;
  const float* bias;
  T* sum;
  T* out;
  float2* chunk_sums;  // [samples, chunks, groups]: of values less the pivot, and of their squares
  float2* moments;     // [samples, groups]: mean, 1 / standard deviation
  Divisor phases_width;         // of x in phases
  std::int64_t phases_columns;  // of x then
  std::int64_t x_elements;      // of a sample
  std::int64_t pixels;
  std::int64_t chunk_pixels;
  int chunks;
  int channels;
  int groups;
  float eps;
  bool silu;
};

/// What a group's sums are taken relative to, lest a large mean drown the variance: its first
/// value.
template <class T>
__device__ float pivot(const Params<T>& p, std::int64_t sample, int group) {
  const int channel = group * (p.channels / p.groups);
  float value = widened(p.x[sample * p.x_elements + channel]);
  if (p.offset != nullptr) value += p.offset[channel];
  if (p.residual != nullptr) {
    value += widened(p.residual[sample * p.pixels * p.channels + channel]);
  }
  return value;
}

/// A thread's place: its vector of channels, and the pixels it visits.
template <class T>
struct Place {
  int vectors;  // of a pixel
  int rows;     // pixels that the block visits at once
  int row;
  int channel;  // the first of the vector
  std::int64_t sample;
  std::int64_t first;
  std::int64_t end;

  __device__ explicit Place(const Params<T>& p)
      : vectors(p.channels / kVector<T>),
        rows(kThreads / vectors),
        row(static_cast<int>(threadIdx.x) / vectors),
        channel(static_cast<int>(threadIdx.x) % vectors * kVector<T>),
        sample(blockIdx.y),
        first(std::int64_t{blockIdx.x} * p.chunk_pixels),
        end(first + p.chunk_pixels < p.pixels ? first + p.chunk_pixels : p.pixels) {
    first += row;
    if (row >= rows) first = end;  // threads that are left over
  }

  /// Index, in vectors, of the thread's vector of a pixel.
  __device__ std::int64_t at(const Params<T>& p, std::int64_t pixel) const {
    return ((sample * p.pixels + pixel) * p.channels + channel) / kVector<T>;
  }

  /// The same where x is in phases.
  __device__ std::int64_t at_phase(const Params<T>& p, std::int64_t pixel) const {
    std::uint32_t x;
    const std::uint32_t y = p.phases_width.divided(static_cast<std::uint32_t>(pixel), &x);
    const std::uint32_t phase = 2 * (y % 2) + x % 2;
    const std::int64_t there = (y + 1) / 2 * p.phases_columns + (x + 1) / 2;
    return (sample * p.x_elements + (4 * there + phase) * p.channels + channel) / kVector<T>;
  }
};

template <class T>
struct SumShared {
  float sum[kThreads][kVector<T>];
  float square[kThreads][kVector<T>];
};

/// Adds up a group over the block's threads, whose vectors lie in shared memory.
template <class T>
__device__ float2
group_sum(const SumShared<T>& shared, const Place<T>& place, int group, int size) {
  float2 total = make_float2(0.0F, 0.0F);
  for (int channel = group * size; channel < (group + 1) * size; ++channel) {
    for (int row = 0; row < place.rows; ++row) {
      const int thread = row * place.vectors + channel / kVector<T>;
      total.x += shared.sum[thread][channel % kVector<T>];
      total.y += shared.square[thread][channel % kVector<T>];
    }
  }
  return total;
}

template <class T, bool kPhases>
__global__ void __launch_bounds__(kThreads, kBlocks) sum_kernel(Params<T> p) {
  constexpr int kV = kVector<T>;
  auto& shared = block_shared<SumShared<T>>();
  const Place<T> place(p);
  const int size = p.channels / p.groups;
  float offset[kV];
  float pivots[kV];
  float sums[kV];
  float squares[kV];
#pragma unroll
  for (int i = 0; i < kV; ++i) {
    offset[i] = p.offset == nullptr ? 0.0F : p.offset[place.channel + i];
    pivots[i] = pivot(p, place.sample, (place.channel + i) / size);
    sums[i] = squares[i] = 0.0F;
  }
  for (std::int64_t pixel = place.first; pixel < place.end; pixel += kUnrolled * place.rows) {
    Vector<T> x[kUnrolled];
    Vector<T> residual[kUnrolled];
#pragma unroll
    for (int u = 0; u < kUnrolled; ++u) {
      const std::int64_t mine = pixel + u * place.rows;
      if (mine >= place.end) continue;
      x[u] = Vector<T>::at(p.x, kPhases ? place.at_phase(p, mine) : place.at(p, mine));
      if (p.residual != nullptr) residual[u] = Vector<T>::at(p.residual, place.at(p, mine));
    }
#pragma unroll
    for (int u = 0; u < kUnrolled; ++u) {
      const std::int64_t mine = pixel + u * place.rows;
      if (mine >= place.end) continue;
#pragma unroll
      for (int i = 0; i < kV; ++i) {
        float value = widened(x[u].value[i]) + offset[i];
        if (p.residual != nullptr) value += widened(residual[u].value[i]);
        const float d = value - pivots[i];
        sums[i] += d;
        squares[i] = __fmaf_rn(d, d, squares[i]);
        narrow(value, x[u].value[i]);
      }
      if (p.sum != nullptr) x[u].put(p.sum, place.at(p, mine));
    }
  }
#pragma unroll
  for (int i = 0; i < kV; ++i) {
    shared.sum[threadIdx.x][i] = sums[i];
    shared.square[threadIdx.x][i] = squares[i];
  }
  __syncthreads();
  const std::int64_t to = (place.sample * p.chunks + blockIdx.x) * p.groups;
  for (int group = static_cast<int>(threadIdx.x); group < p.groups; group += kThreads) {
    p.chunk_sums[to + group] = group_sum(shared, place, group, size);
  }
}

struct MomentShared {
  double sum[kMomentThreads];
  double square[kMomentThreads];
};

/// A block for a group of a sample.
template <class T>
__global__ void __launch_bounds__(kMomentThreads) moment_kernel(Params<T> p) {
  auto& shared = block_shared<MomentShared>();
  const int thread = static_cast<int>(threadIdx.x);
  const int group = static_cast<int>(blockIdx.x);
  const std::int64_t sample = blockIdx.y;
  double sum = 0.0;
  double square = 0.0;
  for (int chunk = thread; chunk < p.chunks; chunk += kMomentThreads) {
    const float2 of = p.chunk_sums[(sample * p.chunks + chunk) * p.groups + group];
    sum += of.x;
    square += of.y;
  }
  shared.sum[thread] = sum;
  shared.square[thread] = square;
  for (int half = kMomentThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
      shared.sum[thread] += shared.sum[thread + half];
      shared.square[thread] += shared.square[thread + half];
    }
  }
  if (thread != 0) return;
  const std::int64_t n_values = p.pixels * (p.channels / p.groups);
  const auto n = static_cast<double>(n_values);
  const double mean = shared.sum[0] / n;
  const double variance = shared.square[0] / n - mean * mean;
  const double positive = variance > 0.0 ? variance : (variance == variance ? 0.0 : variance);
  p.moments[sample * p.groups + group] =
      make_float2(static_cast<float>(pivot(p, sample, group) + mean),
                  static_cast<float>(1.0 / sqrt(positive + static_cast<double>(p.eps))));
}

__device__ float silu(float v) { return __fdividef(v, 1.0F + __expf(-v)); }

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) value_kernel(Params<T> p) {
  constexpr int kV = kVector<T>;
  const Place<T> place(p);
  const T* from = p.sum == nullptr ? p.x : p.sum;
  float scale[kV];
  float shift[kV];
#pragma unroll
  for (int i = 0; i < kV; ++i) {
    const int channel = place.channel + i;
    const int group = channel / (p.channels / p.groups);
    const float2 moments = p.moments[place.sample * p.groups + group];
    const bool added = p.sum == nullptr && p.offset != nullptr;
    const float centre = added ? p.offset[channel] - moments.x : -moments.x;
    scale[i] = moments.y * p.weight[channel];
    shift[i] = __fmaf_rn(centre, scale[i], p.bias[channel]);
  }
  for (std::int64_t pixel = place.first; pixel < place.end; pixel += kUnrolled * place.rows) {
    Vector<T> x[kUnrolled];
#pragma unroll
    for (int u = 0; u < kUnrolled; ++u) {
      const std::int64_t mine = pixel + u * place.rows;
      if (mine < place.end) x[u] = Vector<T>::at(from, place.at(p, mine));
    }
#pragma unroll
    for (int u = 0; u < kUnrolled; ++u) {
      const std::int64_t mine = pixel + u * place.rows;
      if (mine >= place.end) continue;
#pragma unroll
      for (int i = 0; i < kV; ++i) {
        const float v = __fmaf_rn(widened(x[u].value[i]), scale[i], shift[i]);
        narrow(p.silu ? silu(v) : v, x[u].value[i]);
      }
      x[u].put(p.out, place.at(p, mine));
    }
  }
}

/// Elements of a sample of x.
std::int64_t x_elements(const NormShape& s) {
  if (s.phases_width == 0) return s.pixels * s.channels;
  const std::int64_t height = s.pixels / s.phases_width;
  return (height / 2 + 1) * (s.phases_width / 2 + 1) * 4 * s.channels;
}

/// How a sample's pixels are cut: by its size alone, so that sums do not depend on the device.
struct Cut {
  std::int64_t chunk_pixels;
  std::int64_t chunks;
};

Cut cut_of(const NormShape& shape, int vector) {
  const std::int64_t step = kUnrolled * (kThreads / (shape.channels / vector));
  const std::int64_t wanted = (shape.pixels + 2 * step - 1) / (2 * step);
  const std::int64_t chunks = wanted < kMaxChunks ? wanted : kMaxChunks;
  const std::int64_t pixels = (shape.pixels + chunks - 1) / chunks;
  return {pixels, (shape.pixels + pixels - 1) / pixels};
}

void check_shape(const NormShape& s, std::int64_t vector) {
  if (s.groups < 1 || s.channels < 1 || s.channels % s.groups != 0) {
    fail_argument(kOp, "x", "channels in equal groups", s.channels);
  }
  if (s.channels % vector != 0) fail_argument(kOp, "x", "channels in whole vectors", s.channels);
  if (s.channels > kThreads * vector) fail_argument(kOp, "x", "fewer channels", s.channels);
  if (s.phases_width != 0 && (s.phases_width % 2 != 0 || s.pixels % (2 * s.phases_width) != 0)) {
    fail_argument(kOp, "x", "even sides of a map in phases", s.phases_width);
  }
  if (s.samples > kMaxSamples) fail_argument(kOp, "x", "at most 65535 samples", s.samples);
}

template <class T>
void check_sizes(const NormShape& s, const NormTensors<T>& t) {
  const auto check = [](const char* name, std::size_t got, std::int64_t expected, bool optional) {
    if (optional && got == 0) return;
    if (static_cast<std::int64_t>(got) != expected) {
      fail_argument(kOp, name, std::to_string(expected) + " elements", got);
    }
  };
  const std::int64_t n = s.samples * s.pixels * s.channels;
  check("x", t.x.size(), s.samples * x_elements(s), false);
  check("offset", t.offset.size(), s.channels, true);
  check("residual", t.residual.size(), n, true);
  check("weight", t.weight.size(), s.channels, false);
  check("bias", t.bias.size(), s.channels, false);
  check("sum", t.sum.size(), n, t.residual.empty() && s.phases_width == 0);
  check("out", t.out.size(), n, false);
  for (const void* map : {static_cast<const void*>(t.x.data()),
                          static_cast<const void*>(t.residual.data()),
                          static_cast<const void*>(t.sum.data()),
                          static_cast<const void*>(t.out.data())}) {
    if (reinterpret_cast<std::uintptr_t>(map) % sizeof(uint4) != 0) {
      fail_argument(kOp, "maps", "memory aligned to 16 bytes", "another");
    }
  }
  if (t.workspace.size() < group_norm_workspace_bytes(s.samples, s.groups)) {
    fail_argument(kOp, "workspace", "more bytes", t.workspace.size());
  }
}

}  // namespace

std::size_t group_norm_workspace_bytes(std::int64_t samples, std::int64_t groups) {
  return static_cast<std::size_t>(samples * (kMaxChunks + 1) * groups) * sizeof(float2);
}

template <class T>
void group_norm(const NormShape& shape,
                const NormTensors<T>& tensors,
                float eps,
                bool silu,
                cudaStream_t stream) {
  check_shape(shape, kVector<T>);
  check_sizes(shape, tensors);
  if (tensors.out.empty()) return;  // x in phases has its border even so
  const Cut cut = cut_of(shape, kVector<T>);
  auto* const moments = reinterpret_cast<float2*>(tensors.workspace.data());
  const Params<T> params{.x = tensors.x.data(),
                         .offset = tensors.offset.data(),
                         .residual = tensors.residual.data(),
                         .weight = tensors.weight.data(),
                         .bias = tensors.bias.data(),
                         .sum = tensors.sum.data(),
                         .out = tensors.out.data(),
                         .chunk_sums = moments + shape.samples * shape.groups,
                         .moments = moments,
                         .phases_width = Divisor(kOp, shape.phases_width, shape.pixels),
                         .phases_columns = shape.phases_width / 2 + 1,
                         .x_elements = x_elements(shape),
                         .pixels = shape.pixels,
                         .chunk_pixels = cut.chunk_pixels,
                         .chunks = static_cast<int>(cut.chunks),
                         .channels = static_cast<int>(shape.channels),
                         .groups = static_cast<int>(shape.groups),
                         .eps = eps,
                         .silu = silu};
  const auto samples = static_cast<unsigned>(shape.samples);
  const LaunchShape chunks{.grid = {static_cast<unsigned>(cut.chunks), samples, 1},
                           .block = {kThreads, 1, 1}};
  const LaunchShape groups{.grid = {static_cast<unsigned>(shape.groups), samples, 1},
                           .block = {kMomentThreads, 1, 1}};
  const bool phases = shape.phases_width != 0;
  launch(kOp, phases ? sum_kernel<T, true> : sum_kernel<T, false>, chunks, stream, params);
  launch(kOp, moment_kernel<T>, groups, stream, params);
  launch(kOp, value_kernel<T>, chunks, stream, params);
}

template void group_norm(const NormShape&, const NormTensors<float>&, float, bool, cudaStream_t);
template void group_norm(const NormShape&, const NormTensors<BFloat16>&, float, bool, cudaStream_t);

template void group_norm(const NormShape&, const NormTensors<Float16>&, float, bool, cudaStream_t);

}  // namespace glc::cuda

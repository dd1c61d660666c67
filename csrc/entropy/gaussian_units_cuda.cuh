// SPDX-License-Identifier: Apache-2.0
// The latents of a rate on a device. A thread takes units of four elements. Under noise those share
// a Philox counter and lie 16 apart, neighbouring threads' side by side; else they are adjacent,
// one access where they lie aligned. A thread asks for its next unit before it computes with this
// one, so that a processor always has loads in flight.
#pragma once

#include <cstdint>

#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "entropy/gaussian_bits_kernel.h"
#include "entropy/quads_cuda.cuh"
#include "entropy/vec_cuda.cuh"
#include "glc/views.h"

namespace glc::entropy {
namespace {

using CudaBits = GaussianBitsKernel<VecCuda>;

constexpr int kGroup = 16;
constexpr int kWords = 4;
constexpr int kBlock = kGroup * kWords;

static_assert(kWords == kQuad);

/// Between the elements of a unit.
template <bool kNoise>
constexpr int kGap = kNoise ? kGroup : 1;

template <class T>
struct Latents {
  MatrixView<const T> y;
  MatrixView<const T> mean;
  MatrixView<const T> scale;
  const std::int64_t* seed;
  cuda::Divisor units_of_row;
  bool aligned;  // all matrices of the call
};

inline std::int64_t units_of_row(std::int64_t cols) {
  return (cols + kBlock - 1) / kBlock * kGroup;
}

struct Unit {
  std::uint32_t row;
  std::uint32_t counter;
  std::int64_t col;   // of the first element
  std::int64_t left;  // columns from there on
  bool packed;
};

template <bool kNoise, class T>
__device__ Unit unit_at(const Latents<T>& in, std::uint32_t i) {
  Unit unit{};
  unit.row = in.units_of_row.divided(i, &unit.counter);
  unit.col = kNoise ? std::int64_t{unit.counter / kGroup} * kBlock + unit.counter % kGroup
                    : std::int64_t{unit.counter} * kWords;
  unit.left = in.y.cols - unit.col;
  unit.packed = !kNoise && in.aligned && unit.left >= kWords;
  return unit;
}

template <bool kNoise>
__device__ bool has(const Unit& unit, int word) {
  return kGap<kNoise> * word < unit.left;
}

/// Where the unit's elements are in a matrix, kGap apart.
template <class T>
__device__ T* at(const MatrixView<T>& m, const Unit& unit) {
  return m.data + unit.row * m.row_stride + unit.col;
}

template <class T>
__device__ Packed<T> load_packed(const MatrixView<const T>& m, const Unit& unit) {
  return *reinterpret_cast<const Packed<T>*>(at(m, unit));
}

template <bool kNoise, class T>
__device__ Packed<T> load_each(const MatrixView<const T>& m, const Unit& unit) {
  const T* const from = at(m, unit);
  Packed<T> out;
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    out.values[w] = has<kNoise>(unit, w) ? from[kGap<kNoise> * w] : T{};
  }
  return out;
}

template <bool kNoise, class T>
__device__ void store(const MatrixView<T>& m, const Unit& unit, const float (&values)[kWords]) {
  Packed<T> out;
#pragma unroll
  for (int w = 0; w < kWords; ++w) put(&out.values[w], values[w]);
  T* const to = at(m, unit);
  if (unit.packed) {
    *reinterpret_cast<Packed<T>*>(to) = out;
    return;
  }
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    if (has<kNoise>(unit, w)) to[kGap<kNoise> * w] = out.values[w];
  }
}

template <class T>
struct Values {
  Packed<T> y;
  Packed<T> mean;
  Packed<T> scale;
};

template <bool kNoise, class T>
__device__ Values<T> values_of(const Latents<T>& in, const Unit& unit) {
  if (unit.packed) {
    return {load_packed(in.y, unit), load_packed(in.mean, unit), load_packed(in.scale, unit)};
  }
  return {load_each<kNoise>(in.y, unit),
          load_each<kNoise>(in.mean, unit),
          load_each<kNoise>(in.scale, unit)};
}

/// f(unit, values) for the units first, first + step, .. below end.
template <bool kNoise, class T, class F>
__device__ void each_unit(
    const Latents<T>& in, std::uint32_t first, std::uint32_t end, std::uint32_t step, F f) {
  if (first >= end) return;
  Unit next = unit_at<kNoise>(in, first);
  Values<T> ahead = values_of<kNoise>(in, next);
  for (std::uint32_t left = (end - first - 1) / step + 1; left > 0; --left) {
    const Unit unit = next;
    const Values<T> values = ahead;
    if (left > 1) {
      next = unit_at<kNoise>(in, first += step);
      ahead = values_of<kNoise>(in, next);
    }
    f(unit, values);
  }
}

template <bool kNoise, class T>
__device__ std::uint64_t key_of(const Latents<T>& in) {
  return kNoise ? static_cast<std::uint64_t>(*in.seed) : 0;
}

struct Bin {
  CudaBits::Edges edges;
  CudaBits::Tail far;
  CudaBits::Tail near;
  float probability;
};

template <bool kNoise>
__device__ Bin bin_of(float y, float mean, float scale, float noise) {
  const CudaBits::Edges edges = CudaBits::edges<kNoise>(y, mean, scale, noise);
  const CudaBits::Tail far = CudaBits::tail(edges.far);
  const CudaBits::Tail near = CudaBits::tail(edges.near);
  return {edges, far, near, CudaBits::probability(edges.near, near.beyond, far.beyond)};
}

/// f(word, bin, raw scale) for the elements of a unit, also for those beyond the row.
template <bool kNoise, class T, class F>
__device__ void visit(std::uint64_t key, const Unit& unit, const Values<T>& values, F f) {
  std::uint32_t words[kWords] = {};
  if constexpr (kNoise) CudaBits::philox(key, unit.row, unit.counter, 0U, words);
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    const float noise = kNoise ? CudaBits::centred(words[w]) : 0.0F;
    const float scale = value(values.scale.values[w]);
    f(w,
      bin_of<kNoise>(value(values.y.values[w]), value(values.mean.values[w]), scale, noise),
      scale);
  }
}

}  // namespace
}  // namespace glc::entropy

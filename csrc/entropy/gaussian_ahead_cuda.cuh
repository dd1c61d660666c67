// SPDX-License-Identifier: Apache-2.0
// Gradients of rates on a device, and those that a forward pass leaves for the backward pass. What
// it counts on lies on the device, so nothing waits, and a graph's replays foresee as calls do.
#pragma once

#include <cstdint>

#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "entropy/gaussian_units_cuda.cuh"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

/// The gradients of the elements of a unit.
struct UnitGradients {
  float by_y[kWords];
  float by_mean[kWords];
  float by_scale[kWords];

  __device__ void find(int w, const Bin& bin, float scale, float grad) {
    const CudaBits::Pull pull =
        CudaBits::pull(bin.edges.near, bin.near.density, bin.edges.far, bin.far.density);
    const CudaBits::Slopes slopes =
        CudaBits::slopes_of(bin.edges.symbol, bin.edges.inverse, pull, bin.probability, scale);
    const float passed = CudaBits::passed(bin.probability, grad);
    by_y[w] = passed * slopes.y;
    by_mean[w] = -by_y[w];
    by_scale[w] = passed * slopes.scale;
  }

  template <bool kNoise, class T>
  __device__ void put(const GaussianGradients<T>& out, const Unit& unit) const {
    if (out.y.data != nullptr) store<kNoise>(out.y, unit, by_y);
    if (out.mean.data != nullptr) store<kNoise>(out.mean, unit, by_mean);
    if (out.scale.data != nullptr) store<kNoise>(out.scale, unit, by_scale);
  }
};

template <class T>
bool aligned_for(const GaussianGradients<T>& out) {
  return Quads::aligned_for(out.y) && Quads::aligned_for(out.mean) && Quads::aligned_for(out.scale);
}

/// cuda::GaussianForesight: the last gradient, the one to count on, what a forward pass counted on.
struct Foresight {
  float* last;
  float* foreseen;
  float* used;  // null: there is none of all this
  std::uint32_t n;

  /// By one block.
  __device__ void note_used() const {
    for (std::uint32_t i = threadIdx.x; i < n; i += kThreads) used[i] = foreseen[i];
  }

  /// By one block: count on a gradient that came twice in a row, but not on 0, which equals -0.
  __device__ void remember(const MatrixView<const float>& grad) const {
    for (std::uint32_t i = threadIdx.x; i < n; i += kThreads) {
      const float came = grad.data[i * grad.row_stride];
      foreseen[i] = came == last[i] && came != 0.0F ? came : nanf("");
      last[i] = came;
    }
  }

  /// On all threads of a block: whether a forward pass counted on just this gradient.
  __device__ bool fulfilled(const MatrixView<const float>& grad) const {
    bool differs = false;
    for (std::uint32_t i = threadIdx.x; i < n; i += kThreads) {
      differs = differs || used[i] != grad.data[i * grad.row_stride];  // as ever with a NaN
    }
    return __syncthreads_or(differs ? 1 : 0) == 0;
  }
};

/// What a forward pass leaves.
template <class T>
struct Ahead {
  Foresight foresight;
  cuda::Divisor rows_per_grad;
  GaussianGradients<T> out;

  __device__ float foreseen(const Unit& unit) const {
    std::uint32_t rest;
    return foresight.foreseen[rows_per_grad.divided(unit.row, &rest)];
  }
};

}  // namespace
}  // namespace glc::entropy

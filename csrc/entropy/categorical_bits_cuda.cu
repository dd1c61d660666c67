// SPDX-License-Identifier: Apache-2.0
// Rates under logits on a device. Forward, a warp or a block for each row reads it once: every
// thread keeps the largest logit so far and the sum of exponentials relative to it. Backward, a
// thread for each quad of logits.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/entropy_check.h"
#include "entropy/quads_cuda.cuh"
#include "entropy/reduce_cuda.cuh"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::first_index;
using entropy::grid_for;
using entropy::index_step;
using entropy::kQuad;
using entropy::kThreads;
using entropy::Packed;
using entropy::put;
using entropy::Quad;
using entropy::Quads;
using entropy::value;

constexpr float kBitsPerNat = 1.44269504088896341F;
constexpr float kLowest = -3.402823466e38F;

__device__ float not_a_number() { return __uint_as_float(0x7FC00000U); }

/// exp(logit - largest) to 2e-7 relative where that is not small; NaN stays.
__device__ float share(float logit, float largest) {
  return entropy::VecCuda::exp2((logit - largest) * kBitsPerNat);
}

/// The largest of some logits, or kLowest: finite, so that logits of -infinity differ from it; and
/// the sum of their exponentials relative to it, which a NaN or an infinity makes NaN.
struct Norm {
  float largest = kLowest;
  float total = 0.0F;

  __device__ void raise(float to) {
    if (to > largest) {
      total *= share(largest, to);
      largest = to;
    }
  }
};

template <class T>
struct BitsParams {
  MatrixView<const T> logits;
  bool aligned;
  const std::int64_t* index;
  std::int64_t n;
  float* bits;
  MatrixView<float> norms;
};

/// Of a row's quads first, first + step, ..
template <class T>
__device__ Norm norm_of(const T* row, std::int64_t k, bool aligned, unsigned first, unsigned step) {
  Norm norm;
  const auto take = [&](const float(&logits)[kQuad]) {
    float top = norm.largest;
#pragma unroll
    for (int i = 0; i < kQuad; ++i) top = logits[i] > top ? logits[i] : top;
    norm.raise(top);
#pragma unroll
    for (int i = 0; i < kQuad; ++i) norm.total += share(logits[i], norm.largest);
  };
  const std::int64_t whole = aligned ? k / kQuad * kQuad : 0;
#pragma unroll 4
  for (std::int64_t j = std::int64_t{first} * kQuad; j < whole; j += std::int64_t{step} * kQuad) {
    const auto quad = *reinterpret_cast<const Packed<T>*>(row + j);
    float logits[kQuad];
#pragma unroll
    for (int i = 0; i < kQuad; ++i) logits[i] = value(quad.values[i]);
    take(logits);
  }
#pragma unroll 4
  for (std::int64_t j = whole + first; j < k; j += step) {
    const float logit = value(row[j]);
    norm.raise(logit);
    norm.total += share(logit, norm.largest);
  }
  return norm;
}

template <class T>
__device__ float bits_of(const BitsParams<T>& p, const T* row, const Norm& norm, std::int64_t i) {
  const std::int64_t chosen = p.index[i];
  if (chosen < 0 || chosen >= p.logits.cols) return not_a_number();
  const float exact = log2f(norm.total) + kBitsPerNat * (norm.largest - value(row[chosen]));
  return exact < 0.0F ? 0.0F : exact;  // NaN stays
}

/// kTeam threads for each row, a warp or the block.
template <class T, unsigned kTeam>
__global__ void __launch_bounds__(kThreads) bits_kernel(BitsParams<T> p) {
  constexpr unsigned kTeams = kThreads / kTeam;
  const unsigned lane = threadIdx.x % kTeam;
  const auto joined = [](auto mine, auto how) {
    if constexpr (kTeam == kThreads) {
      return entropy::of_block(mine, how);
    } else {
      return entropy::of_warp(mine, how);
    }
  };
  const std::int64_t step = std::int64_t{gridDim.x} * kTeams;
  for (std::int64_t row = std::int64_t{blockIdx.x} * kTeams + threadIdx.x / kTeam;
       row < p.logits.rows;
       row += step) {
    const T* const in = p.logits.data + row * p.logits.row_stride;
    const Norm mine = norm_of(in, p.logits.cols, p.aligned, lane, kTeam);
    Norm norm;
    norm.largest = joined(mine.largest, [](float a, float b) { return a > b ? a : b; });
    norm.total = joined(mine.total * share(mine.largest, norm.largest), entropy::Sum{});
    constexpr float kSome = 0.5F;  // the largest logit has 1
    if (norm.total < kSome) norm.total = not_a_number();
    if (lane == 0) {
      p.norms.data[row * p.norms.row_stride] = norm.largest;
      p.norms.data[row * p.norms.row_stride + 1] = norm.total;
    }
    if (p.logits.rows > 1) {
      if (lane == 0) p.bits[row] = bits_of(p, in, norm, row);
      continue;
    }
    for (std::int64_t i = lane; i < p.n; i += kTeam) p.bits[i] = bits_of(p, in, norm, i);
  }
}

template <class T>
struct BackwardParams {
  Quads quads;
  const float* grad;
  MatrixView<const T> logits;
  const std::int64_t* index;
  std::int64_t n;
  MatrixView<const float> norms;
  MatrixView<T> grad_logits;
};

template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(BackwardParams<T> p) {
  for (std::int64_t i = first_index(); i < p.quads.all; i += index_step()) {
    const Quad quad = entropy::quad_at(p.quads, i);
    const Packed<T> logits = load(p.logits, quad, T{});
    const float* const norm = p.norms.data + quad.row * p.norms.row_stride;
    const float largest = norm[0];
    const float grad = p.grad[quad.row];
    const std::int64_t chosen = p.index[quad.row] - quad.col;
    const float all = grad / norm[1];
    Packed<T> slopes;
#pragma unroll
    for (int j = 0; j < kQuad; ++j) {
      const float mine = share(value(logits.values[j]), largest) * all;
      put(&slopes.values[j], kBitsPerNat * (mine - (chosen == j ? grad : 0.0F)));
    }
    store(p.grad_logits, quad, slopes);
  }
}

struct Choices {
  float grad[kThreads];
  std::int64_t index[kThreads];
};

/// Of a row that all share: a block takes the choices in turns of kThreads, and every column, a
/// thread's, looks for its own among them.
template <class T>
__global__ void __launch_bounds__(kThreads) shared_backward_kernel(BackwardParams<T> p) {
  auto& choices = block_shared<Choices>();
  const std::int64_t k = p.logits.cols;
  for (std::int64_t begin = std::int64_t{blockIdx.x} * kThreads; begin < k; begin += index_step()) {
    const std::int64_t col = begin + threadIdx.x;
    double all = 0.0;
    double chosen = 0.0;
    for (std::int64_t first = 0; first < p.n; first += kThreads) {
      const std::int64_t i = first + threadIdx.x;
      __syncthreads();  // before others' reads of the last turn
      choices.grad[threadIdx.x] = i < p.n ? p.grad[i] : 0.0F;
      choices.index[threadIdx.x] = i < p.n ? p.index[i] : -1;
      __syncthreads();
      for (unsigned j = 0; j < kThreads && first + j < p.n; ++j) {
        const auto grad = static_cast<double>(choices.grad[j]);
        all += grad;
        if (choices.index[j] == col) chosen += grad;
      }
    }
    if (col >= k) continue;
    const float norm = static_cast<float>(all) / p.norms.data[1];
    const float mine = share(value(p.logits.data[col]), p.norms.data[0]) * norm;
    put(p.grad_logits.data + col, kBitsPerNat * (mine - static_cast<float>(chosen)));
  }
}

}  // namespace

template <class T>
void categorical_bits(MatrixView<const T> logits,
                      std::span<const std::int64_t> index,
                      std::span<float> bits,
                      MatrixView<float> norms,
                      cudaStream_t stream) {
  constexpr const char* kOp = "categorical_bits";
  entropy::check_choices_shape(kOp, logits, index, MatrixView<const float>(norms));
  entropy::check_size(kOp, "bits", index.size(), bits.size());
  if (logits.rows == 0) return;
  constexpr std::int64_t kLong = 2048;  // a warp reads less in a handful of loads
  const bool by_block = logits.rows == 1 || logits.cols > kLong;
  const bool aligned = Quads::aligned_for(logits);
  launch(kOp,
         by_block ? bits_kernel<T, kThreads> : bits_kernel<T, kWarpLanes>,
         {grid_for(logits.rows * (by_block ? kThreads : kWarpLanes)), kThreads},
         stream,
         {logits, aligned, index.data(), ssize(index), bits.data(), norms});
}

template <class T>
void categorical_bits_backward(std::span<const float> grad,
                               MatrixView<const T> logits,
                               std::span<const std::int64_t> index,
                               MatrixView<const float> norms,
                               MatrixView<T> grad_logits,
                               cudaStream_t stream) {
  constexpr const char* kOp = "categorical_bits_backward";
  entropy::check_choices_shape(kOp, logits, index, norms);
  entropy::check_size(kOp, "grad", index.size(), grad.size());
  entropy::check_shape(kOp, "grad_logits", logits, grad_logits);
  const Quads quads = Quads(kOp, logits.rows, logits.cols).with(logits).with(grad_logits);
  if (quads.all == 0) return;
  const BackwardParams<T> params{
      quads, grad.data(), logits, index.data(), ssize(index), norms, grad_logits};
  if (logits.rows == 1) {
    launch(kOp, shared_backward_kernel<T>, {grid_for(logits.cols), kThreads}, stream, params);
  } else {
    launch(kOp, backward_kernel<T>, {grid_for(quads.all), kThreads}, stream, params);
  }
}

template void categorical_bits(MatrixView<const float>,
                               std::span<const std::int64_t>,
                               std::span<float>,
                               MatrixView<float>,
                               cudaStream_t);
template void categorical_bits(MatrixView<const BFloat16>,
                               std::span<const std::int64_t>,
                               std::span<float>,
                               MatrixView<float>,
                               cudaStream_t);
template void categorical_bits_backward(std::span<const float>,
                                        MatrixView<const float>,
                                        std::span<const std::int64_t>,
                                        MatrixView<const float>,
                                        MatrixView<float>,
                                        cudaStream_t);
template void categorical_bits_backward(std::span<const float>,
                                        MatrixView<const BFloat16>,
                                        std::span<const std::int64_t>,
                                        MatrixView<const float>,
                                        MatrixView<BFloat16>,
                                        cudaStream_t);

}  // namespace glc::cuda

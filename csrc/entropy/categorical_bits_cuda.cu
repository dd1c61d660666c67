// SPDX-License-Identifier: Apache-2.0
// Rates under logits on a device: forward a block for each row, which reads it once for its largest
// logit and once, mostly from cache, for its sum; backward a thread for each logit.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/categorical_kernel.h"
#include "entropy/entropy_check.h"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::first_index;
using entropy::grid_for;
using entropy::index_step;
using entropy::kThreads;
using entropy::put;
using entropy::value;
using Kernel = entropy::CategoricalKernel<entropy::VecCuda>;

constexpr float kBitsPerNat = 1.44269504088896341F;
constexpr float kLowest = -3.402823466e38F;

template <class T>
struct BitsParams {
  MatrixView<const T> logits;
  const std::int64_t* index;
  std::int64_t n;
  float* bits;
  MatrixView<float> norms;
};

/// The sum of a block's values, or their maximum, in a fixed order; on all threads.
template <class F>
__device__ float of_block(float mine, F joined) {
  auto& all = block_shared<float[kThreads]>();
  __syncthreads();  // before others' reads of the last result
  all[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) all[threadIdx.x] = joined(all[threadIdx.x], all[threadIdx.x + half]);
    __syncthreads();
  }
  return all[0];
}

template <class T>
__device__ float bits_of(
    const BitsParams<T>& p, const T* row, float largest, float total, std::int64_t i) {
  const std::int64_t chosen = p.index[i];
  if (chosen < 0 || chosen >= p.logits.cols) return __uint_as_float(0x7FC00000U);
  const float exact = log2f(total) + kBitsPerNat * (largest - value(row[chosen]));
  return exact < 0.0F ? 0.0F : exact;  // NaN stays
}

template <class T>
__global__ void bits_kernel(BitsParams<T> p) {
  const std::int64_t k = p.logits.cols;
  for (std::int64_t row = blockIdx.x; row < p.logits.rows; row += gridDim.x) {
    const T* const in = p.logits.data + row * p.logits.row_stride;
    float largest = kLowest;  // finite, so that logits of -infinity differ from it
    for (std::int64_t j = threadIdx.x; j < k; j += kThreads) {
      const float logit = value(in[j]);
      largest = logit > largest ? logit : largest;
    }
    largest = of_block(largest, [](float a, float b) { return a > b ? a : b; });
    float total = 0.0F;
    for (std::int64_t j = threadIdx.x; j < k; j += kThreads) {
      total += Kernel::share(value(in[j]), largest);
    }
    total = of_block(total, [](float a, float b) { return a + b; });
    constexpr float kSome = 0.5F;  // the largest logit has 1
    if (total < kSome) total = __uint_as_float(0x7FC00000U);
    if (threadIdx.x == 0) {
      p.norms.data[row * p.norms.row_stride] = largest;
      p.norms.data[row * p.norms.row_stride + 1] = total;
    }
    if (p.logits.rows > 1) {
      if (threadIdx.x == 0) p.bits[row] = bits_of(p, in, largest, total, row);
      continue;
    }
    for (std::int64_t i = threadIdx.x; i < p.n; i += kThreads) {
      p.bits[i] = bits_of(p, in, largest, total, i);
    }
  }
}

template <class T>
struct BackwardParams {
  const float* grad;
  MatrixView<const T> logits;
  const std::int64_t* index;
  std::int64_t n;
  MatrixView<const float> norms;
  MatrixView<T> grad_logits;
};

template <class T>
__device__ void put_slope(
    const BackwardParams<T>& p, std::int64_t row, std::int64_t col, float all, float chosen) {
  const float* const norm = p.norms.data + row * p.norms.row_stride;
  const float logit = value(p.logits.data[row * p.logits.row_stride + col]);
  const float share = Kernel::share(logit, norm[0]) * (all / norm[1]);
  put(p.grad_logits.data + row * p.grad_logits.row_stride + col, kBitsPerNat * (share - chosen));
}

template <class T>
__global__ void backward_kernel(BackwardParams<T> p) {
  const std::int64_t k = p.logits.cols;
  for (std::int64_t i = first_index(); i < p.logits.rows * k; i += index_step()) {
    const std::int64_t row = i / k;
    const float grad = p.grad[row];
    put_slope(p, row, i % k, grad, p.index[row] == i % k ? grad : 0.0F);
  }
}

/// Of a row that all share: every column looks for its own among the indices.
template <class T>
__global__ void shared_backward_kernel(BackwardParams<T> p) {
  for (std::int64_t col = first_index(); col < p.logits.cols; col += index_step()) {
    double all = 0.0;
    double chosen = 0.0;
    for (std::int64_t i = 0; i < p.n; ++i) {
      all += static_cast<double>(p.grad[i]);
      if (p.index[i] == col) chosen += static_cast<double>(p.grad[i]);
    }
    put_slope(p, std::int64_t{0}, col, static_cast<float>(all), static_cast<float>(chosen));
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
  constexpr std::int64_t kMaxBlocks = 1 << 16;
  const auto blocks = static_cast<unsigned>(logits.rows < kMaxBlocks ? logits.rows : kMaxBlocks);
  launch(kOp,
         bits_kernel<T>,
         {blocks, kThreads},
         stream,
         {logits, index.data(), ssize(index), bits.data(), norms});
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
  const std::int64_t work = logits.rows * logits.cols;
  if (work == 0) return;
  launch(kOp,
         logits.rows == 1 ? shared_backward_kernel<T> : backward_kernel<T>,
         {grid_for(work), kThreads},
         stream,
         {grad.data(), logits, index.data(), ssize(index), norms, grad_logits});
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

// SPDX-License-Identifier: Apache-2.0
// Integer cdfs on a device: a block for each row. A thread owns adjacent entries, so that the sums
// below them come from one scan over the threads; they are integers, and exact in any order.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/categorical_kernel.h"
#include "entropy/entropy_check.h"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::kThreads;
using Weights = entropy::CategoricalKernel<entropy::VecCuda>;

struct CdfParams {
  MatrixView<const float> logits;
  MatrixView<std::int32_t> cdf;
  std::int64_t total;
};

__global__ void cdf_kernel(CdfParams p) {
  auto& largest = block_shared<float[kThreads]>();
  auto& sums = block_shared<std::uint64_t[kThreads]>();
  const std::int64_t k = p.logits.cols;
  const auto spare = static_cast<std::uint64_t>(p.total - k);
  const std::int64_t each = (k + kThreads - 1) / kThreads;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * each < k
                                 ? static_cast<std::int64_t>(threadIdx.x) * each
                                 : k;
  const std::int64_t last = first + each < k ? first + each : k;
  for (std::int64_t row = blockIdx.x; row < p.logits.rows; row += gridDim.x) {
    const float* const in = p.logits.data + row * p.logits.row_stride;
    std::int32_t* const out = p.cdf.data + row * p.cdf.row_stride;
    float mine = in[0];
    bool odd = false;
    for (std::int64_t j = first; j < last; ++j) {
      odd = odd || !(in[j] - in[j] == 0.0F);  // NaN and infinities
      mine = in[j] > mine ? in[j] : mine;
    }
    largest[threadIdx.x] = mine;
    const bool equal = __syncthreads_or(odd ? 1 : 0) != 0;
    for (unsigned half = kThreads / 2; half > 0; half /= 2) {
      if (threadIdx.x < half) {
        const float other = largest[threadIdx.x + half];
        if (other > largest[threadIdx.x]) largest[threadIdx.x] = other;
      }
      __syncthreads();
    }
    const float top = largest[0];
    std::uint64_t own = 0;
    for (std::int64_t j = first; j < last; ++j) {
      const std::uint32_t weight = Weights::weight(equal ? 0.0F : in[j] - top);
      out[j] = static_cast<std::int32_t>(weight);
      own += weight;
    }
    sums[threadIdx.x] = own;
    __syncthreads();
    std::uint64_t below = 0;
    std::uint64_t all = 0;
    for (unsigned thread = 0; thread < kThreads; ++thread) {
      below += thread < threadIdx.x ? sums[thread] : 0U;
      all += sums[thread];
    }
    for (std::int64_t j = first; j < last; ++j) {
      const auto weight = static_cast<std::uint64_t>(out[j]);
      out[j] = static_cast<std::int32_t>(static_cast<std::uint64_t>(j) + spare * below / all);
      below += weight;
    }
    if (threadIdx.x == 0) out[k] = static_cast<std::int32_t>(p.total);
    __syncthreads();  // before the next row writes what others still read
  }
}

}  // namespace

void categorical_cdf(MatrixView<const float> logits,
                     std::int32_t bits,
                     MatrixView<std::int32_t> cdf,
                     cudaStream_t stream) {
  constexpr const char* kOp = "categorical_cdf";
  entropy::check_cdf(kOp, logits, bits, cdf);
  if (logits.rows == 0) return;
  constexpr std::int64_t kMaxBlocks = 1 << 16;
  const auto blocks = static_cast<unsigned>(logits.rows < kMaxBlocks ? logits.rows : kMaxBlocks);
  launch(kOp, cdf_kernel, {blocks, kThreads}, stream, {logits, cdf, std::int64_t{1} << bits});
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// Rates, rows and symbols on a device. A thread takes four elements that share a Philox counter,
// 16 apart; neighbouring threads take neighbouring elements.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_bits_kernel.h"
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
using Kernel = entropy::GaussianBitsKernel<entropy::VecCuda>;

constexpr int kGroup = 16;
constexpr int kWords = 4;
constexpr int kBlock = kGroup * kWords;

template <class T>
struct Latents {
  MatrixView<const T> y;
  MatrixView<const T> mean;
  MatrixView<const T> scale;
  const std::int64_t* seed;
};

template <class T>
__host__ __device__ T* at(const MatrixView<T>& m, std::int64_t row, std::int64_t col) {
  return m.data + row * m.row_stride + col;
}

__host__ __device__ std::int64_t units_of_row(std::int64_t cols) {
  return (cols + kBlock - 1) / kBlock * kGroup;
}

/// f(row, col, bin, raw scale) for the elements of one unit.
template <class T, class F>
__device__ void visit(const Latents<T>& in, std::int64_t unit, F f) {
  const std::int64_t per_row = units_of_row(in.y.cols);
  const std::int64_t row = unit / per_row;
  const std::int64_t counter = unit % per_row;
  std::uint32_t words[kWords] = {};
  if (in.seed != nullptr) {
    const auto key = static_cast<std::uint64_t>(*in.seed);
    const auto place = static_cast<std::uint64_t>(counter);
    Kernel::philox(key, static_cast<std::uint64_t>(row), place, 0U, words);
  }
  for (int w = 0; w < kWords; ++w) {
    const std::int64_t col = counter / kGroup * kBlock + w * kGroup + counter % kGroup;
    if (col >= in.y.cols) return;
    const float y = value(*at(in.y, row, col));
    const float mean = value(*at(in.mean, row, col));
    const float scale = value(*at(in.scale, row, col));
    const Kernel::Bin bin = in.seed != nullptr
                                ? Kernel::bin<true>(y, mean, scale, Kernel::centred(words[w]))
                                : Kernel::bin<false>(y, mean, scale, 0.0F);
    f(row, col, bin, scale);
  }
}

template <class T>
struct BitsParams {
  Latents<T> in;
  MatrixView<float> bits;
};

template <class T>
__global__ void bits_kernel(BitsParams<T> p) {
  const std::int64_t units = p.in.y.rows * units_of_row(p.in.y.cols);
  for (std::int64_t unit = first_index(); unit < units; unit += index_step()) {
    visit(p.in, unit, [&](std::int64_t row, std::int64_t col, const Kernel::Bin& bin, float) {
      *at(p.bits, row, col) = Kernel::bits_of(bin);
    });
  }
}

/// Units of a block of totals_kernel.
constexpr std::int64_t kUnitsPerBlock = 16 * kThreads;

template <class T>
struct TotalsParams {
  Latents<T> in;
  std::int64_t units_per_group;
  std::int64_t blocks_per_group;
  double* partial;
};

template <class T>
__global__ void totals_kernel(TotalsParams<T> p) {
  auto& sums = block_shared<double[kThreads]>();
  const std::int64_t group = blockIdx.x / p.blocks_per_group;
  const std::int64_t first = blockIdx.x % p.blocks_per_group * kUnitsPerBlock;
  double mine = 0.0;
  for (std::int64_t i = threadIdx.x; i < kUnitsPerBlock; i += kThreads) {
    if (first + i >= p.units_per_group) break;
    const std::int64_t unit = group * p.units_per_group + first + i;
    visit(p.in, unit, [&](std::int64_t, std::int64_t, const Kernel::Bin& bin, float) {
      mine += static_cast<double>(Kernel::bits_of(bin));
    });
  }
  sums[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) p.partial[blockIdx.x] = sums[0];
}

struct FinishParams {
  const double* partial;
  std::int64_t blocks_per_group;
  float* totals;
  std::int64_t groups;
};

__global__ void finish_kernel(FinishParams p) {
  for (std::int64_t group = first_index(); group < p.groups; group += index_step()) {
    double total = 0.0;
    for (std::int64_t i = 0; i < p.blocks_per_group; ++i) {
      total += p.partial[group * p.blocks_per_group + i];
    }
    p.totals[group] = static_cast<float>(total);
  }
}

template <class T>
struct BackwardParams {
  Latents<T> in;
  MatrixView<const float> grad;
  std::int64_t rows_per_grad;  // 0: one for each element
  entropy::GaussianGradients<T> out;
};

template <class T>
__global__ void backward_kernel(BackwardParams<T> p) {
  const std::int64_t units = p.in.y.rows * units_of_row(p.in.y.cols);
  for (std::int64_t unit = first_index(); unit < units; unit += index_step()) {
    visit(p.in, unit, [&](std::int64_t row, std::int64_t col, const Kernel::Bin& bin, float scale) {
      const float grad = p.rows_per_grad == 0 ? *at(p.grad, row, col)
                                              : *at(p.grad, row / p.rows_per_grad, std::int64_t{0});
      const Kernel::Slopes slopes = Kernel::slopes_of(bin, grad, scale);
      if (p.out.y.data != nullptr) put(at(p.out.y, row, col), slopes.y);
      if (p.out.mean.data != nullptr) put(at(p.out.mean, row, col), -slopes.y);
      if (p.out.scale.data != nullptr) put(at(p.out.scale, row, col), slopes.scale);
    });
  }
}

struct SymbolsParams {
  entropy::GaussianLatents<float> in;  // y without data: rows alone
  const float* bounds;
  int n_bounds;
  MatrixView<std::int32_t> symbols;
  MatrixView<std::uint8_t> rows;
};

/// Rounded half to even; 0 for NaN, the nearest int32 for what is out of range.
__device__ std::int32_t symbol_of(float residual) {
  constexpr float kLimit = 2147483648.0F;  // 2^31
  if (!(residual == residual)) return 0;
  if (residual >= kLimit) return 2147483647;
  if (residual < -kLimit) return -2147483647 - 1;
  return static_cast<std::int32_t>(rintf(residual));
}

constexpr int kMaxBounds = 255;

__global__ void symbols_kernel(SymbolsParams p) {
  auto& bounds = block_shared<std::uint32_t[kMaxBounds]>();
  for (int i = static_cast<int>(threadIdx.x); i < p.n_bounds; i += static_cast<int>(kThreads)) {
    bounds[i] = __float_as_uint(p.bounds[i]);
  }
  __syncthreads();
  const std::int64_t n = p.in.scale.rows * p.in.scale.cols;
  for (std::int64_t i = first_index(); i < n; i += index_step()) {
    const std::int64_t row = i / p.in.scale.cols;
    const std::int64_t col = i % p.in.scale.cols;
    const std::uint32_t raw = __float_as_uint(*at(p.in.scale, row, col));
    const std::uint32_t bits = raw > 0x7F800000U ? 0U : raw;  // NaN and negative ones: row 0
    int below = 0;
    for (int end = p.n_bounds; below < end;) {
      const int middle = (below + end) / 2;
      if (bounds[middle] < bits) {
        below = middle + 1;
      } else {
        end = middle;
      }
    }
    *at(p.rows, row, col) = static_cast<std::uint8_t>(below);
    if (p.in.y.data != nullptr) {
      *at(p.symbols, row, col) = symbol_of(*at(p.in.y, row, col) - *at(p.in.mean, row, col));
    }
  }
}

template <class T>
Latents<T> checked(const char* op,
                   const entropy::GaussianLatents<T>& in,
                   const std::int64_t* seed) {
  entropy::check_shape(op, "mean", in.y, in.mean);
  entropy::check_shape(op, "scale", in.y, in.scale);
  return {in.y, in.mean, in.scale, seed};
}

struct Split {
  std::int64_t units_per_group;
  std::int64_t blocks_per_group;
};

Split split_of(std::int64_t rows, std::int64_t cols, std::int64_t groups) {
  const std::int64_t units = groups == 0 ? 0 : rows / groups * units_of_row(cols);
  return {units, (units + kUnitsPerBlock - 1) / kUnitsPerBlock};
}

void run_symbols(const char* op, const SymbolsParams& p, cudaStream_t stream) {
  if (p.n_bounds > kMaxBounds) {
    fail_argument(op, "bounds", "at most 255 values", p.n_bounds);
  }
  const std::int64_t n = p.in.scale.rows * p.in.scale.cols;
  if (n == 0) return;
  launch(op, symbols_kernel, {grid_for(n), kThreads}, stream, p);
}

}  // namespace

template <class T>
void gaussian_bits(const entropy::GaussianLatents<T>& in,
                   const std::int64_t* noise_seed,
                   MatrixView<float> bits,
                   cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_bits";
  const auto latents = checked(kOp, in, noise_seed);
  entropy::check_shape(kOp, "bits", in.y, bits);
  const std::int64_t units = in.y.rows * units_of_row(in.y.cols);
  if (units == 0) return;
  launch(kOp, bits_kernel<T>, {grid_for(units), kThreads}, stream, {latents, bits});
}

std::size_t gaussian_total_bits_workspace_bytes(std::int64_t rows,
                                                std::int64_t cols,
                                                std::int64_t groups) {
  const Split split = split_of(rows, cols, groups);
  return static_cast<std::size_t>(groups * split.blocks_per_group) * sizeof(double);
}

template <class T>
void gaussian_total_bits(const entropy::GaussianLatents<T>& in,
                         const std::int64_t* noise_seed,
                         std::span<float> totals,
                         std::span<std::byte> workspace,
                         cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_total_bits";
  const auto latents = checked(kOp, in, noise_seed);
  const std::int64_t groups = ssize(totals);
  if (groups == 0 ? in.y.rows != 0 : in.y.rows % groups != 0) {
    fail_argument(kOp, "totals", "a divisor of " + std::to_string(in.y.rows) + " rows", groups);
  }
  const std::size_t needed = gaussian_total_bits_workspace_bytes(in.y.rows, in.y.cols, groups);
  if (workspace.size() < needed) {
    fail_argument(kOp, "workspace", std::to_string(needed) + " bytes", workspace.size());
  }
  if (groups == 0) return;
  const Split split = split_of(in.y.rows, in.y.cols, groups);
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  if (split.blocks_per_group > 0) {
    const auto blocks = static_cast<unsigned>(groups * split.blocks_per_group);
    launch(kOp,
           totals_kernel<T>,
           {blocks, kThreads},
           stream,
           {latents, split.units_per_group, split.blocks_per_group, partial});
  }
  launch(kOp,
         finish_kernel,
         {grid_for(groups), kThreads},
         stream,
         {partial, split.blocks_per_group, totals.data(), groups});
}

template <class T>
void gaussian_bits_backward(MatrixView<const float> grad,
                            const entropy::GaussianLatents<T>& in,
                            const std::int64_t* noise_seed,
                            const entropy::GaussianGradients<T>& out,
                            cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_bits_backward";
  const auto latents = checked(kOp, in, noise_seed);
  const bool each = grad.rows == in.y.rows && grad.cols == in.y.cols;
  if (!each && (grad.cols != 1 || grad.rows == 0 || in.y.rows % grad.rows != 0)) {
    fail_argument(kOp, "grad", "the shape of y, or a column that divides its rows", grad.rows);
  }
  const std::int64_t units = in.y.rows * units_of_row(in.y.cols);
  if (units == 0) return;
  const std::int64_t rows_per_grad = each ? 0 : in.y.rows / grad.rows;
  launch(kOp,
         backward_kernel<T>,
         {grid_for(units), kThreads},
         stream,
         {latents, grad, rows_per_grad, out});
}

void gaussian_rows(MatrixView<const float> scale,
                   std::span<const float> bounds,
                   MatrixView<std::uint8_t> rows,
                   cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_rows";
  entropy::check_shape(kOp, "rows", scale, rows);
  run_symbols(
      kOp, {{{}, {}, scale}, bounds.data(), static_cast<int>(bounds.size()), {}, rows}, stream);
}

void gaussian_symbols(const entropy::GaussianLatents<float>& in,
                      std::span<const float> bounds,
                      MatrixView<std::int32_t> symbols,
                      MatrixView<std::uint8_t> rows,
                      cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_symbols";
  checked(kOp, in, nullptr);
  entropy::check_shape(kOp, "symbols", in.y, symbols);
  entropy::check_shape(kOp, "rows", in.y, rows);
  run_symbols(kOp, {in, bounds.data(), static_cast<int>(bounds.size()), symbols, rows}, stream);
}

template void gaussian_bits(const entropy::GaussianLatents<float>&,
                            const std::int64_t*,
                            MatrixView<float>,
                            cudaStream_t);
template void gaussian_bits(const entropy::GaussianLatents<BFloat16>&,
                            const std::int64_t*,
                            MatrixView<float>,
                            cudaStream_t);
template void gaussian_total_bits(const entropy::GaussianLatents<float>&,
                                  const std::int64_t*,
                                  std::span<float>,
                                  std::span<std::byte>,
                                  cudaStream_t);
template void gaussian_total_bits(const entropy::GaussianLatents<BFloat16>&,
                                  const std::int64_t*,
                                  std::span<float>,
                                  std::span<std::byte>,
                                  cudaStream_t);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const entropy::GaussianLatents<float>&,
                                     const std::int64_t*,
                                     const entropy::GaussianGradients<float>&,
                                     cudaStream_t);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const entropy::GaussianLatents<BFloat16>&,
                                     const std::int64_t*,
                                     const entropy::GaussianGradients<BFloat16>&,
                                     cudaStream_t);

}  // namespace glc::cuda

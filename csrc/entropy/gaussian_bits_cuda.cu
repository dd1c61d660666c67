// SPDX-License-Identifier: Apache-2.0
// Rates on a device. A thread takes a unit: four elements that share a Philox counter, 16 apart;
// neighbouring threads take neighbouring elements. All it reads is asked for before any of it is
// used, so that a processor has enough loads in flight to be held up by nothing but its memory.
#include <cstdint>

#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_bits_kernel.h"
#include "entropy/reduce_cuda.cuh"
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
  Divisor units_of_row;
};

std::int64_t units_of_row(std::int64_t cols) { return (cols + kBlock - 1) / kBlock * kGroup; }

struct Unit {
  std::uint32_t row;
  std::uint32_t counter;
  std::int64_t col;   // of the first element
  std::int64_t left;  // columns from there on
};

template <class T>
__device__ Unit unit_at(const Latents<T>& in, std::uint32_t i) {
  Unit unit{};
  unit.row = in.units_of_row.divided(i, &unit.counter);
  unit.col = std::int64_t{unit.counter / kGroup} * kBlock + unit.counter % kGroup;
  unit.left = in.y.cols - unit.col;
  return unit;
}

__device__ bool has(const Unit& unit, int word) { return kGroup * word < unit.left; }

/// Where the unit's elements are in a matrix, kGroup apart.
template <class T>
__device__ T* at(const MatrixView<T>& m, const Unit& unit) {
  return m.data + unit.row * m.row_stride + unit.col;
}

template <class T>
__device__ void load(const MatrixView<const T>& m, const Unit& unit, float (&out)[kWords]) {
  const T* const from = at(m, unit);
#pragma unroll
  for (int w = 0; w < kWords; ++w) out[w] = has(unit, w) ? value(from[kGroup * w]) : 0.0F;
}

/// f(word, bin, raw scale) for the elements of a unit, also for those beyond the row.
template <bool kNoise, class T, class F>
__device__ void visit(const Latents<T>& in, const Unit& unit, F f) {
  float y[kWords];
  float mean[kWords];
  float scale[kWords];
  load(in.y, unit, y);
  load(in.mean, unit, mean);
  load(in.scale, unit, scale);
  std::uint32_t words[kWords] = {};
  if constexpr (kNoise) {
    const auto key = static_cast<std::uint64_t>(*in.seed);
    Kernel::philox(key, unit.row, unit.counter, 0U, words);
  }
#pragma unroll
  for (int w = 0; w < kWords; ++w) {
    const float noise = kNoise ? Kernel::centred(words[w]) : 0.0F;
    f(w, Kernel::bin<kNoise>(y[w], mean[w], scale[w], noise), scale[w]);
  }
}

template <class T>
struct BitsParams {
  Latents<T> in;
  std::int64_t units;
  MatrixView<float> bits;
};

template <class T, bool kNoise>
__global__ void __launch_bounds__(kThreads) bits_kernel(BitsParams<T> p) {
  for (std::int64_t i = first_index(); i < p.units; i += index_step()) {
    const Unit unit = unit_at(p.in, static_cast<std::uint32_t>(i));
    float* const to = at(p.bits, unit);
    visit<kNoise>(p.in, unit, [&](int w, const Kernel::Bin& bin, float) {
      const float bits = Kernel::bits_of(bin);
      if (has(unit, w)) to[kGroup * w] = bits;
    });
  }
}

/// Units of a block of totals_kernel: few, for pictures of a million latents to fill the device.
constexpr std::uint32_t kUnitsPerBlock = 2 * kThreads;

template <class T>
struct TotalsParams {
  Latents<T> in;
  std::uint32_t units_per_group;
  Divisor blocks_per_group;
  double* partial;
};

/// The bits of a unit. Its probabilities, bounded at 1, share a logarithm, as on the CPU.
template <bool kNoise, class T>
__device__ float bits_of_unit(const Latents<T>& in, const Unit& unit) {
  float product = 1.0F;
  visit<kNoise>(in, unit, [&](int w, const Kernel::Bin& bin, float) {
    product *= has(unit, w) ? entropy::VecCuda::min(1.0F, bin.probability) : 1.0F;
  });
  return (product - product) - Kernel::log2(product);  // log2 would lose a NaN
}

template <class T, bool kNoise>
__global__ void __launch_bounds__(kThreads) totals_kernel(TotalsParams<T> p) {
  std::uint32_t block;
  const std::uint32_t group = p.blocks_per_group.divided(blockIdx.x, &block);
  const std::uint32_t first = block * kUnitsPerBlock;
  const std::uint32_t left = p.units_per_group - first;
  const std::uint32_t begin = group * p.units_per_group + first;
  double mine = 0.0;
  for (std::uint32_t i = threadIdx.x; i < kUnitsPerBlock && i < left; i += kThreads) {
    mine += static_cast<double>(bits_of_unit<kNoise>(p.in, unit_at(p.in, begin + i)));
  }
  mine = entropy::of_block(mine, entropy::Sum{});
  if (threadIdx.x == 0) p.partial[blockIdx.x] = mine;
}

struct FinishParams {
  const double* partial;
  std::int64_t blocks_per_group;
  float* totals;
  std::int64_t groups;
};

/// A block for each group.
__global__ void __launch_bounds__(kThreads) finish_kernel(FinishParams p) {
  for (std::int64_t group = blockIdx.x; group < p.groups; group += gridDim.x) {
    const double* const partial = p.partial + group * p.blocks_per_group;
    double mine = 0.0;
    for (std::int64_t i = threadIdx.x; i < p.blocks_per_group; i += kThreads) mine += partial[i];
    mine = entropy::of_block(mine, entropy::Sum{});
    if (threadIdx.x == 0) p.totals[group] = static_cast<float>(mine);
  }
}

template <class T>
struct BackwardParams {
  Latents<T> in;
  std::int64_t units;
  MatrixView<const float> grad;
  bool each;              // a gradient for each element
  Divisor rows_per_grad;  // otherwise
  entropy::GaussianGradients<T> out;
};

template <class T, bool kNoise>
__global__ void __launch_bounds__(kThreads) backward_kernel(BackwardParams<T> p) {
  for (std::int64_t i = first_index(); i < p.units; i += index_step()) {
    const Unit unit = unit_at(p.in, static_cast<std::uint32_t>(i));
    float grad[kWords];
    if (p.each) {
      load(p.grad, unit, grad);
    } else {
      std::uint32_t rest;
      const std::uint32_t row = p.rows_per_grad.divided(unit.row, &rest);
      const float all = p.grad.data[row * p.grad.row_stride];
#pragma unroll
      for (int w = 0; w < kWords; ++w) grad[w] = all;
    }
    visit<kNoise>(p.in, unit, [&](int w, const Kernel::Bin& bin, float scale) {
      const Kernel::Slopes slopes = Kernel::slopes_of(bin, grad[w], scale);
      if (!has(unit, w)) return;
      const auto write = [&](const MatrixView<T>& m, float slope) {
        if (m.data != nullptr) put(at(m, unit) + kGroup * w, slope);
      };
      write(p.out.y, slopes.y);
      write(p.out.mean, -slopes.y);
      write(p.out.scale, slopes.scale);
    });
  }
}

template <class T>
Latents<T> checked(const char* op,
                   const entropy::GaussianLatents<T>& in,
                   const std::int64_t* seed) {
  entropy::check_shape(op, "mean", in.y, in.mean);
  entropy::check_shape(op, "scale", in.y, in.scale);
  const std::int64_t units = units_of_row(in.y.cols);
  return {in.y, in.mean, in.scale, seed, Divisor(op, units, in.y.rows * units)};
}

template <class T>
std::int64_t units_of(const Latents<T>& in) {
  return in.y.rows * units_of_row(in.y.cols);
}

struct Split {
  std::int64_t units_per_group;
  std::int64_t blocks_per_group;
};

Split split_of(std::int64_t rows, std::int64_t cols, std::int64_t groups) {
  const std::int64_t units = groups == 0 ? 0 : rows / groups * units_of_row(cols);
  return {units, (units + kUnitsPerBlock - 1) / kUnitsPerBlock};
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
  const std::int64_t units = units_of(latents);
  if (units == 0) return;
  launch(kOp,
         noise_seed != nullptr ? bits_kernel<T, true> : bits_kernel<T, false>,
         {grid_for(units), kThreads},
         stream,
         {latents, units, bits});
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
  const std::int64_t blocks = groups * split.blocks_per_group;
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  if (blocks > 0) {
    launch(kOp,
           noise_seed != nullptr ? totals_kernel<T, true> : totals_kernel<T, false>,
           {static_cast<unsigned>(blocks), kThreads},
           stream,
           {latents,
            static_cast<std::uint32_t>(split.units_per_group),
            Divisor(kOp, split.blocks_per_group, blocks),
            partial});
  }
  launch(kOp,
         finish_kernel,
         {grid_for(groups * kThreads), kThreads},
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
  const std::int64_t units = units_of(latents);
  if (units == 0) return;
  const std::int64_t rows_per_grad = each ? 1 : in.y.rows / grad.rows;
  launch(kOp,
         noise_seed != nullptr ? backward_kernel<T, true> : backward_kernel<T, false>,
         {grid_for(units), kThreads},
         stream,
         {latents, units, grad, each, Divisor(kOp, rows_per_grad, in.y.rows), out});
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

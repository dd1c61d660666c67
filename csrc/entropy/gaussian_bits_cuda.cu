// SPDX-License-Identifier: Apache-2.0
// Rates on a device.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_ahead_cuda.cuh"
#include "entropy/gaussian_units_cuda.cuh"
#include "entropy/reduce_cuda.cuh"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::Ahead;
using entropy::Bin;
using entropy::first_index;
using entropy::Foresight;
using entropy::grid_for;
using entropy::index_step;
using entropy::kThreads;
using entropy::kWords;
using entropy::Latents;
using entropy::load_each;
using entropy::load_packed;
using entropy::Packed;
using entropy::Quads;
using entropy::store;
using entropy::Unit;
using entropy::UnitGradients;
using entropy::units_of_row;
using entropy::Values;
using entropy::visit;
using Kernel = entropy::CudaBits;

/// Units of a thread: few, for the blocks of a picture of two million latents to be on the device
/// at a time.
constexpr std::uint32_t kUnitsPerThread = 4;
constexpr std::uint32_t kUnitsPerBlock = kUnitsPerThread * kThreads;

/// f(unit, values) for all units, in a grid of blocks of kUnitsPerBlock.
template <bool kNoise, class T, class F>
__device__ void over_grid(const Latents<T>& in, std::int64_t units, F f) {
  const auto step = static_cast<std::uint32_t>(index_step());
  entropy::each_unit<kNoise>(
      in, static_cast<std::uint32_t>(first_index()), static_cast<std::uint32_t>(units), step, f);
}

/// Blocks of a processor at a time: 32 warps. (The emulation ignores it.)
[[maybe_unused]] constexpr unsigned kResident = 4;

template <class T>
struct BitsParams {
  Latents<T> in;
  std::int64_t units;
  MatrixView<float> bits;
};

template <class T, bool kNoise>
__global__ void __launch_bounds__(kThreads, kResident) bits_kernel(BitsParams<T> p) {
  const std::uint64_t key = entropy::key_of<kNoise>(p.in);
  over_grid<kNoise>(p.in, p.units, [&](const Unit& unit, const Values<T>& values) {
    float bits[kWords];
    visit<kNoise>(key, unit, values, [&](int w, const Bin& bin, float) {
      bits[w] = Kernel::bits_of(bin.probability);
    });
    store<kNoise>(p.bits, unit, bits);
  });
}

template <class T>
struct TotalsParams {
  Latents<T> in;
  std::uint32_t units_per_group;
  Divisor blocks_per_group;
  double* partial;
  std::uint32_t* ticket;  // for the last block to add up the partial sums; or null
  float* total;
  Ahead<T> ahead;
};

/// By a block, in a fixed order.
__device__ void add_up(const double* partial, std::int64_t n, float* total) {
  double mine = 0.0;
  for (std::int64_t i = threadIdx.x; i < n; i += kThreads) mine += partial[i];
  mine = entropy::of_block(mine, entropy::Sum{});
  if (threadIdx.x == 0) *total = static_cast<float>(mine);
}

/// The bits of a unit, and its gradients where they are foreseen. Its probabilities, bounded at 1,
/// share a logarithm, as on the CPU.
template <bool kNoise, bool kAhead, class T>
__device__ float bits_of_unit(std::uint64_t key,
                              const Unit& unit,
                              const Values<T>& values,
                              const Ahead<T>& ahead) {
  float product = 1.0F;
  float foreseen = 0.0F;
  if constexpr (kAhead) foreseen = ahead.foreseen(unit);
  const bool wanted = kAhead && foreseen == foreseen;  // not NaN
  UnitGradients gradients;
  visit<kNoise>(key, unit, values, [&](int w, const Bin& bin, float scale) {
    product *= entropy::has<kNoise>(unit, w) ? entropy::VecCuda::min(1.0F, bin.probability) : 1.0F;
    if (wanted) gradients.find(w, bin, scale, foreseen);
  });
  if (wanted) gradients.template put<kNoise>(ahead.out, unit);
  return (product - product) - Kernel::log2(product);  // log2 would lose a NaN
}

template <class T, bool kNoise, bool kAhead>
__global__ void __launch_bounds__(kThreads, kResident) totals_kernel(TotalsParams<T> p) {
  if (kAhead && blockIdx.x == 0) p.ahead.foresight.note_used();
  std::uint32_t block;
  const std::uint32_t group = p.blocks_per_group.divided(blockIdx.x, &block);
  const std::uint32_t begin = block * kUnitsPerBlock;
  const std::uint32_t left = p.units_per_group - begin;
  const std::uint32_t first = group * p.units_per_group + begin;
  const std::uint32_t end = first + (left < kUnitsPerBlock ? left : kUnitsPerBlock);
  const std::uint64_t key = entropy::key_of<kNoise>(p.in);
  double mine = 0.0;
  entropy::each_unit<kNoise>(
      p.in, first + threadIdx.x, end, kThreads, [&](const Unit& unit, const Values<T>& values) {
        mine += static_cast<double>(bits_of_unit<kNoise, kAhead>(key, unit, values, p.ahead));
      });
  mine = entropy::of_block(mine, entropy::Sum{});
  if (threadIdx.x == 0) p.partial[blockIdx.x] = mine;
  if (p.ticket == nullptr) return;
  auto& is_last = block_shared<bool>();
  if (threadIdx.x == 0) {
    __threadfence();
    const unsigned most = gridDim.x - 1;
    is_last = atomicInc(p.ticket, most) == most;  // which leaves 0
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  add_up(p.partial, gridDim.x, p.total);
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
    add_up(p.partial + group * p.blocks_per_group, p.blocks_per_group, p.totals + group);
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
  Foresight foresight;
};

template <bool kNoise, class T>
__device__ Packed<float> gradient_at(const BackwardParams<T>& p, const Unit& unit) {
  if (p.each) {
    return unit.packed ? load_packed(p.grad, unit) : load_each<kNoise>(p.grad, unit);
  }
  std::uint32_t rest;
  const std::uint32_t row = p.rows_per_grad.divided(unit.row, &rest);
  const float all = p.grad.data[row * p.grad.row_stride];
  return {{all, all, all, all}};
}

template <class T, bool kNoise>
__global__ void __launch_bounds__(kThreads, kResident) backward_kernel(BackwardParams<T> p) {
  if (p.foresight.used != nullptr) {
    if (blockIdx.x == 0) p.foresight.remember(p.grad);
    if (p.foresight.fulfilled(p.grad)) return;
  }
  const std::uint64_t key = entropy::key_of<kNoise>(p.in);
  over_grid<kNoise>(p.in, p.units, [&](const Unit& unit, const Values<T>& values) {
    const Packed<float> grad = gradient_at<kNoise>(p, unit);
    UnitGradients gradients;
    visit<kNoise>(key, unit, values, [&](int w, const Bin& bin, float scale) {
      gradients.find(w, bin, scale, grad.values[w]);
    });
    gradients.template put<kNoise>(p.out, unit);
  });
}

template <class T>
Latents<T> checked(const char* op,
                   const entropy::GaussianLatents<T>& in,
                   const std::int64_t* seed) {
  entropy::check_shape(op, "mean", in.y, in.mean);
  entropy::check_shape(op, "scale", in.y, in.scale);
  const std::int64_t units = units_of_row(in.y.cols);
  const bool aligned =
      Quads::aligned_for(in.y) && Quads::aligned_for(in.mean) && Quads::aligned_for(in.scale);
  return {in.y, in.mean, in.scale, seed, Divisor(op, units, in.y.rows * units), aligned};
}

/// For a column of gradients.
Foresight checked(const char* op,
                  const GaussianForesight& foresight,
                  const MatrixView<const float>& grad) {
  if (foresight.used.empty()) return {};
  if (grad.cols != 1) fail_argument(op, "foresight", "none for a map of gradients", grad.cols);
  const auto n = static_cast<std::size_t>(grad.rows);
  entropy::check_size(op, "used", n, foresight.used.size());
  entropy::check_size(op, "state", 2 * n, foresight.state.size());
  float* const state = foresight.state.data();
  return {state, state + n, foresight.used.data(), static_cast<std::uint32_t>(n)};
}

template <class T>
Ahead<T> checked(const char* op, const GaussianAhead<T>& ahead, const MatrixView<const T>& like) {
  const std::int64_t n = ssize(ahead.foresight.used);
  if (n == 0) return {};
  const std::int64_t rows = entropy::rows_per_group(op, "used", like.rows, n);
  entropy::check_gradients(op, like, ahead.out);
  return {checked(op, ahead.foresight, MatrixView<const float>(nullptr, n, 1)),
          Divisor(op, rows, like.rows),
          ahead.out};
}

dim3 grid_of(std::int64_t units) {
  return grid_for((units + kUnitsPerThread - 1) / kUnitsPerThread);
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
  auto latents = checked(kOp, in, noise_seed);
  entropy::check_shape(kOp, "bits", in.y, bits);
  latents.aligned = latents.aligned && Quads::aligned_for(bits);
  const std::int64_t units = units_of(latents);
  if (units == 0) return;
  launch(kOp,
         noise_seed != nullptr ? bits_kernel<T, true> : bits_kernel<T, false>,
         {grid_of(units), kThreads},
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
                         std::uint32_t* ticket,
                         cudaStream_t stream,
                         const GaussianAhead<T>& ahead) {
  constexpr const char* kOp = "gaussian_total_bits";
  auto latents = checked(kOp, in, noise_seed);
  const std::int64_t groups = ssize(totals);
  static_cast<void>(entropy::rows_per_group(kOp, "totals", in.y.rows, groups));
  const std::size_t needed = gaussian_total_bits_workspace_bytes(in.y.rows, in.y.cols, groups);
  if (workspace.size() < needed) {
    fail_argument(kOp, "workspace", std::to_string(needed) + " bytes", workspace.size());
  }
  if (groups == 0) return;
  const Split split = split_of(in.y.rows, in.y.cols, groups);
  const std::int64_t blocks = groups * split.blocks_per_group;
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  if (groups > 1 || blocks == 0) ticket = nullptr;
  const Ahead<T> left = checked(kOp, ahead, in.y);
  const bool noisy = noise_seed != nullptr;
  auto* kernel = noisy ? totals_kernel<T, true, false> : totals_kernel<T, false, false>;
  if (left.foresight.used != nullptr) {
    kernel = noisy ? totals_kernel<T, true, true> : totals_kernel<T, false, true>;
    latents.aligned = latents.aligned && entropy::aligned_for(left.out);
  }
  if (blocks > 0) {
    launch(kOp,
           kernel,
           {static_cast<unsigned>(blocks), kThreads},
           stream,
           {latents,
            static_cast<std::uint32_t>(split.units_per_group),
            Divisor(kOp, split.blocks_per_group, blocks),
            partial,
            ticket,
            totals.data(),
            left});
  }
  if (ticket != nullptr) return;
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
                            cudaStream_t stream,
                            const GaussianForesight& foresight) {
  constexpr const char* kOp = "gaussian_bits_backward";
  auto latents = checked(kOp, in, noise_seed);
  const bool each = grad.rows == in.y.rows && grad.cols == in.y.cols;
  if (!each && grad.cols != 1) {
    fail_argument(kOp, "grad", "the shape of y, or one column", grad.cols);
  }
  const std::int64_t rows = each ? 1 : entropy::rows_per_group(kOp, "grad", in.y.rows, grad.rows);
  entropy::check_gradients(kOp, in.y, out);
  const Foresight counted = checked(kOp, foresight, grad);
  const std::int64_t units = units_of(latents);
  if (units == 0) return;
  latents.aligned =
      latents.aligned && (!each || Quads::aligned_for(grad)) && entropy::aligned_for(out);
  launch(kOp,
         noise_seed != nullptr ? backward_kernel<T, true> : backward_kernel<T, false>,
         {grid_of(units), kThreads},
         stream,
         {latents, units, grad, each, Divisor(kOp, rows, in.y.rows), out, counted});
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
                                  std::uint32_t*,
                                  cudaStream_t,
                                  const GaussianAhead<float>&);
template void gaussian_total_bits(const entropy::GaussianLatents<BFloat16>&,
                                  const std::int64_t*,
                                  std::span<float>,
                                  std::span<std::byte>,
                                  std::uint32_t*,
                                  cudaStream_t,
                                  const GaussianAhead<BFloat16>&);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const entropy::GaussianLatents<float>&,
                                     const std::int64_t*,
                                     const entropy::GaussianGradients<float>&,
                                     cudaStream_t,
                                     const GaussianForesight&);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const entropy::GaussianLatents<BFloat16>&,
                                     const std::int64_t*,
                                     const entropy::GaussianGradients<BFloat16>&,
                                     cudaStream_t,
                                     const GaussianForesight&);

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// Rows and symbols on a device: a thread for each quad, whose four searches of the bounds go on
// side by side.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/entropy_check.h"
#include "entropy/quads_cuda.cuh"
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
using entropy::Quad;
using entropy::Quads;

constexpr int kMaxBounds = 255;

struct SymbolsParams {
  Quads quads;
  entropy::GaussianLatents<float> in;  // y without data: rows alone
  const float* bounds;
  int n_bounds;
  int span;  // a power of two above n_bounds
  MatrixView<std::int32_t> symbols;
  MatrixView<std::uint8_t> rows;
};

/// The bounds' bits, which are ordered as they are; the largest number beyond them.
__device__ void load_bounds(const SymbolsParams& p, std::uint32_t* bounds) {
  for (int i = static_cast<int>(threadIdx.x); i < p.span; i += static_cast<int>(kThreads)) {
    bounds[i] = i < p.n_bounds ? __float_as_uint(p.bounds[i]) : 0xFFFFFFFFU;
  }
  __syncthreads();
}

__device__ Packed<std::uint8_t> rows_of(const Packed<float>& scale,
                                        const std::uint32_t* bounds,
                                        int span) {
  std::uint32_t bits[kQuad];
  int below[kQuad] = {};
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    const std::uint32_t raw = __float_as_uint(scale.values[i]);
    bits[i] = raw > 0x7F800000U ? 0U : raw;  // NaN and negative ones: row 0
  }
  for (int half = span / 2; half > 0; half /= 2) {
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
      if (bounds[below[i] + half - 1] < bits[i]) below[i] += half;
    }
  }
  Packed<std::uint8_t> rows;
#pragma unroll
  for (int i = 0; i < kQuad; ++i) rows.values[i] = static_cast<std::uint8_t>(below[i]);
  return rows;
}

__global__ void __launch_bounds__(kThreads) symbols_kernel(SymbolsParams p) {
  auto& bounds = block_shared<std::uint32_t[kMaxBounds + 1]>();
  load_bounds(p, bounds);
  for (std::int64_t i = first_index(); i < p.quads.all; i += index_step()) {
    const Quad quad = entropy::quad_at(p.quads, i);
    const Packed<float> scale = load(p.in.scale, quad, 0.0F);
    if (p.in.y.data != nullptr) {
      const Packed<float> y = load(p.in.y, quad, 0.0F);
      const Packed<float> mean = load(p.in.mean, quad, 0.0F);
      Packed<std::int32_t> symbols;
#pragma unroll
      for (int j = 0; j < kQuad; ++j) {
        // half to even; 0 for NaN, the nearest int32 for what is out of range
        symbols.values[j] = __float2int_rn(y.values[j] - mean.values[j]);
      }
      store(p.symbols, quad, symbols);
    }
    store(p.rows, quad, rows_of(scale, bounds, p.span));
  }
}

void run(const char* op, SymbolsParams p, std::span<const float> bounds, cudaStream_t stream) {
  if (ssize(bounds) > kMaxBounds) {
    fail_argument(op, "bounds", "at most 255 values", bounds.size());
  }
  if (p.quads.all == 0) return;
  p.bounds = bounds.data();
  p.n_bounds = static_cast<int>(bounds.size());
  for (p.span = 1; p.span <= p.n_bounds;) p.span *= 2;
  launch(op, symbols_kernel, {grid_for(p.quads.all), kThreads}, stream, p);
}

}  // namespace

void gaussian_rows(MatrixView<const float> scale,
                   std::span<const float> bounds,
                   MatrixView<std::uint8_t> rows,
                   cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_rows";
  entropy::check_shape(kOp, "rows", scale, rows);
  const Quads quads = Quads(kOp, scale.rows, scale.cols).with(scale).with(rows);
  run(kOp, {quads, {{}, {}, scale}, nullptr, 0, 0, {}, rows}, bounds, stream);
}

void gaussian_symbols(const entropy::GaussianLatents<float>& in,
                      std::span<const float> bounds,
                      MatrixView<std::int32_t> symbols,
                      MatrixView<std::uint8_t> rows,
                      cudaStream_t stream) {
  constexpr const char* kOp = "gaussian_symbols";
  entropy::check_shape(kOp, "mean", in.y, in.mean);
  entropy::check_shape(kOp, "scale", in.y, in.scale);
  entropy::check_shape(kOp, "symbols", in.y, symbols);
  entropy::check_shape(kOp, "rows", in.y, rows);
  Quads quads(kOp, in.y.rows, in.y.cols);
  quads.with(in.y).with(in.mean).with(in.scale).with(symbols).with(rows);
  run(kOp, {quads, in, nullptr, 0, 0, symbols, rows}, bounds, stream);
}

}  // namespace glc::cuda

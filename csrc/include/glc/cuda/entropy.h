// SPDX-License-Identifier: Apache-2.0
//
// The entropy ops on a CUDA device: as glc/entropy.h and glc/four_part.h, on device memory of the
// current device and the caller's. Nothing is allocated, nothing waits, every call may be captured
// in a CUDA graph. Shapes are checked; values cannot be without waiting, so where the CPU refuses a
// value the result is defined instead:
//   a residual that is NaN gives symbol 0, one out of range the nearest int32; a row of logits that
//   holds a value that is not finite gives the cdf of equal logits. Bounds are taken as they are.
// Rows, symbols, cdfs and the four-part step give the same bits as on the CPU; rates are estimates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <cuda_runtime_api.h>

#include "glc/entropy.h"
#include "glc/four_part.h"

namespace glc::cuda {

/// noise_seed is one int64 on the device, or null: round. The noise is the CPU's.
template <class T>
void gaussian_bits(const entropy::GaussianLatents<T>& in,
                   const std::int64_t* noise_seed,
                   MatrixView<float> bits,
                   cudaStream_t stream);

/// How a forward pass comes to count on the gradient of its bits without waiting for it: on one
/// that came in the last two backward passes with this state, if it is not 0.
///   state [2 n] f32, NaN at first, of one stream's calls · used [n] f32, what a forward pass
///   counted on, written by it and read by its backward pass; n a divisor of rows
/// Empty: nothing is foreseen.
struct GaussianForesight {
  std::span<float> state;
  std::span<float> used;
};

/// What a forward pass leaves for its backward pass: gradients for the bits' foreseen one, where
/// there is one.
template <class T>
struct GaussianAhead {
  GaussianForesight foresight;
  entropy::GaussianGradients<T> out;
};

/// Bytes of scratch for gaussian_total_bits.
[[nodiscard]] std::size_t gaussian_total_bits_workspace_bytes(std::int64_t rows,
                                                              std::int64_t cols,
                                                              std::int64_t groups);

/// Sums in a fixed order; workspace 8-byte aligned. ticket, which may be null, is 0 before and
/// after, and no two calls that may run at a time have the same: with one, a single total takes a
/// single launch.
template <class T>
void gaussian_total_bits(const entropy::GaussianLatents<T>& in,
                         const std::int64_t* noise_seed,
                         std::span<float> totals,
                         std::span<std::byte> workspace,
                         std::uint32_t* ticket,
                         cudaStream_t stream,
                         const GaussianAhead<T>& ahead = {});

/// With the foresight of the forward pass that got `out` to leave gradients in, grad being a
/// column: computes only what is not there already.
template <class T>
void gaussian_bits_backward(MatrixView<const float> grad,
                            const entropy::GaussianLatents<T>& in,
                            const std::int64_t* noise_seed,
                            const entropy::GaussianGradients<T>& out,
                            cudaStream_t stream,
                            const GaussianForesight& foresight = {});

void gaussian_rows(MatrixView<const float> scale,
                   std::span<const float> bounds,
                   MatrixView<std::uint8_t> rows,
                   cudaStream_t stream);

void gaussian_symbols(const entropy::GaussianLatents<float>& in,
                      std::span<const float> bounds,
                      MatrixView<std::int32_t> symbols,
                      MatrixView<std::uint8_t> rows,
                      cudaStream_t stream);

void four_part_step(const entropy::FourPartShape& shape,
                    int part,
                    const entropy::FourPartStepMaps& maps,
                    cudaStream_t stream);

void four_part_merge(const entropy::FourPartShape& shape,
                     const entropy::FourPartMergeMaps& maps,
                     cudaStream_t stream);

void four_part_spread(const entropy::FourPartShape& shape,
                      const entropy::FourPartSpreadMaps& maps,
                      cudaStream_t stream);

void four_part_pick(const entropy::FourPartShape& shape,
                    int part,
                    MatrixView<const float> map,
                    std::span<float> picked,
                    cudaStream_t stream);

void four_part_put(const entropy::FourPartShape& shape,
                   int part,
                   std::span<const std::int32_t> symbols,
                   std::span<const float> mean,
                   MatrixView<float> y_hat,
                   cudaStream_t stream);

/// An index out of range costs NaN, and moves no gradient to a column.
template <class T>
void categorical_bits(MatrixView<const T> logits,
                      std::span<const std::int64_t> index,
                      std::span<float> bits,
                      MatrixView<float> norms,
                      cudaStream_t stream);

/// Sums in a fixed order. Where all share a row, its columns each read the n indices.
template <class T>
void categorical_bits_backward(std::span<const float> grad,
                               MatrixView<const T> logits,
                               std::span<const std::int64_t> index,
                               MatrixView<const float> norms,
                               MatrixView<T> grad_logits,
                               cudaStream_t stream);

void categorical_cdf(MatrixView<const float> logits,
                     std::int32_t bits,
                     MatrixView<std::int32_t> cdf,
                     cudaStream_t stream);

}  // namespace glc::cuda

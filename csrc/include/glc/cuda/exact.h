// SPDX-License-Identifier: Apache-2.0
// The layers of glc/exact.h on a CUDA device, with the same bits. All pointers and views are device
// memory unless said; nothing is allocated, and no call waits for the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <cuda_runtime_api.h>

#include "glc/exact.h"

namespace glc::cuda {

/// The channels whose weights are the columns of a matrix for the kernels, in order; a few come
/// twice, to fill up, and are not used.
///   n output channels · gated: for exact_gated_conv, n even
[[nodiscard]] std::vector<std::int64_t> exact_columns(std::int64_t n, bool gated);

/// That matrix, [k][columns] with k over (tap row, tap column, input channel), from weight
/// [out_channels, in_channels, kernel, kernel]; both on the host.
[[nodiscard]] std::vector<float> exact_k_major(std::span<const float> weight,
                                               std::int64_t in_channels,
                                               std::int64_t kernel,
                                               std::span<const std::int64_t> columns);

/// out = residual + shuffle(LeakyReLU(convolution(x))), as Conv::run.
///   weight as from exact_k_major, 16-byte aligned · bias [out_channels] · kernel 1 or 3
/// Throws InvalidArgument, CudaError.
void exact_conv2d(exact::MapView<const float> x,
                  std::span<const float> weight,
                  std::span<const float> bias,
                  std::int64_t kernel,
                  const exact::Conv::Options& options,
                  exact::MapView<float> out,
                  cudaStream_t stream);

/// out = u * LeakyReLU(v) for (u, v), the halves by channel of a 1x1 convolution of x.
///   weight as from exact_k_major, with gated columns, 16-byte aligned · bias [2 c] · out [n, c, h,
///   w], written
/// Throws InvalidArgument, CudaError.
void exact_gated_conv(exact::MapView<const float> x,
                      std::span<const float> weight,
                      std::span<const float> bias,
                      float slope,
                      exact::MapView<float> out,
                      cudaStream_t stream);

/// As exact::depthwise3x3.
/// Throws InvalidArgument, CudaError.
void exact_depthwise3x3(exact::MapView<const float> x,
                        std::span<const float> weight,
                        std::span<const float> bias,
                        exact::MapView<float> out,
                        cudaStream_t stream);

}  // namespace glc::cuda

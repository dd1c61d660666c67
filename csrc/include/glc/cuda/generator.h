// SPDX-License-Identifier: Apache-2.0
// What lies between the convolutions of the picture networks, on a CUDA device. These only draw:
// their bits may differ from other devices', but not from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <cuda_runtime_api.h>

#include "glc/bfloat16.h"
#include "glc/float16.h"

namespace glc::cuda {

/// A map in channels_last order: [samples, pixels, channels].
struct NormShape {
  std::int64_t samples;
  std::int64_t pixels;
  std::int64_t channels;
  std::int64_t groups;  ///< of equally many channels
  /// 0, or the width w of a map whose x is in phases: [samples, h / 2 + 1, w / 2 + 1, 4, channels],
  /// where pixel (r, c) is number 2 (r % 2) + c % 2 at row (r + 1) / 2, column (c + 1) / 2.
  std::int64_t phases_width = 0;
};

/// The tensors of one normalisation, all on the device and dense, the maps 16-byte aligned; T is
/// float, BFloat16 or Float16.
template <class T>
struct NormTensors {
  std::span<const T> x;            ///< of the shape, or in phases
  std::span<const float> offset;   ///< [channels], added to x; empty for none
  std::span<const T> residual;     ///< of the shape, added to x; empty for none
  std::span<const float> weight;   ///< [channels]
  std::span<const float> bias;     ///< [channels]
  std::span<T> sum;                ///< of the shape, x + offset + residual, written; empty for none
  std::span<T> out;                ///< of the shape, written
  std::span<std::byte> workspace;  ///< group_norm_workspace_bytes, 16-byte aligned
};

/// Bytes of device memory that group_norm needs beside its arguments.
std::size_t group_norm_workspace_bytes(std::int64_t samples, std::int64_t groups);

/// out = GroupNorm(x + offset + residual), then SiLU if asked. Mean and variance are sums in a
/// fixed order; every other operation is one in float32. Whole vectors of 16 bytes hold channels of
/// one pixel: channels is a multiple of 4 (float) or 8 (BFloat16), and at most 1024 or 2048. sum
/// may not be x or residual, out may be x. Where a residual is given or x is in phases, sum has
/// to be too. Only puts work on the stream: never waits, never allocates, may be captured into a
/// graph. Throws InvalidArgument when sizes disagree, CudaError when a kernel does not start.
template <class T>
void group_norm(const NormShape& shape,
                const NormTensors<T>& tensors,
                float eps,
                bool silu,
                cudaStream_t stream);

}  // namespace glc::cuda

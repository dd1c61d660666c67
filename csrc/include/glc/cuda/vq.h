// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <cuda_runtime_api.h>

#include "glc/views.h"

namespace glc::cuda {

/// Bytes of device memory that vq_nearest needs beside its arguments.
std::size_t vq_nearest_workspace_bytes(std::int64_t n, std::int64_t k, std::int64_t d);

/// As glc::vq_nearest, index for index, on the current device; all memory is the device's.
///   latents [n, d] f32, contiguous · codebook [k, d] f32, contiguous, k >= 1 · indices [n] i32
///   workspace: vq_nearest_workspace_bytes(n, k, d), 256-byte aligned
/// Only puts work on the stream: never waits, never allocates, may be captured into a graph.
/// Throws InvalidArgument when shapes disagree, CudaError when a kernel does not start.
void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices,
                std::span<std::byte> workspace,
                cudaStream_t stream);

}  // namespace glc::cuda

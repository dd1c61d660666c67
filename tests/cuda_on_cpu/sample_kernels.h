// SPDX-License-Identifier: Apache-2.0
//
// Small kernels that use what ours use; the self-test runs them, and nvcc compiles them.
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

namespace glc::cuda::samples {

inline constexpr int kTile = 128;

/// Moves the entries of in [n] that are not zero to the front of their tile of kTile, in order;
/// counts[tile] says how many they are.
void compact(
    const std::int32_t* in, int n, std::int32_t* out, std::int32_t* counts, cudaStream_t stream);

/// Adds the histogram of in [n] to histogram [256].
void histogram(const std::uint8_t* in, int n, std::uint32_t* histogram, cudaStream_t stream);

/// out = sum of in [n], in a fixed order of additions: one block, last block done by a counter.
/// partial [n_blocks] and counter [1], zero, are scratch.
void sum(const float* in,
         int n,
         float* out,
         float* partial,
         std::uint32_t* counter,
         int n_blocks,
         cudaStream_t stream);

}  // namespace glc::cuda::samples

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "glc/views.h"

namespace glc {

/// Bytes of scratch memory vq_nearest needs for n latents against k codes of d values.
std::size_t vq_nearest_workspace_bytes(std::int64_t n, std::int64_t k, std::int64_t d);

/// indices[i] = the codebook row nearest to latents[i]. Normative, identical everywhere:
///   half_j = fma(c_j0, c_j0, 0), then fma(c_jt, c_jt, half_j) for t = 1 .. d-1, times -0.5
///   score_ij = fma(l_i0, c_j0, half_j), then fma(l_it, c_jt, score_ij) for t = 1 .. d-1
///   the largest score wins, the smallest j among equals (so |l - c|^2 is least, up to rounding)
/// A latent whose scores are all NaN or -inf gets row 0.
///   latents [n, d] f32 · codebook [k, d] f32, k >= 1, rows contiguous · indices [n] i32, written
///   workspace: at least vq_nearest_workspace_bytes(n, k, d), aligned for float
/// Throws InvalidArgument when shapes disagree. Never allocates; n == 0 is a no-op.
void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices,
                std::span<std::byte> workspace);

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
// Between the drivers: how a part of a search is described, and its way in float.
#pragma once

#include <cstdint>
#include <span>

#include "glc/views.h"

namespace glc {

/// Rows that a task searches at once: few enough for their panels to stay in the second-level
/// cache, many enough that the codebook is read seldom.
inline constexpr std::int64_t kVqChunkRows = 256;

/// Some latents against the codes first .. last - 1.
struct VqPart {
  std::span<const float* const> latents;  // at most kVqChunkRows
  MatrixView<const float> codebook;
  const float* half_norms;  // [k]
  std::int64_t first;
  std::int64_t last;
};

/// The largest score of the part and the smallest code that has it; -inf and 0 where no score is
/// larger than -inf.
struct VqBest {
  float* score;         // [latents]
  std::int32_t* index;  // [latents]
};

void vq_exact_part(const VqPart& part, const VqBest& best);

}  // namespace glc

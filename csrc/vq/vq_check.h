// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "core/check.h"
#include "glc/views.h"

namespace glc {

inline void check_vq_codebook(MatrixView<const float> codebook) {
  if (codebook.rows < 1 || codebook.rows > std::numeric_limits<std::int32_t>::max()) {
    fail_argument("vq_nearest", "codebook", "1 to 2^31 - 1 rows", codebook.rows);
  }
}

/// The contract of vq_nearest, shared by every backend.
inline void check_vq_nearest(MatrixView<const float> latents,
                             MatrixView<const float> codebook,
                             std::span<const std::int32_t> indices) {
  constexpr const char* kOp = "vq_nearest";
  check_vq_codebook(codebook);
  if (latents.cols != codebook.cols) {
    fail_argument(kOp,
                  "latents",
                  "the codebook's " + std::to_string(codebook.cols) + " columns",
                  latents.cols);
  }
  if (ssize(indices) != latents.rows) {
    fail_argument(kOp, "indices", std::to_string(latents.rows) + " elements", ssize(indices));
  }
}

}  // namespace glc

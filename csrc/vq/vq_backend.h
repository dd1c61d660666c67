// SPDX-License-Identifier: Apache-2.0
// What the drivers call: one instruction set's kernels behind function pointers.
#pragma once

#include <cstdint>

#include "vq/vq_kernel.h"
#include "vq/vq_screen_kernel.h"

namespace glc {

struct VqExactBackend {
  std::int64_t panel_rows;
  std::int64_t codes;  // of a group
  void (*block)(const VqBlockParams&);
  void (*pair_scores)(const VqPairParams&);
  void (*half_norms)(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
};

struct VqScreenBackend {
  std::int64_t width;   // rows that are quantised at a time
  std::int64_t codes;   // of a group
  std::int32_t levels;  // latents are integers within +-levels, and stored with `offset` added
  std::int32_t offset;
  void (*quantise)(const VqQuantiseParams&);
  void (*screen)(const VqScreenParams&);
  bool pays = true;  // unasked: quicker than the float way
};

struct VqBackend {
  VqExactBackend exact;
  VqScreenBackend screen;
};

template <class Vec>
VqExactBackend vq_exact_backend_of() {
  using Kernel = VqKernel<Vec>;
  return {.panel_rows = Kernel::kPanelRows,
          .codes = Vec::kCodes,
          .block = &Kernel::block,
          .pair_scores = &Kernel::pair_scores,
          .half_norms = &Kernel::half_norms};
}

template <class Vec>
VqScreenBackend vq_screen_backend_of() {
  using Kernel = VqScreenKernel<Vec>;
  return {.width = Vec::kWidth,
          .codes = Vec::kScreenCodes,
          .levels = Vec::kLevels,
          .offset = Vec::kOffset,
          .quantise = &Kernel::quantise,
          .screen = &Kernel::screen};
}

VqBackend vq_backend_portable();
VqBackend vq_backend_avx2();
VqExactBackend vq_exact_backend_avx512();
VqScreenBackend vq_screen_backend_vnni();
VqBackend vq_backend_neon();
VqScreenBackend vq_screen_backend_neondot();

/// The one in force, chosen on first use.
const VqBackend& vq_backend();

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
// Compiled with the dot product of bytes: include nothing here with inline functions that other
// files share.
#include "vq/vec_vq_neon.h"
#include "vq/vq_backend.h"

namespace glc {
namespace {

struct NeonDot : Neon {
  struct Word {
    int8x8_t lane;
  };
  static Word word(std::int32_t v) {
    return {vreinterpret_s8_s32(vset_lane_s32(v, vdup_n_s32(0), 0))};
  }
  static int32x4_t dot4(int32x4_t sum, int32x4_t latents, int8x8_t codes) {
    return vdotq_lane_s32(sum, vreinterpretq_s8_s32(latents), codes, 0);
  }
  static Int dot4(Int sum, Int latents, Word codes) {
    return {dot4(sum.low, latents.low, codes.lane), dot4(sum.high, latents.high, codes.lane)};
  }
};

}  // namespace

VqScreenBackend vq_screen_backend_neondot() { return vq_screen_backend_of<NeonDot>(); }

}  // namespace glc

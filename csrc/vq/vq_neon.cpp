// SPDX-License-Identifier: Apache-2.0
#include "vq/vec_vq_neon.h"
#include "vq/vq_backend.h"

namespace glc {
namespace {

struct NeonPairs : Neon {
  static constexpr int kScreenCodes = 4;  // what a product needs on the way takes registers
  static Int word(std::int32_t v) { return broadcast_int(v); }
  static int32x4_t dot4(int32x4_t sum, int32x4_t latents, int32x4_t codes) {
    const int8x16_t a = vreinterpretq_s8_s32(latents);
    const int8x16_t b = vreinterpretq_s8_s32(codes);
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    const int16x8_t high = vmull_high_s8(a, b);
    return vpadalq_s16(sum, vpaddq_s16(low, high));  // two products of 127 * 127 fit 16 bits
  }
  static Int dot4(Int sum, Int latents, Int codes) {
    return {dot4(sum.low, latents.low, codes.low), dot4(sum.high, latents.high, codes.high)};
  }
};

}  // namespace

VqBackend vq_backend_neon() {
  VqBackend out = {.exact = vq_exact_backend_of<NeonPairs>(),
                   .screen = vq_screen_backend_of<NeonPairs>()};
  // Four vector instructions make 16 products, as in float, where nothing is scored twice.
  out.screen.pays = false;
  return out;
}

}  // namespace glc

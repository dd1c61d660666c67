// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX-512 and VNNI: include nothing here with inline functions that other files
// share.
#include "vq/vec_vq_avx512.h"
#include "vq/vq_backend.h"

namespace glc {
namespace {

struct Vnni : Avx512 {
  static Int dot4(Int sum, Int latents, Int codes) {
    // The intrinsic, but GCC 12 copies each sum to another register and back around it.
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(latents), "v"(codes));
    return sum;
  }
};

}  // namespace

VqScreenBackend vq_screen_backend_vnni() { return vq_screen_backend_of<Vnni>(); }

}  // namespace glc

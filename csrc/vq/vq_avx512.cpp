// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX-512: include nothing here with inline functions that other files share.
#include "vq/vec_vq_avx512.h"
#include "vq/vq_backend.h"

namespace glc {

VqExactBackend vq_exact_backend_avx512() { return vq_exact_backend_of<Avx512>(); }

}  // namespace glc

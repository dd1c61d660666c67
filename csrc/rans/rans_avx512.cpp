// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX-512: include nothing here with inline functions that other files share.
#include "rans/rans_simd.h"
#include "rans/vec_avx512.h"

namespace glc::rans {

RansBackend rans_backend_avx512() { return RansSimd<Avx512>::backend(); }

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
// Compiled with AVX2: include nothing here with inline functions that other files share.
#include "rans/rans_simd.h"
#include "rans/vec_avx2.h"

namespace glc::rans {

RansBackend rans_backend_avx2() { return RansSimd<Avx2>::backend(); }

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
#include "rans/rans_simd.h"
#include "rans/vec_neon.h"

namespace glc::rans {

RansBackend rans_backend_neon() { return RansSimd<Neon>::backend(); }

}  // namespace glc::rans

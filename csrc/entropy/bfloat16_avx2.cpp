// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/bfloat16_kernel.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

BFloat16Backend bfloat16_avx2() { return BFloat16Backend::of<VecAvx2>(); }

}  // namespace glc::entropy

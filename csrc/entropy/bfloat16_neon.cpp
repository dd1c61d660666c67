// SPDX-License-Identifier: Apache-2.0
#include "entropy/bfloat16_kernel.h"
#include "entropy/vec_neon.h"

namespace glc::entropy {

BFloat16Backend bfloat16_neon() { return BFloat16Backend::of<VecNeon>(); }

}  // namespace glc::entropy

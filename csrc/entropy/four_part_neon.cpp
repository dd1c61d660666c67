// SPDX-License-Identifier: Apache-2.0
#include "entropy/four_part_kernel.h"
#include "entropy/vec_neon.h"

namespace glc::entropy {

FourPartBackend four_part_neon() { return FourPartBackend::of<VecNeon>(); }

}  // namespace glc::entropy

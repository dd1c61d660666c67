// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/four_part_kernel.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

FourPartBackend four_part_avx2() { return FourPartBackend::of<VecAvx2>(); }

}  // namespace glc::entropy

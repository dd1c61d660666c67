// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/four_part_kernel.h"
#include "entropy/vec_avx512.h"

namespace glc::entropy {

FourPartBackend four_part_avx512() { return FourPartBackend::of<VecAvx512>(); }

}  // namespace glc::entropy

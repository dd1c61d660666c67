// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/gaussian_symbols_kernel.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

RoundResiduals round_residuals_avx2() { return &round_residuals<VecAvx2>; }

}  // namespace glc::entropy

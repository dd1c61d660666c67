// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/gaussian_symbols_kernel.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

GaussianSymbolsBackend gaussian_symbols_avx2() { return GaussianSymbolsKernel<VecAvx2>::backend(); }

}  // namespace glc::entropy

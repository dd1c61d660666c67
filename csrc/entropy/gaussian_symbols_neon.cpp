// SPDX-License-Identifier: Apache-2.0
#include "entropy/gaussian_symbols_kernel.h"
#include "entropy/vec_neon.h"

namespace glc::entropy {

GaussianSymbolsBackend gaussian_symbols_neon() { return GaussianSymbolsKernel<VecNeon>::backend(); }

}  // namespace glc::entropy

// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/categorical_kernel.h"
#include "entropy/vec_avx512.h"

namespace glc::entropy {

CategoricalBackend categorical_avx512() { return CategoricalBackend::of<VecAvx512>(); }

}  // namespace glc::entropy

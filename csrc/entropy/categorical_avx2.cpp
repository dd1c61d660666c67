// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/categorical_kernel.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

CategoricalBackend categorical_avx2() { return CategoricalBackend::of<VecAvx2>(); }

}  // namespace glc::entropy

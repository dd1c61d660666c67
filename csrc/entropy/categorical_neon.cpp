// SPDX-License-Identifier: Apache-2.0
#include "entropy/categorical_kernel.h"
#include "entropy/vec_neon.h"

namespace glc::entropy {

CategoricalBackend categorical_neon() { return CategoricalBackend::of<VecNeon>(); }

}  // namespace glc::entropy

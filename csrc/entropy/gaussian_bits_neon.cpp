// SPDX-License-Identifier: Apache-2.0
#include "entropy/gaussian_bits_loops.h"
#include "entropy/vec_neon.h"

namespace glc::entropy {

GaussianBitsBackend gaussian_bits_neon() { return GaussianBitsBackend::of<VecNeon>(); }

}  // namespace glc::entropy

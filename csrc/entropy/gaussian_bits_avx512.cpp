// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/gaussian_bits_loops.h"
#include "entropy/vec_avx512.h"

namespace glc::entropy {

GaussianBitsBackend gaussian_bits_avx512() { return GaussianBitsBackend::of<VecAvx512>(); }

}  // namespace glc::entropy

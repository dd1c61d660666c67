// SPDX-License-Identifier: Apache-2.0
// Compiled for one instruction set: include nothing here with inline functions that others share.
#include "entropy/gaussian_bits_loops.h"
#include "entropy/vec_avx2.h"

namespace glc::entropy {

GaussianBitsBackend gaussian_bits_avx2() { return GaussianBitsBackend::of<VecAvx2>(); }

}  // namespace glc::entropy

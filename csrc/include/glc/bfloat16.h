// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace glc {

/// The upper half of a float. A type of its own, so that it is not taken for an integer.
struct BFloat16 {
  std::uint16_t bits;
};

}  // namespace glc

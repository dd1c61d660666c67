// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace glc {

/// IEEE binary16. A type of its own, so that it is not taken for an integer.
struct Float16 {
  std::uint16_t bits;
};

}  // namespace glc

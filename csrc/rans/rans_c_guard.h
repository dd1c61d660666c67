// SPDX-License-Identifier: Apache-2.0
//
// What the functions of the coder's C interface share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/c_interface.h"
#include "glc/rans.h"
#include "glc/rans_c.h"

struct glc_rans_tables {
  glc::rans::TableSet set;
};
struct glc_rans_encoder {
  glc::rans::Encoder encoder;
};
struct glc_rans_decoder {
  glc::rans::Decoder decoder;
};

static_assert(glc::c::kInternalError == GLC_RANS_INTERNAL_ERROR);

namespace glc::rans::c {

using glc::c::array;
using glc::c::create;
using glc::c::destroy;
using glc::c::guarded;
using glc::c::object;

/// The rows of n symbols. Throws InvalidArgument.
Rows rows_of(const glc_rans_rows& rows, std::size_t n);

/// a + b * c, or SIZE_MAX where that does not fit.
inline std::size_t saturating(std::size_t a, std::size_t b, std::size_t c) {
  if (c != 0 && b > (SIZE_MAX - a) / c) return SIZE_MAX;
  return a + b * c;
}

}  // namespace glc::rans::c

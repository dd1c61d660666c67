// SPDX-License-Identifier: Apache-2.0
//
// Checks of arguments that the entry points of the CUDA coder share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "glc/error.h"
#include "rans/rows_visit.h"

namespace glc::cuda {

inline void require_aligned(const void* pointer, std::size_t align, const char* argument) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % align != 0) {
    throw InvalidArgument(std::string("rans: ") + argument +
                          ": expected device memory aligned to " + std::to_string(align) +
                          " bytes");
  }
}

inline void require_room(std::size_t bytes, std::size_t wanted, const char* argument) {
  if (bytes < wanted) {
    throw InvalidArgument(std::string("rans: ") + argument + ": expected at least " +
                          std::to_string(wanted) + " bytes, got " + std::to_string(bytes));
  }
}

/// Calls f with device rows [n] and 0, or with null and the one row.
template <class F>
void visit_device_rows(const rans::Rows& rows, F f) {
  rans::visit_rows(rows, [&]<class Row>(const Row* typed) {
    if constexpr (std::is_same_v<Row, rans::OneRow>) {
      f(static_cast<const Row*>(nullptr), typed->row);
    } else {
      f(typed, std::uint32_t{0});
    }
  });
}

}  // namespace glc::cuda

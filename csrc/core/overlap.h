// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "glc/error.h"

namespace glc {

/// Throws InvalidArgument(`message`) where `out` shares memory with `in`. For what is read again
/// after some of out was written: rows that were checked would then be others.
template <class In, class Out>
void require_apart(std::span<const In> in, std::span<Out> out, const char* message) {
  const auto in_bytes = std::as_bytes(in);
  const auto out_bytes = std::as_bytes(out);
  const std::less<> before;  // total, also for pointers into different arrays
  if (!in.empty() && !out.empty() && before(in_bytes.data(), out_bytes.data() + out_bytes.size()) &&
      before(out_bytes.data(), in_bytes.data() + in_bytes.size())) {
    throw InvalidArgument(message);
  }
}

}  // namespace glc

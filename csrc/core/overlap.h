// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "glc/error.h"

namespace glc {

/// Throws InvalidArgument(`message`) where `out` shares memory with `in`. For what is read again
/// after some of out was written: rows that were checked would then be others.
template <class In, class Out>
void require_apart(std::span<const In> in, std::span<Out> out, const char* message) {
  // numbers, as an end that is as far away as its caller says may be no address
  const auto in_at = reinterpret_cast<std::uintptr_t>(in.data());
  const auto out_at = reinterpret_cast<std::uintptr_t>(out.data());
  const bool shared =
      in_at < out_at ? out_at - in_at < in.size_bytes() : in_at - out_at < out.size_bytes();
  if (!in.empty() && !out.empty() && shared) {
    throw InvalidArgument(message);
  }
}

}  // namespace glc

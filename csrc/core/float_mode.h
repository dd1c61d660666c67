// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace glc {

/// While it lives, the calling thread computes floats as IEEE 754 says: denormals are kept, to
/// nearest even, no traps. A program may have asked its threads to flush denormals to zero
/// (torch.set_flush_denormal, a library built with unsafe math flags), and new threads inherit
/// that.
class IeeeFloats {
 public:
  IeeeFloats();
  ~IeeeFloats();
  IeeeFloats(const IeeeFloats&) = delete;
  IeeeFloats& operator=(const IeeeFloats&) = delete;

 private:
  std::uint64_t before_;
};

}  // namespace glc

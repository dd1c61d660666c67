// SPDX-License-Identifier: Apache-2.0
#include "core/float_mode.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

namespace glc {
namespace {

#if defined(__x86_64__) || defined(_M_X64)
constexpr std::uint64_t kIeee = 0x1F80;  // MXCSR: all exceptions masked, to nearest, no FTZ, no DAZ

std::uint64_t mode() { return _mm_getcsr(); }
void set_mode(std::uint64_t value) { _mm_setcsr(static_cast<unsigned>(value)); }
#elif defined(__aarch64__)
constexpr std::uint64_t kIeee = 0;  // FPCR: to nearest, no flushing, no traps, NaN payloads kept

std::uint64_t mode() {
  std::uint64_t value = 0;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void set_mode(std::uint64_t value) { asm volatile("msr fpcr, %0" ::"r"(value)); }
#else
constexpr std::uint64_t kIeee = FE_TONEAREST;  // no switch for denormals that we know of

std::uint64_t mode() { return static_cast<std::uint64_t>(std::fegetround()); }
void set_mode(std::uint64_t value) { std::fesetround(static_cast<int>(value)); }
#endif

}  // namespace

IeeeFloats::IeeeFloats() : before_(mode()) {
  if (before_ != kIeee) set_mode(kIeee);
}

IeeeFloats::~IeeeFloats() {
  if (before_ != kIeee) set_mode(before_);
}

}  // namespace glc

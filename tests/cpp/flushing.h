// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace glc::test {

/// While it lives, this thread flushes denormals, as torch.set_flush_denormal(True) makes it.
class Flushing {
 public:
#if defined(__x86_64__)
  Flushing() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~Flushing() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  Flushing() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (std::uint64_t{1} << 24)));
  }
  ~Flushing() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  std::uint64_t before_ = 0;
#else
  Flushing() {}
  ~Flushing() {}
#endif
};

template <class F>
auto while_flushing(F f) {
  const Flushing mode;
  return f();
}

/// While it lives, this thread rounds upwards, where there is such a mode.
class RoundingUp {
 public:
  RoundingUp() : before_(std::fegetround()) {
#if defined(FE_UPWARD)
    std::fesetround(FE_UPWARD);
#endif
  }
  ~RoundingUp() { std::fesetround(before_); }

 private:
  int before_;
};

template <class F>
auto while_rounding_up(F f) {
  const RoundingUp mode;
  return f();
}

}  // namespace glc::test

// SPDX-License-Identifier: Apache-2.0
//
// Atomics are relaxed, as on the device; fences are full ones.
#pragma once

#include <type_traits>

#include "cuda_on_cpu/scheduler.h"

namespace cuda_on_cpu {

/// Replaces *address by next(old) and returns old.
template <class T, class Next>
T atomic_update(T* address, Next next) {
  T old;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  T fresh = next(old);
  while (!__atomic_compare_exchange(
      address, &old, &fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    fresh = next(old);
  }
  return old;
}

/// The value's type is not deduced, as the device's overloads convert it too.
template <class T>
using Same = std::type_identity_t<T>;

}  // namespace cuda_on_cpu

template <class T>
T atomicAdd(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicMin(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return value < old ? value : old; });
}
template <class T>
T atomicMax(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicAnd(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return old & value; });
}
template <class T>
T atomicOr(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return old | value; });
}
template <class T>
T atomicXor(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return old ^ value; });
}
template <class T>
T atomicExch(T* address, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, cuda_on_cpu::Same<T> expected, cuda_on_cpu::Same<T> value) {
  return cuda_on_cpu::atomic_update(address, [&](T old) { return old == expected ? value : old; });
}

inline unsigned atomicInc(unsigned* address, unsigned most) {
  return cuda_on_cpu::atomic_update(address,
                                    [&](unsigned old) { return old >= most ? 0 : old + 1; });
}
inline void __threadfence() { cuda_on_cpu::fence(); }
inline void __threadfence_block() { cuda_on_cpu::fence(); }
inline void __threadfence_system() { cuda_on_cpu::fence(); }
inline void __nanosleep(unsigned) { cuda_on_cpu::yield(); }

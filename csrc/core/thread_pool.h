// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

namespace glc {

/// Calls f(0) .. f(n - 1), each once, on up to threads() threads including this one, and returns
/// when all have returned. The threads persist. When an f throws, those not yet called are left
/// out and the first exception is thrown on. A call from inside f, or while another thread's call
/// runs, does its work on the calling thread alone. Every f computes as IeeeFloats says, whatever
/// the caller or whoever made the threads has asked for.
template <class F>
void parallel_for(std::size_t n, F&& f);

namespace detail {
void parallel_for(std::size_t n, void (*call)(void* f, std::size_t i), void* f);
}

template <class F>
void parallel_for(std::size_t n, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::parallel_for(
      n,
      [](void* function, std::size_t i) { (*static_cast<Function*>(function))(i); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

/// Runs work(data) on up to n_threads threads, the calling one among them, and returns when all
/// have returned. This is the type of GOMP_parallel, which OpenMP's runtimes export.
using Team = void (*)(void (*work)(void* data), void* data, unsigned n_threads, unsigned flags);

/// Makes parallel_for() work on the threads of another runtime in this process instead of its own,
/// until a fork; null ends it. OpenMP's threads wait actively for milliseconds after each piece of
/// their own work: a second pool beside them finds no free core.
void use_team(Team team);

}  // namespace glc

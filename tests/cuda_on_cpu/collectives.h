// SPDX-License-Identifier: Apache-2.0
//
// What threads of a warp or a block do together.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_on_cpu/scheduler.h"

namespace cuda_on_cpu {

template <class T>
std::uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

/// A shuffle's argument and the width of its groups, a power of two, in one number.
constexpr int pack_shuffle(int argument, int width) { return argument * 64 + (width - 1); }

/// The value that lane Source()(lane, argument, width) brought.
template <class T, class Source>
T shuffle(unsigned mask, T value, int argument, int width, Site site, Source) {
  const Combine combine = [](Meeting& m) {
    m.each([&](int lane) {
      const int from = Source()(lane, m.argument[lane] >> 6, (m.argument[lane] & 63) + 1);
      if ((m.lanes >> from & 1U) == 0) {
        report("a shuffle reads a lane that is not in the mask, or has left", m.site);
      }
      m.reply[lane] = m.value[from];
    });
  };
  const int packed = pack_shuffle(argument, width);
  return from_bits<T>(meet_warp(mask, bits_of(value), packed, combine, false, site));
}

template <class T, class F>
T reduce(unsigned mask, T value, Site site, F) {
  const Combine combine = [](Meeting& m) {
    T all = from_bits<T>(m.value[__builtin_ctz(m.lanes)]);
    bool first = true;
    m.each([&](int lane) {
      if (!first) all = F()(all, from_bits<T>(m.value[lane]));
      first = false;
    });
    m.reply_all(bits_of(all));
  };
  return from_bits<T>(meet_warp(mask, bits_of(value), 0, combine, false, site));
}

}  // namespace cuda_on_cpu

// ------------------------------------------------------------------------------------- barriers

inline void __syncwarp(unsigned mask = ~0U, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  cuda_on_cpu::meet_warp(mask, 0, 0, [](cuda_on_cpu::Meeting& m) { m.reply_all(0); }, true, site);
}
inline void __syncthreads(cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  cuda_on_cpu::meet_block(false, site);
}
inline int __syncthreads_count(int value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return static_cast<int>(cuda_on_cpu::meet_block(value != 0, site));
}
inline int __syncthreads_or(int value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::meet_block(value != 0, site) != 0 ? 1 : 0;
}
inline int __syncthreads_and(int value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::meet_block(value == 0, site) == 0 ? 1 : 0;
}

// ---------------------------------------------------------------------------------------- votes

inline unsigned __ballot_sync(unsigned mask,
                              int value,
                              cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  const cuda_on_cpu::Combine combine = [](cuda_on_cpu::Meeting& m) {
    unsigned ballot = 0;
    m.each([&](int lane) { ballot |= static_cast<unsigned>(m.value[lane]) << lane; });
    m.reply_all(ballot);
  };
  return static_cast<unsigned>(
      cuda_on_cpu::meet_warp(mask, value != 0 ? 1 : 0, 0, combine, false, site));
}
inline int __any_sync(unsigned mask,
                      int value,
                      cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  const cuda_on_cpu::Combine combine = [](cuda_on_cpu::Meeting& m) {
    bool any = false;
    m.each([&](int lane) { any = any || m.value[lane] != 0; });
    m.reply_all(any ? 1 : 0);
  };
  return static_cast<int>(
      cuda_on_cpu::meet_warp(mask, value != 0 ? 1 : 0, 0, combine, false, site));
}
inline int __all_sync(unsigned mask,
                      int value,
                      cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  const cuda_on_cpu::Combine combine = [](cuda_on_cpu::Meeting& m) {
    bool all = true;
    m.each([&](int lane) { all = all && m.value[lane] != 0; });
    m.reply_all(all ? 1 : 0);
  };
  return static_cast<int>(
      cuda_on_cpu::meet_warp(mask, value != 0 ? 1 : 0, 0, combine, false, site));
}
template <class T>
unsigned __match_any_sync(unsigned mask,
                          T value,
                          cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  const cuda_on_cpu::Combine combine = [](cuda_on_cpu::Meeting& m) {
    m.each([&](int lane) {
      m.reply[lane] = 0;
      m.each([&](int other) {
        if (m.value[other] == m.value[lane]) m.reply[lane] |= std::uint64_t{1} << other;
      });
    });
  };
  return static_cast<unsigned>(
      cuda_on_cpu::meet_warp(mask, cuda_on_cpu::bits_of(value), 0, combine, false, site));
}

// ------------------------------------------------------------------------------------- shuffles

// A lane whose source lies outside its group of `width` lanes keeps its own value, as on a device.

template <class T>
T __shfl_sync(unsigned mask,
              T value,
              int source,
              int width = 32,
              cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::shuffle(mask, value, source, width, site, [](int lane, int source_of, int n) {
    return (lane & -n) + (source_of & (n - 1));
  });
}
template <class T>
T __shfl_up_sync(unsigned mask,
                 T value,
                 unsigned delta,
                 int width = 32,
                 cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::shuffle(
      mask, value, static_cast<int>(delta), width, site, [](int lane, int by, int n) {
        return lane - by >= (lane & -n) ? lane - by : lane;
      });
}
template <class T>
T __shfl_down_sync(unsigned mask,
                   T value,
                   unsigned delta,
                   int width = 32,
                   cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::shuffle(
      mask, value, static_cast<int>(delta), width, site, [](int lane, int by, int n) {
        return lane + by < (lane & -n) + n ? lane + by : lane;
      });
}
template <class T>
T __shfl_xor_sync(unsigned mask,
                  T value,
                  int lane_mask,
                  int width = 32,
                  cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::shuffle(
      mask, value, lane_mask, width, site, [](int lane, int flipped, int n) {
        const int from = lane ^ flipped;
        return from < (lane & -n) + n ? from : lane;
      });
}

// ----------------------------------------------------------------------------------- reductions

// Of 32-bit integers, as devices of compute capability 8.0 have them.

template <class T>
T __reduce_add_sync(unsigned mask, T value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](T a, T b) {
    return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
  });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](T a, T b) { return b < a ? b : a; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](T a, T b) { return a < b ? b : a; });
}
inline unsigned __reduce_and_sync(unsigned mask,
                                  unsigned value,
                                  cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](unsigned a, unsigned b) { return a & b; });
}
inline unsigned __reduce_or_sync(unsigned mask,
                                 unsigned value,
                                 cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](unsigned a, unsigned b) { return a | b; });
}
inline unsigned __reduce_xor_sync(unsigned mask,
                                  unsigned value,
                                  cuda_on_cpu::Site site = cuda_on_cpu::Site::here()) {
  return cuda_on_cpu::reduce(mask, value, site, [](unsigned a, unsigned b) { return a ^ b; });
}

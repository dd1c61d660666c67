// SPDX-License-Identifier: Apache-2.0
//
// Coding the segments of a record, of symbols and of bytes, in three kernels:
//
//   code   a group of lanes a segment: over its escapes first, whose check lane 0 begins with, then
//          from its last symbol to its first, words downwards into the segment's room in the
//          workspace; states, words and escape bits of each are counted
//   place  one block adds up the sizes: where each segment ends, and whether out can hold it all
//   pack   a warp a segment copies it to its place, and writes its escape numbers
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rans/rans_cuda.cuh"
#include "rans/stream_check.h"

namespace glc::cuda {

/// What the device decides on the way; at the start of the workspace.
struct EncodePlan {
  std::uint64_t at = 0;  ///< offset of the record in out
  std::uint32_t log2_lanes = 0;
  std::uint32_t fits = 0;        ///< out has room, and nothing else was wrong
  std::uint32_t stored = 0;      ///< of bytes: coding them does not pay
  std::uint32_t head_bytes = 0;  ///< of bytes: in front of the record
  std::uint32_t check = 0;       ///< of bytes: of the head
  std::uint32_t n_rare = 0;      ///< of bytes: values that escape
};

/// The arrays of a workspace. The first three have an entry for each segment.
struct EncodeWork {
  EncodePlan* plan;
  std::uint32_t* n_words;
  std::uint64_t* escape_bits;
  std::uint32_t* ends;    ///< in units of 4 bytes
  std::uint32_t* states;  ///< [segments, 32]
  std::uint16_t* words;   ///< [n]: a segment's symbols' room, filled from its end
};

/// Host: how a push is cut.
struct EncodeShape {
  std::uint64_t n;
  std::uint32_t segment_symbols;
  std::uint32_t n_segments;
};
[[nodiscard]] EncodeShape encode_shape(std::size_t n, std::size_t segment_symbols);
[[nodiscard]] std::size_t encode_work_bytes(const EncodeShape& shape);
[[nodiscard]] EncodeWork encode_work(const EncodeShape& shape, std::span<std::byte> workspace);

template <class Row>
struct EncodeParams {
  EncodeShape shape;
  EncodeWork work;
  RansProgress* progress;
  std::uint8_t* out;
  std::uint64_t capacity;
  RansTablesLayout layout;
  const std::byte* blob;
  const Row* rows;
  std::uint32_t one_row;
  const std::int32_t* symbols;
};

__device__ inline std::uint32_t symbols_in(const EncodeShape& shape, std::uint64_t segment) {
  const std::uint64_t begin = segment * shape.segment_symbols;
  if (begin >= shape.n) return 0;
  const std::uint64_t left = shape.n - begin;
  return left < shape.segment_symbols ? static_cast<std::uint32_t>(left) : shape.segment_symbols;
}

/// Symbols that a lane looks at together in search of escapes: as many loads are under way.
inline constexpr std::uint32_t kAtOnce = 8;

/// The escape numbers of a segment: how many bits they take, and the check that lane 0 begins with.
struct EscapesSeen {
  std::uint64_t n_bits;
  std::uint32_t check;
};

/// Looks at the group's segment, after what has the given check: number_of(i) is that of symbol i,
/// 0 when it does not escape; escapes(i), whether it does, is asked of each once, a lane's own in
/// their order. Several symbols a lane at once, because few escape.
template <class Escapes, class NumberOf>
__device__ EscapesSeen see_escapes(const EncodeShape& shape,
                                   const Group& group,
                                   std::uint32_t check,
                                   Escapes escapes,
                                   NumberOf number_of) {
  const std::uint32_t n = symbols_in(shape, group.segment);
  const std::uint64_t begin = group.segment * shape.segment_symbols;
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  const auto lane = static_cast<std::uint32_t>(group.lane);
  EscapesSeen seen{0, check};
  for (std::uint32_t base = 0; base < n; base += kAtOnce * lanes) {
    bool any = false;
#pragma unroll
    for (std::uint32_t a = 0; a < kAtOnce; ++a) {
      const std::uint32_t k = base + a * lanes + lane;
      if (k < n) any |= escapes(begin + k);
    }
    if (__ballot_sync(group.mask, any) == 0) continue;
    for (std::uint32_t a = 0; a < kAtOnce; ++a) {
      const std::uint32_t k = base + a * lanes + lane;
      const std::uint64_t mine = k < n ? number_of(begin + k) : 0;
      unsigned left = __ballot_sync(group.mask, mine != 0);
      for (; left != 0; left &= left - 1) {
        const std::uint64_t number =
            __shfl_sync(group.mask, mine, __ffs(static_cast<int>(left)) - 1);
        const int digits = rans::digits_of(number);
        for (int i = 2 * digits - 1; i-- > 0; ++seen.n_bits) {
          seen.check = rans::check_bit(seen.check, i < digits && (number >> i & 1U) != 0);
        }
      }
    }
  }
  const auto n_padding = static_cast<int>((8 - seen.n_bits % 8) % 8);
  for (int i = 0; i < n_padding; ++i) seen.check = rans::check_bit(seen.check, false);
  return seen;
}

/// Codes the group's segment, lanes 0 and 1 beginning with the check. source.fetch(i) loads what
/// symbol i is, source.entry(fetched, i) is its entry, a good one; every lane of the warp calls
/// this. Symbols are fetched kEarly steps early: stores to the words would hold loads back.
template <class Source>
__device__ __forceinline__ void code_segment(const EncodeShape& shape,
                                             const EncodeWork& work,
                                             const Group& group,
                                             int bits,
                                             std::uint32_t check,
                                             const Source& source) {
  constexpr int kEarly = 4;
  const std::uint32_t n = symbols_in(shape, group.segment);
  const std::uint64_t begin = group.segment * shape.segment_symbols;
  const int most_steps =
      static_cast<int>(__reduce_max_sync(kFullWarp,
                                         (n + static_cast<std::uint32_t>(group.lanes) - 1U) /
                                             static_cast<std::uint32_t>(group.lanes)));
  std::uint16_t* words_begin = work.words + begin + n;
  const std::uint16_t* const words_end = words_begin;
  std::uint32_t x = rans::start_state(group.lane, check);
  const auto fetch = [&](int step) {
    const std::int64_t i = std::int64_t{step} * group.lanes + group.lane;
    return step >= 0 && i < n ? source.fetch(begin + static_cast<std::uint64_t>(i))
                              : typename Source::Symbol{};
  };
  typename Source::Symbol symbols[kEarly];
#pragma unroll
  for (int a = 0; a < kEarly; ++a) symbols[a] = fetch(most_steps - 1 - a);
  for (int left = most_steps; left > 0; left -= kEarly) {
#pragma unroll
    for (int a = 0; a < kEarly; ++a) {
      const std::int64_t i = std::int64_t{left - 1 - a} * group.lanes + group.lane;
      const bool active = a < left && i < n;
      const auto symbol = symbols[a];
      symbols[a] = fetch(left - 1 - a - kEarly);
      const rans::EncodeEntry entry =
          active ? source.entry(symbol, begin + static_cast<std::uint64_t>(i))
                 : rans::EncodeEntry{};
      const bool gives = active && rans::encode_needs_renorm(x, entry.freq_minus_1, bits);
      const unsigned ballot = __ballot_sync(kFullWarp, gives);
      words_begin -= group.votes(ballot);
      if (gives) {
        words_begin[group.votes_before(ballot)] = static_cast<std::uint16_t>(x);
        x >>= rans::kWordBits;
      }
      if (active) x = rans::encode_advance(x, entry, bits);
    }
  }
  if (group.segment >= shape.n_segments) return;
  work.states[kWarpLanes * group.segment + static_cast<std::uint64_t>(group.lane)] = x;
  if (group.lane == 0) {
    work.n_words[group.segment] = static_cast<std::uint32_t>(words_end - words_begin);
  }
}

/// Sum of this and all lower lanes; every lane of the warp calls it.
__device__ inline std::uint64_t inclusive_sum(std::uint64_t value) {
  for (int d = 1; d < kWarpLanes; d *= 2) {
    const std::uint64_t below = __shfl_up_sync(kFullWarp, value, static_cast<unsigned>(d));
    if (Group::thread_lane() >= d) value += below;
  }
  return value;
}

/// The same over a block of kPlaceBlock threads; total is that of all.
inline constexpr int kPlaceBlock = 1024;
__device__ inline std::uint64_t block_inclusive_sum(std::uint64_t value, std::uint64_t& total) {
  auto& sums = block_shared<std::uint64_t[kWarpLanes]>();
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const std::uint64_t sum = inclusive_sum(value);
  __syncthreads();  // the last call's sums may still be read
  if (Group::thread_lane() == kWarpLanes - 1) sums[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    const std::uint64_t up_to = inclusive_sum(sums[Group::thread_lane()]);
    __syncwarp();
    sums[Group::thread_lane()] = up_to;
  }
  __syncthreads();
  total = sums[kWarpLanes - 1];
  return sum + (warp == 0 ? 0 : sums[warp - 1]);
}

/// One block of kPlaceBlock: fills work.ends, in units of 4 bytes, and returns the record's bytes.
__device__ inline std::uint64_t place_segments(const EncodeShape& shape,
                                               const EncodeWork& work,
                                               std::uint32_t lanes,
                                               bool& too_large,
                                               bool& escapes) {
  std::uint64_t before = 0;
  bool any = false;
  for (std::uint64_t first = 0; first < shape.n_segments; first += kPlaceBlock) {
    const std::uint64_t s = first + threadIdx.x;
    std::uint64_t units = 0;
    if (s < shape.n_segments) {
      const std::uint64_t bits = work.escape_bits[s];
      any = any || bits != 0;
      units = lanes + (2 * std::uint64_t{work.n_words[s]} + (bits + 7) / 8 + 3) / 4;
    }
    std::uint64_t total = 0;
    const std::uint64_t end = before + block_inclusive_sum(units, total);
    if (s < shape.n_segments) work.ends[s] = static_cast<std::uint32_t>(end);
    before += total;
  }
  too_large = before > UINT32_MAX;
  escapes = __syncthreads_or(any ? 1 : 0) != 0;
  return rans::kRecordHeadBytes + 4 * (std::uint64_t{shape.n_segments} + before);
}

/// Copies states and words of a segment to p.out, zero bytes to its end, by a warp.
__device__ inline void pack_segment(const EncodeShape& shape,
                                    const EncodeWork& work,
                                    std::uint32_t* to,
                                    std::uint32_t n_units,
                                    std::uint64_t s) {
  const std::uint32_t lanes = 1U << work.plan->log2_lanes;
  const std::uint32_t n_words = work.n_words[s];
  const std::uint64_t end = s * shape.segment_symbols + symbols_in(shape, s);
  const std::uint16_t* const words = work.words + end - n_words;
  for (auto u = static_cast<std::uint32_t>(Group::thread_lane()); u < n_units; u += kWarpLanes) {
    if (u < lanes) {
      const std::uint32_t x = work.states[kWarpLanes * s + u];
      to[u] = x << 16 | x >> 16;  // high word first
      continue;
    }
    const std::uint32_t k = 2 * (u - lanes);
    const std::uint32_t low = k < n_words ? words[k] : 0;
    const std::uint32_t high = k + 1 < n_words ? words[k + 1] : 0;
    to[u] = high << 16 | low;
  }
}

/// Sets the bits of a number's Elias-gamma code that begins at bit `at` of `to`, which is zero
/// there; others write to the same words.
__device__ inline void write_gamma(std::uint32_t* to, std::uint64_t at, std::uint64_t number) {
  const int digits = rans::digits_of(number);
  at += static_cast<std::uint64_t>(digits - 1);
  for (int i = digits; i-- > 0; ++at) {
    if ((number >> i & 1U) == 0) continue;
    // bit 7 of byte 0 comes first
    const auto bit = static_cast<unsigned>(at % 32 / 8 * 8 + (7 - at % 8));
    atomicOr(&to[at / 32], 1U << bit);
  }
}

/// Writes the escape numbers of segment s from bit `at` of `to` on, by a warp: number_of(i) is that
/// of symbol i, 0 when it does not escape. Several symbols a lane at once, because few escape.
template <class NumberOf>
__device__ void pack_escapes(const EncodeShape& shape,
                             std::uint64_t s,
                             std::uint32_t* to,
                             std::uint64_t at,
                             NumberOf number_of) {
  const std::uint32_t n = symbols_in(shape, s);
  const std::uint64_t begin = s * shape.segment_symbols;
  for (std::uint32_t base = 0; base < n; base += kAtOnce * kWarpLanes) {
    std::uint64_t numbers[kAtOnce];
    bool any = false;
#pragma unroll
    for (std::uint32_t a = 0; a < kAtOnce; ++a) {
      const std::uint32_t k =
          base + a * kWarpLanes + static_cast<std::uint32_t>(Group::thread_lane());
      numbers[a] = k < n ? number_of(begin + k) : 0;
      any |= numbers[a] != 0;
    }
    if (__any_sync(kFullWarp, any) == 0) continue;
#pragma unroll
    for (std::uint32_t a = 0; a < kAtOnce; ++a) {
      const std::uint64_t number = numbers[a];
      const auto n_bits = number == 0 ? 0 : static_cast<std::uint64_t>(rans::gamma_bits(number));
      const std::uint64_t end = inclusive_sum(n_bits);
      if (number != 0) write_gamma(to, at + end - n_bits, number);
      at += __shfl_sync(kFullWarp, end, kWarpLanes - 1);
    }
  }
}

/// Writes the head and the table of ends of a record, by all threads of the grid.
__device__ inline void pack_head(const EncodeShape& shape,
                                 const EncodeWork& work,
                                 std::uint32_t* to,
                                 bool escapes) {
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread == 0) {
    to[0] = work.plan->log2_lanes | (escapes ? rans::kDescriptorEscape : 0U);
    to[1] = shape.segment_symbols;
    to[2] = shape.n_segments;
  }
  for (std::uint64_t s = thread; s < shape.n_segments; s += std::uint64_t{gridDim.x} * blockDim.x) {
    to[3 + s] = work.ends[s];
  }
}

}  // namespace glc::cuda

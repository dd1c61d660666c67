// SPDX-License-Identifier: Apache-2.0
//
// Decoding the segments of a record, of symbols and of bytes. Each step of a group decodes one
// symbol a lane:
//
//   slot -> bin in shared memory -> next state; those below 2^16 vote, and the ranks of the votes
//   are their places in the word stream
//
// Words come from a window in shared memory, two halves of 2 words a lane: while one half is being
// used the next is on its way from global memory in a register of each lane. The window holds at
// least the words of two steps whenever two steps begin. Rows are read kAhead steps early.
//
// Latency is hidden by warps, not by several runs a warp: a step is a chain of about 130 cycles,
// and 8 warps a scheduler with 30 instructions (bytes) or 45 (symbols) each fill it. Segments that
// have a whole warp, the rule where there is much data, take steps without the questions that only
// ends and shared warps raise (decode_whole_steps).
#pragma once

#include <cstring>

#include "rans/rans_cuda_run.cuh"
#include "rans/stream_check.h"

namespace glc::cuda {

inline constexpr int kAhead = 4;                    // steps
inline constexpr std::uint32_t kWindowWords = 128;  // of a warp
/// The windows of a block's warps; aligned, because words come in pairs.
struct alignas(4) Windows {
  std::uint16_t words[kBlockWarps * kWindowWords];
};

struct Bin {
  std::uint32_t start;
  std::uint32_t freq_minus_1;
  std::int32_t value;
};

/// The words of a group on their way to its lanes.
class Window {
 public:
  __device__ Window(Windows& windows, const std::uint32_t* words, std::uint32_t n, Group group)
      : windows_(windows.words),
        first_(threadIdx.x / kWarpLanes * kWindowWords + 4U * static_cast<unsigned>(group.first)),
        words_(words),
        n_(n),
        lanes_(static_cast<std::uint32_t>(group.lanes)),
        next_(static_cast<std::uint32_t>(group.lane)) {
    for (int half = 0; half < 2; ++half) {
      put(load());
      next_ += lanes_;
    }
    ahead_ = load();
    __syncwarp();
  }
  /// Word k of the segment, when it is in the window; some other one when it is not.
  [[nodiscard]] __device__ std::uint32_t word(std::uint32_t k) const {
    return windows_[first_ | (k & (4U * lanes_ - 1U))];
  }
  /// Word k of a segment that has the whole warp.
  [[nodiscard]] __device__ std::uint32_t word_of_warp(std::uint32_t k) const {
    return windows_[first_ | (k & (4U * kWarpLanes - 1U))];
  }
  /// Once every two steps, by all lanes of the warp; used is the number of words that are done.
  __device__ void refill(std::uint32_t used) {
    const bool spent = used - spent_ >= 2U * lanes_;
    if (__any_sync(kFullWarp, spent) == 0) return;
    __syncwarp();  // others may still read what is overwritten
    if (spent) move_on();
    __syncwarp();
  }
  /// The same for a segment that has the whole warp, where `used` is the same in all lanes.
  __device__ void refill_of_warp(std::uint32_t used) {
    if (used - spent_ < 2U * kWarpLanes) return;
    __syncwarp();
    move_on();
    __syncwarp();
  }

 private:
  __device__ void move_on() {
    put(ahead_);
    next_ += lanes_;
    ahead_ = load();
    spent_ += 2U * lanes_;
  }
  /// Two words, into the place of those loaded next.
  __device__ void put(std::uint32_t pair) {
    std::uint16_t* const place = windows_ + (first_ | 2U * (next_ & (2U * lanes_ - 1U)));
    std::memcpy(__builtin_assume_aligned(static_cast<void*>(place), 4), &pair, sizeof(pair));
  }
  [[nodiscard]] __device__ std::uint32_t load() const {
    return next_ < n_ ? __ldg(&words_[next_]) : 0;
  }

  std::uint16_t* windows_;
  std::uint32_t first_;  // word of the group's window
  const std::uint32_t* words_;
  std::uint32_t n_;
  std::uint32_t lanes_;
  std::uint32_t next_;  // 32-bit word that this lane loads next
  std::uint32_t spent_ = 0;
  std::uint32_t ahead_;
};

/// Keeps rows within the tables, and in mind whether they were.
class RowLimit {
 public:
  __device__ explicit RowLimit(std::uint32_t n_rows) : last_(n_rows - 1U) {}
  __device__ std::uint32_t operator()(std::uint32_t row) {
    most_ = row > most_ ? row : most_;
    return row < last_ ? row : last_;
  }
  [[nodiscard]] __device__ bool broken() const { return most_ > last_; }
  /// Notes the first of the lane's rows that the tables have not.
  template <class Row, class Value>
  __device__ void note_broken(const DecodeParams<Row, Value>& p,
                              const SegmentRun<Value>& run,
                              const Group& group) const {
    auto i = static_cast<std::uint32_t>(group.lane);
    while (i < run.n && row_of(p.rows, p.one_row, run.begin + i) <= last_) {
      i += static_cast<std::uint32_t>(group.lanes);
    }
    if (i < run.n) note(&p.progress->error, RansError::kRow, run.begin + i);
  }

 private:
  std::uint32_t last_;
  std::uint32_t most_ = 0;
};

/// Decodes steps of a segment that has the whole warp as long as no lane idles. i is the lane's
/// next symbol; rows are those of its next steps.
template <class Lookup, class Row, class Value, class Sum>
__device__ __forceinline__ void decode_whole_steps(const DecodeParams<Row, Value>& p,
                                                   const Lookup& lookup,
                                                   Window& window,
                                                   SegmentRun<Value>& run,
                                                   std::uint32_t& i,
                                                   std::uint32_t (&rows)[kAhead],
                                                   RowLimit& limit,
                                                   Sum& sum) {
  constexpr std::uint32_t kSymbols = kAhead * kWarpLanes;
  const unsigned lanes_before = (1U << Group::thread_lane()) - 1U;
  Value* out = p.out + run.begin + i;
  constexpr bool kRows = !std::is_same_v<Row, OneRow>;
  const Row* ahead = kRows ? p.rows + run.begin + i + kSymbols : nullptr;
  std::uint32_t end = 2 * kSymbols;  // of the rows that are read ahead
  for (std::uint32_t chunk = 0; end <= run.n; ++chunk) {
    typename Lookup::Seen seen{};
    const std::uint32_t chunk_end = run.chunks.begin(chunk + 1) + kSymbols;
    const std::uint32_t last = chunk_end < run.n ? chunk_end : run.n;
    for (; end <= last; end += kSymbols) {
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (a % 2 == 0) window.refill_of_warp(run.used);
        std::uint32_t row = rows[a];
        if constexpr (kRows) {
          row = limit(row);
          rows[a] = static_cast<std::uint32_t>(__ldg(&ahead[a * kWarpLanes]));
        }
        const std::uint32_t slot = rans::slot_of(run.x, p.layout.bits);
        const Bin bin = lookup.find(row, slot);
        const std::uint32_t x =
            rans::decode_advance(run.x, slot, bin.start, bin.freq_minus_1, p.layout.bits);
        const bool wants = x < rans::kStateLow;
        const unsigned ballot = __ballot_sync(kFullWarp, wants);
        const auto before = static_cast<std::uint32_t>(__popc(ballot & lanes_before));
        const std::uint32_t word = window.word_of_warp(run.used + before);
        run.x = wants ? x << rans::kWordBits | word : x;
        run.used += static_cast<std::uint32_t>(__popc(ballot));
        const auto value = static_cast<Value>(bin.value);
        lookup.see(seen, bin.value);
        out[a * kWarpLanes] = value;
        sum.add(a, value);
      }
      i += kSymbols;
      out += kSymbols;
      if constexpr (kRows) ahead += kSymbols;
    }
    if (lookup.has_escape(seen)) run.escapes |= 1U << chunk;
  }
}

/// Decodes all symbols of the group's segment; every lane of the warp calls it. sum takes the
/// symbols in, sum.add(a, value) where step mod kAhead is a and lanes are 32.
template <class Lookup, class Row, class Value, class Sum>
__device__ __forceinline__ void decode_segment(const DecodeParams<Row, Value>& p,
                                               const Lookup& lookup,
                                               const Group& group,
                                               Windows& windows,
                                               SegmentRun<Value>& run,
                                               Sum& sum) {
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  Window window(windows, run.words, run.n_words32, group);
  auto i = static_cast<std::uint32_t>(group.lane);
  const auto row_at = [&](std::uint32_t k) {
    return k < run.n ? row_of(p.rows, p.one_row, run.begin + k) : 0;
  };
  RowLimit limit(p.layout.n_rows);
  std::uint32_t rows[kAhead];
  for (std::uint32_t a = 0; a < kAhead; ++a) rows[a] = row_at(i + a * lanes);
  if constexpr (std::is_same_v<Row, OneRow>) {
    for (std::uint32_t& row : rows) row = limit(row);
  }
  if (group.lanes == kWarpLanes) {
    decode_whole_steps(p, lookup, window, run, i, rows, limit, sum);
  }
  const std::uint32_t left = run.n + static_cast<std::uint32_t>(group.lane) - i;
  const std::uint32_t most_steps = __reduce_max_sync(kFullWarp, (left + lanes - 1U) / lanes);
  for (std::uint32_t step = 0; step < most_steps; step += kAhead) {
    typename Lookup::Seen seen{};
    const std::uint32_t chunk = run.chunks.of(i);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (a % 2 == 0) window.refill(run.used);
      const bool active = i < run.n;
      const std::uint32_t row = limit(rows[a]);
      rows[a] = row_at(i + kAhead * lanes);
      const std::uint32_t slot = rans::slot_of(run.x, p.layout.bits);
      const Bin bin = lookup.find(row, slot);
      std::uint32_t x =
          rans::decode_advance(run.x, slot, bin.start, bin.freq_minus_1, p.layout.bits);
      const bool wants = active && x < rans::kStateLow;
      const unsigned ballot = __ballot_sync(kFullWarp, wants);
      if (wants) {
        const std::uint32_t k = run.used + static_cast<std::uint32_t>(group.votes_before(ballot));
        x = x << rans::kWordBits | window.word(k);
      }
      run.used += static_cast<std::uint32_t>(group.votes(ballot));
      if (active) {
        const auto value = static_cast<Value>(bin.value);
        run.x = x;
        lookup.see(seen, bin.value);
        p.out[run.begin + i] = value;
        sum.add_at(i, value);
      }
      i += lanes;
    }
    if (lookup.has_escape(seen)) run.escapes |= 1U << chunk;
  }
  if (limit.broken()) limit.note_broken(p, run, group);
  // then the symbols say nothing about the stream, which may be a good one
  if (group.votes(__ballot_sync(kFullWarp, limit.broken())) != 0) run.n = 0;
}

/// Checks what is left of a segment after its symbols. escapes(bytes, n_bytes) is called by every
/// lane of a group that has any, and returns how many bytes they took; check is that of segments
/// without. sum() is the sum of the symbols that the check counts; every lane calls it.
template <class Row, class Value, class Escapes, class Sum>
__device__ void close_segment(const DecodeParams<Row, Value>& p,
                              const RansRecord& record,
                              const Group& group,
                              const SegmentRun<Value>& run,
                              std::uint32_t check,
                              Escapes escapes,
                              Sum sum) {
  if (run.n == 0) return;
  const std::uint64_t place = segment_begin(p.data, record, group.segment);
  if (run.used > 2 * run.n_words32) {
    if (group.lane == 0) note(&p.progress->error, RansError::kWordsCut, place);
    return;
  }
  const auto* bytes =
      reinterpret_cast<const std::uint8_t*>(run.words) + 2 * std::uint64_t{run.used};
  std::uint64_t n_left = 4 * std::uint64_t{run.n_words32} - 2 * std::uint64_t{run.used};
  if (group.votes(__ballot_sync(group.mask, run.escapes != 0)) != 0) {
    const std::uint64_t n_used = escapes(bytes, n_left);
    n_left -= n_used;
    for (const auto* const end = bytes + n_used; bytes != end; ++bytes) {
      check = rans::check_byte(check, *bytes);
    }
  }
  if (run.x != rans::start_state(group.lane, rans::check_with_sum<Value>(check, sum()))) {
    note(&p.progress->error, RansError::kFinalState, place);
  }
  if (group.lane != 0) return;
  if (n_left >= rans::kRecordAlign) note(&p.progress->error, RansError::kWordsLeft, place);
  for (; n_left != 0 && n_left < rans::kRecordAlign; --n_left) {
    if (*bytes++ != 0) note(&p.progress->error, RansError::kPadding, place);
  }
}

}  // namespace glc::cuda

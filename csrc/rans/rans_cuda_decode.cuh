// SPDX-License-Identifier: Apache-2.0
//
// Decoding the segments of a record, of symbols and of bytes. Each step of a group decodes one
// symbol a lane:
//
//   slot -> bin in shared memory -> next state; those below 2^16 vote, and the ranks of the votes
//   are their places in the word stream
//
// Words come from a window in shared memory, two halves of 4 words a lane: while one half is being
// used the next is on its way from global memory in registers of each lane. The window holds at
// least the words of kAhead steps whenever so many begin. Rows are read kAhead steps early.
//
// Latency is hidden by warps, not by several runs a warp: a step is a chain of about 130 cycles,
// and 8 warps a scheduler with 28 instructions (bytes) or 37 (symbols) each fill it. So each
// instruction of a step counts: addresses are shared memory's own (cuda_shared.h), places in the
// words are bytes. Segments that have a whole warp, the rule where there is much data, take steps
// without the questions that only ends and shared warps raise (decode_whole_steps).
#pragma once

#include "core/cuda_copy.h"
#include "core/cuda_shared.h"
#include "rans/rans_cuda_run.cuh"
#include "rans/stream_check.h"

namespace glc::cuda {

inline constexpr int kAhead = 4;  // steps
/// The window of a warp's words, in bytes, a ring whose address is a multiple of its size; those of
/// a block are the front of its dynamic shared memory.
inline constexpr std::uint32_t kWindowBytes = kWarpLanes * 2 * kAhead * sizeof(std::uint16_t);
inline constexpr std::uint32_t kWindowsBytes = kBlockWarps * kWindowBytes;
static_assert(kWindowsBytes == kRansWindowsBytes);

struct Bin {
  std::uint32_t from_start;  ///< of the bin to the slot
  std::uint32_t freq;
  std::int32_t value;  ///< whose low bits are the symbol or byte
};

/// The words of a group on their way to its lanes. Places are in bytes.
class Window {
 public:
  __device__ Window(const std::uint32_t* words, std::uint32_t n, Group group)
      : words_(words),
        n_(n),
        lanes_(static_cast<std::uint32_t>(group.lanes)),
        next_(static_cast<std::uint32_t>(group.lane)),
        due_(half()) {
    ring_ = shared_address() + threadIdx.x / kWarpLanes * kWindowBytes +
            kWindowBytes / kWarpLanes * static_cast<std::uint32_t>(group.first);
    load();
    for (int i = 0; i < 2; ++i) move_on();
    __syncwarp();
  }
  /// The word at a place of the segment, when it is in the window; some other one when it is not.
  [[nodiscard]] __device__ std::uint32_t word(std::uint32_t place) const {
    return load_shared<std::uint16_t>(ring_ | (place & (2U * half() - 1U)));
  }
  /// The same for a segment that has the whole warp.
  [[nodiscard]] __device__ std::uint32_t word_of_warp(std::uint32_t place) const {
    return load_shared<std::uint16_t>(ring_ | (place & (kWindowBytes - 1U)));
  }
  /// Once every kAhead steps, by all lanes of the warp; used is the number of bytes that are done.
  __device__ void refill(std::uint32_t used) {
    const bool spent = used >= due_;
    if (__any_sync(kFullWarp, spent) == 0) return;
    __syncwarp();  // others may still read what is overwritten
    if (spent) {
      due_ += half();
      move_on();
    }
    __syncwarp();
  }
  /// The same for a segment that has the whole warp, where `used` is the same in all lanes.
  __device__ void refill_of_warp(std::uint32_t used) {
    if (used < due_) return;
    due_ += kWindowBytes / 2;
    __syncwarp();
    move_on();
    __syncwarp();
  }

 private:
  [[nodiscard]] __device__ std::uint32_t half() const { return lanes_ * kWindowBytes / 64U; }
  /// Writes the half that was loaded, and loads the next.
  __device__ void move_on() {
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t place = 4U * (next_ + static_cast<std::uint32_t>(i) * lanes_);
      store_shared(ring_ | (place & (2U * half() - 1U)), ahead_[i]);
    }
    next_ += 2U * lanes_;
    load();
  }
  __device__ void load() {
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t word = next_ + static_cast<std::uint32_t>(i) * lanes_;
      ahead_[i] = load_if(word < n_, words_, word);
    }
  }

  const std::uint32_t* words_;
  std::uint32_t n_;  // of 32 bits, as those below
  std::uint32_t lanes_;
  std::uint32_t next_;  // that this lane loaded first
  std::uint32_t due_;   // place at which the next half has to be there
  std::uint32_t ring_ = 0;
  std::uint32_t ahead_[2] = {};
};

/// Keeps rows within the tables, and in mind whether they were.
class RowLimit {
 public:
  __device__ explicit RowLimit(std::uint32_t n_rows) : last_(n_rows - 1U) {}
  __device__ std::uint32_t operator()(std::uint32_t row) {
    see(row, row);
    return keep(row);
  }
  /// Its two halves: two rows are seen at once.
  [[nodiscard]] __device__ std::uint32_t keep(std::uint32_t row) const {
    return row < last_ ? row : last_;
  }
  __device__ void see(std::uint32_t row, std::uint32_t other) {
    most_ = __vimax3_u32(most_, row, other);
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
  constexpr bool kRows = !std::is_same_v<Row, OneRow>;
  const unsigned lanes_before = (1U << Group::thread_lane()) - 1U;
  const std::uint32_t turns_of_chunk = run.chunks.begin(1) / kSymbols;
  // the rows of a turn more are read
  std::uint32_t turns_left = run.n < 2 * kSymbols ? 0 : run.n / kSymbols - 1U;
  auto at = static_cast<std::uint32_t>(run.begin) + i;  // of the push, which has less than 2^31
  i += turns_left * kSymbols;
  for (std::uint32_t chunk = 0; turns_left != 0; ++chunk) {
    typename Lookup::Seen seen{};
    std::uint32_t turns = turns_of_chunk < turns_left ? turns_of_chunk : turns_left;
    turns_left -= turns;
    do {
      Value* const out = p.out + at;
      at += kSymbols;
      window.refill_of_warp(run.used);
      // all at the front: what a step loads is waited for where the turn ends
      std::uint32_t rows_ahead[kAhead] = {};
      if constexpr (kRows) {
        for (int a = 0; a < kAhead; ++a) {
          rows_ahead[a] = static_cast<std::uint32_t>(__ldg(p.rows + at + a * kWarpLanes));
        }
        for (int a = 0; a < kAhead; a += 2) limit.see(rows[a], rows[a + 1]);
      }
      typename Lookup::Turn turn{};
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        std::uint32_t row = rows[a];
        if constexpr (kRows) {
          row = limit.keep(row);
          rows[a] = rows_ahead[a];
        }
        const Bin bin = lookup.find(row, rans::slot_of(run.x, p.layout.bits));
        const std::uint32_t x = bin.freq * (run.x >> p.layout.bits) + bin.from_start;
        const bool wants = x < rans::kStateLow;
        const unsigned ballot = __ballot_sync(kFullWarp, wants);
        const auto rank = static_cast<std::uint32_t>(__popc(ballot & lanes_before));
        const std::uint32_t word = window.word_of_warp(run.used + 2U * rank);
        run.x = wants ? x << rans::kWordBits | word : x;
        run.used += 2U * static_cast<std::uint32_t>(__popc(ballot));
        out[a * kWarpLanes] = static_cast<Value>(bin.value);
        lookup.take(turn, seen, a, bin.value);
        sum.take(turn, a, bin.value);
      }
    } while (--turns != 0);
    if (lookup.has_escape(seen)) run.escapes |= 1U << chunk;
  }
}

/// Decodes all symbols of the group's segment; every lane of the warp calls it. sum takes the
/// symbols in: sum.add_at(i, value), or, where lanes are 32, sum.take(turn, a, value) in step a of
/// a turn of kAhead, after lookup.take(turn, seen, a, value).
template <class Lookup, class Row, class Value, class Sum>
__device__ __forceinline__ void decode_segment(const DecodeParams<Row, Value>& p,
                                               const Lookup& lookup,
                                               const Group& group,
                                               SegmentRun<Value>& run,
                                               Sum& sum) {
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  Window window(run.words, run.n_words32, group);
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
      if (a == 0) window.refill(run.used);
      const bool active = i < run.n;
      const std::uint32_t row = limit(rows[a]);
      rows[a] = row_at(i + kAhead * lanes);
      const Bin bin = lookup.find(row, rans::slot_of(run.x, p.layout.bits));
      std::uint32_t x = bin.freq * (run.x >> p.layout.bits) + bin.from_start;
      const bool wants = active && x < rans::kStateLow;
      const unsigned ballot = __ballot_sync(kFullWarp, wants);
      if (wants) {
        const auto rank = static_cast<std::uint32_t>(group.votes_before(ballot));
        x = x << rans::kWordBits | window.word(run.used + 2U * rank);
      }
      run.used += 2U * static_cast<std::uint32_t>(group.votes(ballot));
      if (active) {
        const auto value = static_cast<Value>(bin.value);
        run.x = x;
        lookup.see(seen, value);
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
  const std::uint64_t n_bytes = 4 * std::uint64_t{run.n_words32};
  if (run.used > n_bytes) {
    if (group.lane == 0) note(&p.progress->error, RansError::kWordsCut, place);
    return;
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(run.words) + run.used;
  std::uint64_t n_left = n_bytes - run.used;
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

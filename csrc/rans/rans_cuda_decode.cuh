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
// and 8 warps a scheduler with 30 instructions (bytes) or 60 (symbols) each fill it. Segments that
// have a whole warp, the rule where there is much data, take steps without the questions that only
// ends and shared warps raise (decode_whole_steps).
#pragma once

#include <cstring>

#include "rans/rans_cuda.cuh"
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

template <class Row, class Value>
struct DecodeParams {
  const std::uint8_t* data;
  RansProgress* progress;
  RansTablesLayout layout;
  const std::byte* blob;
  const Row* rows;
  std::uint32_t one_row;
  Value* out;
  std::uint64_t n;
};

/// One segment, as far as a lane knows it. What is not of the lane is the same in all its group.
template <class Value>
struct SegmentRun {
  const std::uint32_t* words;  ///< of 32 bits
  std::uint32_t n_words32;     ///< of them
  std::uint32_t used;          ///< words of 16 bits, those behind the last being zeros
  std::uint32_t x;
  std::uint64_t begin;  ///< its first symbol
  std::uint32_t n;      ///< symbols, 0 when the segment cannot be read
  bool escapes;         ///< this lane decoded one
};

__device__ inline std::uint32_t load_u32(const std::uint8_t* data, std::uint64_t at) {
  return __ldg(reinterpret_cast<const std::uint32_t*>(data + at));
}

__device__ inline std::uint64_t segment_begin(const std::uint8_t* data,
                                              const RansRecord& record,
                                              std::uint64_t segment) {
  if (segment == 0) return record.body;
  return record.body + 4 * std::uint64_t{load_u32(data, record.ends + 4 * (segment - 1))};
}

template <class Row, class Value>
__device__ SegmentRun<Value> open_segment(const DecodeParams<Row, Value>& p,
                                          const RansRecord& record,
                                          const Group& group) {
  SegmentRun<Value> run{};
  if (group.segment >= record.n_segments) return run;
  const std::uint64_t begin = segment_begin(p.data, record, group.segment);
  const std::uint64_t end = segment_begin(p.data, record, group.segment + 1);
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  const std::uint64_t place = record.ends + 4 * group.segment;
  if (begin >= end || end > record.n_bytes) {
    if (group.lane == 0) note(&p.progress->error, RansError::kEnds, place);
    return run;
  }
  if ((end - begin) / 4 < lanes) {
    if (group.lane == 0) note(&p.progress->error, RansError::kStatesCut, begin);
    return run;
  }
  const std::uint32_t stored = load_u32(p.data, begin + 4 * static_cast<std::uint64_t>(group.lane));
  run.x = stored << 16 | stored >> 16;  // high word first
  const bool low = run.x < rans::kStateLow;
  if (low) note(&p.progress->error, RansError::kState, begin);
  if (group.votes(__ballot_sync(group.mask, low)) != 0) return run;
  run.words = reinterpret_cast<const std::uint32_t*>(p.data + begin) + lanes;
  run.n_words32 = static_cast<std::uint32_t>((end - begin) / 4) - lanes;
  run.begin = group.segment * record.segment_symbols;
  const std::uint64_t n_left = p.n - run.begin;
  run.n =
      n_left < record.segment_symbols ? static_cast<std::uint32_t>(n_left) : record.segment_symbols;
  return run;
}

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

/// The row of symbol k of a segment, noted where the tables have no such row.
template <class Row, class Value>
__device__ __forceinline__ std::uint32_t checked_row(const DecodeParams<Row, Value>& p,
                                                     std::uint32_t row,
                                                     std::uint64_t k) {
  if (row < p.layout.n_rows) return row;
  note(&p.progress->error, RansError::kRow, k);
  return 0;
}

/// Decodes steps of a segment that has the whole warp as long as no lane idles. i is the lane's
/// next symbol; rows are those of its next steps.
template <class Lookup, class Row, class Value, class Sum>
__device__ __forceinline__ void decode_whole_steps(const DecodeParams<Row, Value>& p,
                                                   const Lookup& lookup,
                                                   Window& window,
                                                   SegmentRun<Value>& run,
                                                   std::uint32_t& i,
                                                   std::uint32_t (&rows)[kAhead],
                                                   Sum& sum) {
  constexpr std::uint32_t kSymbols = kAhead * kWarpLanes;
  const unsigned lanes_before = (1U << Group::thread_lane()) - 1U;
  Value* out = p.out + run.begin + i;
  constexpr bool kRows = !std::is_same_v<Row, OneRow>;
  const Row* ahead = kRows ? p.rows + run.begin + i + kSymbols : nullptr;
  for (std::uint32_t end = 2 * kSymbols; end <= run.n; end += kSymbols) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (a % 2 == 0) window.refill_of_warp(run.used);
      std::uint32_t row = rows[a];
      if constexpr (kRows) {
        row = checked_row(p, row, run.begin + i + static_cast<std::uint32_t>(a * kWarpLanes));
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
      run.escapes = run.escapes || lookup.is_escape(bin);
      out[a * kWarpLanes] = lookup.value(bin);
      sum.add(a, lookup.value(bin));
    }
    i += kSymbols;
    out += kSymbols;
    if constexpr (kRows) ahead += kSymbols;
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
  std::uint32_t rows[kAhead];
  for (std::uint32_t a = 0; a < kAhead; ++a) rows[a] = row_at(i + a * lanes);
  if constexpr (std::is_same_v<Row, OneRow>) rows[0] = checked_row(p, rows[0], run.begin);
  if (group.lanes == kWarpLanes) decode_whole_steps(p, lookup, window, run, i, rows, sum);
  const std::uint32_t left = run.n + static_cast<std::uint32_t>(group.lane) - i;
  const std::uint32_t most_steps = __reduce_max_sync(kFullWarp, (left + lanes - 1U) / lanes);
  for (std::uint32_t step = 0; step < most_steps; step += kAhead) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (a % 2 == 0) window.refill(run.used);
      const bool active = i < run.n;
      const std::uint32_t row = checked_row(p, rows[a], run.begin + i);
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
        run.x = x;
        run.escapes = run.escapes || lookup.is_escape(bin);
        p.out[run.begin + i] = lookup.value(bin);
        sum.add_at(i, lookup.value(bin));
      }
      i += lanes;
    }
  }
}

/// Bits of a segment from a byte on, most significant first.
class DeviceBits {
 public:
  __device__ DeviceBits(const std::uint8_t* bytes, std::uint64_t n_bytes)
      : bytes_(bytes), n_bytes_(n_bytes), n_left_(8 * n_bytes) {}
  /// The next Elias-gamma number, or 0 when the bits run out or it has more than max_width < 56.
  __device__ std::uint64_t gamma(int max_width) {
    fill();
    const int zeros = __clzll(static_cast<long long>(next_));
    if (zeros >= max_width || 2 * static_cast<std::uint64_t>(zeros) >= n_left_) return 0;
    skip(zeros);
    fill();
    return take(zeros + 1);
  }
  /// The next eight; n_left() has to be asked first.
  __device__ std::uint32_t byte() {
    fill();
    return static_cast<std::uint32_t>(take(8));
  }
  [[nodiscard]] __device__ std::uint64_t n_left() const { return n_left_; }
  [[nodiscard]] __device__ bool skip_padding() {
    const auto n = static_cast<int>(n_left_ % 8);
    fill();
    return n == 0 || take(n) == 0;
  }
  [[nodiscard]] __device__ std::uint64_t bytes_used() const { return n_bytes_ - n_left_ / 8; }

 private:
  /// At least 56 bits, or all that are left, in next_.
  __device__ void fill() {
    for (; held_ <= 56 && at_ < n_bytes_; held_ += 8) {
      next_ |= static_cast<std::uint64_t>(bytes_[at_++]) << (56 - held_);
    }
  }
  __device__ void skip(int n) {
    next_ <<= n;
    held_ -= n;
    n_left_ -= static_cast<std::uint64_t>(n);
  }
  __device__ std::uint64_t take(int n) {
    const std::uint64_t bits = next_ >> (64 - n);
    skip(n);
    return bits;
  }
  const std::uint8_t* bytes_;
  std::uint64_t n_bytes_;
  std::uint64_t n_left_;    // bits
  std::uint64_t at_ = 0;    // next byte
  std::uint64_t next_ = 0;  // bits from the highest on, zeros behind them
  int held_ = 0;            // of them
};

/// Which of the symbols k, k + 1, ... of a segment, as many as 16 bytes hold, are the marker.
template <class Value>
__device__ __forceinline__ unsigned markers(const Value* values,
                                            std::uint32_t k,
                                            std::uint32_t n,
                                            int marker) {
  constexpr std::uint32_t kPer = 16 / sizeof(Value);
  alignas(16) Value some[kPer];
  std::uint32_t n_some = kPer;
  if (k + kPer <= n && reinterpret_cast<std::uintptr_t>(values + k) % 16 == 0) {
    *reinterpret_cast<uint4*>(some) = *reinterpret_cast<const uint4*>(values + k);
  } else {
    n_some = k < n ? n - k : 0;
    for (std::uint32_t j = 0; j < kPer; ++j) some[j] = j < n_some ? values[k + j] : Value{};
  }
  unsigned found = 0;
#pragma unroll
  for (std::uint32_t j = 0; j < kPer; ++j) {
    found |= (j < n_some && some[j] == marker ? 1U : 0U) << j;
  }
  return found;
}

/// Finds the group's escapes, which stand as `marker` in out, and calls put(i, number) in one lane
/// for each symbol i that is one. Returns the bytes that the numbers take.
template <class Row, class Value, class Put>
__device__ std::uint64_t read_escapes(const DecodeParams<Row, Value>& p,
                                      const RansRecord& record,
                                      const Group& group,
                                      const SegmentRun<Value>& run,
                                      DeviceBits& bits,
                                      int marker,
                                      int max_width,
                                      Put put) {
  const std::uint64_t place = segment_begin(p.data, record, group.segment);
  if (record.escapes == 0) {
    if (group.lane == 0) note(&p.progress->error, RansError::kEscapeUnannounced, place);
    return 0;
  }
  constexpr std::uint32_t kPer = 16 / sizeof(Value);
  const auto step = kPer * static_cast<std::uint32_t>(group.lanes);
  const Value* const values = p.out + run.begin;
  __syncwarp(group.mask);  // each lane looks at what others wrote
  std::uint32_t k = kPer * static_cast<std::uint32_t>(group.lane);
  unsigned ahead = markers(values, k, run.n, marker);
  for (std::uint32_t base = 0; base < run.n; base += step, k += step) {
    const unsigned found = ahead;
    ahead = markers(values, k + step, run.n, marker);
    for (unsigned left = __ballot_sync(group.mask, found != 0); left != 0; left &= left - 1) {
      const int source = __ffs(static_cast<int>(left)) - 1;
      unsigned places = __shfl_sync(group.mask, found, source);
      for (; places != 0; places &= places - 1) {
        const std::uint64_t number = bits.gamma(max_width);
        if (number == 0) {
          if (group.lane == 0) note(&p.progress->error, RansError::kEscapeNumber, place);
          return bits.bytes_used();
        }
        if (source != Group::thread_lane()) continue;
        put(run.begin + k + static_cast<std::uint32_t>(__ffs(static_cast<int>(places)) - 1),
            number);
      }
    }
  }
  if (!bits.skip_padding() && group.lane == 0) {
    note(&p.progress->error, RansError::kEscapePadding, place);
  }
  return bits.bytes_used();
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
  if (group.votes(__ballot_sync(group.mask, run.escapes)) != 0) {
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

/// Reads the head of the record at the stream's position and moves the position beyond it; after an
/// error the record has no segments. By one thread.
__device__ inline void open_record(const std::uint8_t* data,
                                   std::uint64_t n_symbols,
                                   RansProgress& progress) {
  RansRecord& record = progress.record;
  const std::uint64_t at = progress.position;
  record.n_segments = 0;
  if (progress.error != kRansNoError) return;
  if (record.n_bytes - at < rans::kRecordHeadBytes || at > record.n_bytes) {
    return note(&progress.error, RansError::kRecordCut, at);
  }
  const std::uint32_t descriptor = load_u32(data, at);
  const std::uint32_t segment_symbols = load_u32(data, at + 4);
  const std::uint32_t n_segments = load_u32(data, at + 8);
  const std::uint32_t log2_lanes = descriptor & rans::kDescriptorLanesMask;
  constexpr std::uint32_t kKnown = rans::kDescriptorLanesMask | rans::kDescriptorEscape;
  if (log2_lanes > 5 || (descriptor & ~kKnown) != 0) {
    return note(&progress.error, RansError::kRecordDescriptor, at);
  }
  if (segment_symbols < rans::kMinSegment || segment_symbols > rans::kMaxSegment ||
      segment_symbols % rans::kMinSegment != 0) {
    return note(&progress.error, RansError::kSegmentSymbols, at + 4);
  }
  if (n_segments != (n_symbols + segment_symbols - 1) / segment_symbols) {
    return note(&progress.error, RansError::kSegments, at + 8);
  }
  record.ends = at + rans::kRecordHeadBytes;
  if ((record.n_bytes - record.ends) / 4 < n_segments) {
    return note(&progress.error, RansError::kRecordCut, at);
  }
  record.body = record.ends + 4 * std::uint64_t{n_segments};
  const std::uint64_t end = segment_begin(data, record, n_segments);
  if (end > record.n_bytes) return note(&progress.error, RansError::kEnds, at);
  record.n_segments = n_segments;
  record.segment_symbols = segment_symbols;
  record.log2_lanes = log2_lanes;
  record.escapes = descriptor & rans::kDescriptorEscape;
  progress.position = end;
}

}  // namespace glc::cuda

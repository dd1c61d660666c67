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
// Latency is hidden by warps, not by several runs a warp: a step is a chain of about 150 cycles
// and 45 instructions, and 12 warps a scheduler fill it.
#pragma once

#include "rans/rans_cuda.cuh"
#include "rans/stream_check.h"

namespace glc::cuda {

inline constexpr int kAhead = 4;         // steps
inline constexpr int kWindowWords = 64;  // 32-bit, of a warp

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

/// Bytes are summed at the end, four at a time.
template <class Value>
inline constexpr bool kSumsSymbols = sizeof(Value) == 4;

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
  std::uint32_t sum;    ///< of the lane's symbols (sum_of_lanes); not of bytes
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
  __device__ Window(std::uint32_t* ring, const std::uint32_t* words, std::uint32_t n, Group group)
      : ring_(ring + 2 * group.first),
        words_(words),
        n_(n),
        lanes_(group.lanes),
        next_(static_cast<std::uint32_t>(group.lane)) {
    for (int half = 0; half < 2; ++half) {
      ring_[slot()] = load();
      next_ += static_cast<std::uint32_t>(lanes_);
    }
    ahead_ = load();
    __syncwarp();
  }
  /// Word k of the segment, when it is in the window.
  [[nodiscard]] __device__ std::uint32_t word(std::uint32_t k) const {
    const std::uint32_t pair = ring_[k / 2 & (2U * static_cast<std::uint32_t>(lanes_) - 1U)];
    return k % 2 == 0 ? pair & 0xFFFFU : pair >> 16;
  }
  /// Once every two steps, by all lanes of the warp; used is the number of words that are done.
  __device__ void refill(std::uint32_t used) {
    const auto half = static_cast<std::uint32_t>(2 * lanes_);
    const bool spent = used - spent_ >= half;
    if (__any_sync(kFullWarp, spent) == 0) return;
    __syncwarp();  // others may still read what is overwritten
    if (spent) {
      ring_[slot()] = ahead_;
      next_ += static_cast<std::uint32_t>(lanes_);
      ahead_ = load();
      spent_ += half;
    }
    __syncwarp();
  }

 private:
  [[nodiscard]] __device__ std::uint32_t slot() const {
    return next_ & (2U * static_cast<std::uint32_t>(lanes_) - 1U);
  }
  [[nodiscard]] __device__ std::uint32_t load() const {
    return next_ < n_ ? __ldg(&words_[next_]) : 0;
  }

  std::uint32_t* ring_;
  const std::uint32_t* words_;
  std::uint32_t n_;
  int lanes_;
  std::uint32_t next_;  // 32-bit word that this lane loads next
  std::uint32_t spent_ = 0;
  std::uint32_t ahead_;
};

/// Decodes all symbols of the group's segment; every lane of the warp calls it.
template <class Lookup, class Row, class Value>
__device__ __forceinline__ void decode_segment(const DecodeParams<Row, Value>& p,
                                               const Lookup& lookup,
                                               const Group& group,
                                               std::uint32_t* ring,
                                               SegmentRun<Value>& run) {
  const std::uint32_t steps = (run.n + static_cast<std::uint32_t>(group.lanes) - 1U) /
                              static_cast<std::uint32_t>(group.lanes);
  const std::uint32_t most_steps = __reduce_max_sync(kFullWarp, steps);
  Window window(ring, run.words, run.n_words32, group);
  const std::uint32_t sum_factor = rans::sum_power(static_cast<std::uint32_t>(group.lanes));
  auto i = static_cast<std::uint32_t>(group.lane);
  const auto row_at = [&](std::uint32_t k) {
    return k < run.n ? row_of(p.rows, p.one_row, run.begin + k) : 0;
  };
  std::uint32_t rows[kAhead];
  for (int a = 0; a < kAhead; ++a)
    rows[a] = row_at(i + static_cast<std::uint32_t>(a * group.lanes));
  for (std::uint32_t step = 0; step < most_steps; step += kAhead) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (a % 2 == 0) window.refill(run.used);
      const bool active = i < run.n;
      std::uint32_t row = rows[a];
      rows[a] = row_at(i + static_cast<std::uint32_t>(kAhead * group.lanes));
      if (row >= p.layout.n_rows) {
        note(&p.progress->error, RansError::kRow, run.begin + i);
        row = 0;
      }
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
        const Value value = lookup.value(bin);
        p.out[run.begin + i] = value;
        if constexpr (kSumsSymbols<Value>) {
          run.sum = run.sum * sum_factor + static_cast<std::uint32_t>(value);
        }
      }
      i += static_cast<std::uint32_t>(group.lanes);
    }
  }
}

/// Bits of a segment from a byte on, most significant first.
class DeviceBits {
 public:
  __device__ DeviceBits(const std::uint8_t* bytes, std::uint64_t n_bytes)
      : bytes_(bytes), n_bits_(8 * n_bytes) {}
  /// The next Elias-gamma number, or 0 when the bits run out or it has too many.
  __device__ std::uint64_t gamma(int max_width) {
    int width = 1;
    for (;; ++width) {
      if (at_ >= n_bits_ || width > max_width) return 0;
      if (bit()) break;
    }
    std::uint64_t number = 1;
    for (int i = 1; i < width; ++i) {
      if (at_ >= n_bits_) return 0;
      number = number << 1 | (bit() ? 1U : 0U);
    }
    return number;
  }
  /// The next eight; n_left() has to be asked first.
  __device__ std::uint32_t byte() {
    std::uint32_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 1 | (bit() ? 1U : 0U);
    return value;
  }
  [[nodiscard]] __device__ std::uint64_t n_left() const { return n_bits_ - at_; }
  [[nodiscard]] __device__ bool skip_padding() {
    while (at_ % 8 != 0) {
      if (bit()) return false;
    }
    return true;
  }
  [[nodiscard]] __device__ std::uint64_t bytes_used() const { return (at_ + 7) / 8; }

 private:
  __device__ bool bit() {
    const bool value = (bytes_[at_ / 8] & 0x80U >> at_ % 8) != 0;
    ++at_;
    return value;
  }
  const std::uint8_t* bytes_;
  std::uint64_t n_bits_;
  std::uint64_t at_ = 0;
};

/// Finds the group's escapes, which stand as `marker` in out, and calls put(i, number) in the lane
/// that decoded symbol i. Returns the bytes that the numbers take.
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
  for (std::uint32_t base = 0; base < run.n; base += static_cast<std::uint32_t>(group.lanes)) {
    const std::uint32_t k = base + static_cast<std::uint32_t>(group.lane);
    const bool mine = k < run.n && p.out[run.begin + k] == marker;
    unsigned left = __ballot_sync(group.mask, mine);
    for (; left != 0; left &= left - 1) {
      const std::uint64_t number = bits.gamma(max_width);
      if (number == 0) {
        if (group.lane == 0) note(&p.progress->error, RansError::kEscapeNumber, place);
        return bits.bytes_used();
      }
      if (__ffs(static_cast<int>(left)) - 1 == Group::thread_lane()) put(run.begin + k, number);
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

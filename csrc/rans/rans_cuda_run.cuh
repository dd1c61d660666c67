// SPDX-License-Identifier: Apache-2.0
//
// What a decoding kernel is given, and the heads it reads: of the record, and of each segment.
#pragma once

#include "rans/rans_cuda.cuh"

namespace glc::cuda {

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

/// At most 32 runs of a segment's symbols, so that a word tells in which of them escapes are. Each
/// is a multiple of what a group decodes, or looks through for escapes, at once.
class Chunks {
 public:
  Chunks() = default;
  __device__ Chunks(std::uint32_t n_symbols, std::uint32_t log2_lanes) {
    const int zeros = __clz(static_cast<int>((n_symbols - 1U) / kMost));
    const std::uint32_t least = log2_lanes + kLog2Steps;
    log2_size_ = 32U - static_cast<std::uint32_t>(zeros);
    if (log2_size_ < least) log2_size_ = least;
  }
  [[nodiscard]] __device__ std::uint32_t of(std::uint32_t i) const { return i >> log2_size_; }
  [[nodiscard]] __device__ std::uint32_t begin(std::uint32_t chunk) const {
    return chunk << log2_size_;
  }

 private:
  static constexpr std::uint32_t kMost = 32;
  static constexpr std::uint32_t kLog2Steps = 4;  // of a group: 16 bytes of symbols for each lane
  std::uint32_t log2_size_ = 0;
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
  Chunks chunks;
  std::uint32_t escapes;  ///< bit k: this lane decoded one in chunk k
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
  run.chunks = Chunks(run.n, record.log2_lanes);
  return run;
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

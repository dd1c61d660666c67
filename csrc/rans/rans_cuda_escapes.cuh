// SPDX-License-Identifier: Apache-2.0
//
// The numbers behind a segment's words, of the symbols that have no bin of their own.
#pragma once

#include "rans/rans_cuda_run.cuh"

namespace glc::cuda {

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

/// Finds the group's escapes, which stand as `marker` in out, in the chunks that have any, and
/// calls put(i, number) in one lane for each symbol i that is one. Returns the bytes that the
/// numbers take.
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
  unsigned chunks = __reduce_or_sync(group.mask, run.escapes);
  for (; chunks != 0; chunks &= chunks - 1) {
    const auto chunk = static_cast<std::uint32_t>(__ffs(static_cast<int>(chunks)) - 1);
    const std::uint32_t whole = run.chunks.begin(chunk + 1);
    const std::uint32_t end = whole < run.n ? whole : run.n;
    std::uint32_t base = run.chunks.begin(chunk);
    std::uint32_t k = base + kPer * static_cast<std::uint32_t>(group.lane);
    unsigned ahead = markers(values, k, end, marker);
    for (; base < end; base += step, k += step) {
      const unsigned found = ahead;
      ahead = markers(values, k + step, end, marker);
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
  }
  if (!bits.skip_padding() && group.lane == 0) {
    note(&p.progress->error, RansError::kEscapePadding, place);
  }
  return bits.bytes_used();
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// How a push is cut, and the room that its record needs.
#include "rans/segments.h"

#include <algorithm>
#include <string>

#include "glc/error.h"

namespace glc::rans {
namespace {

constexpr std::uint64_t kGoodSegmentBytes = 65536;

std::uint64_t whole_bytes(std::uint64_t cost) { return cost >> (16 + 3); }

}  // namespace

Turns::Turns(std::size_t n_segments, std::size_t n_threads, std::size_t at_once)
    : at_once_(at_once), n_whole_(n_segments / (at_once * n_threads) * n_threads) {
  const std::size_t left = n_segments - at_once * n_whole_;
  n_last_ = std::min(left, n_threads);
  of_last_ = n_last_ == 0 ? 0 : left / n_last_;
  n_longer_ = n_last_ == 0 ? 0 : left % n_last_;
}

bool worth_segments(std::uint64_t cost) { return whole_bytes(cost) >= kGoodSegmentBytes * 3 / 2; }

void check_segment_symbols(std::size_t n) {
  if (n < kMinSegment || n > kMaxSegment || n % kMinSegment != 0) {
    throw InvalidArgument("rans: segment_symbols: expected a multiple of 32 in 32..2^30, got " +
                          std::to_string(n));
  }
}

void check_lanes(int n) {
  if (n < 1 || n > kMaxLanes || (n & (n - 1)) != 0) {
    throw InvalidArgument("rans: lanes: expected 1, 2, 4, 8, 16 or 32, got " + std::to_string(n));
  }
}

Segmentation segmentation(std::size_t n,
                          std::uint64_t cost,
                          std::optional<int> lanes,
                          std::optional<std::size_t> segment_symbols) {
  Segmentation cut{};
  if (segment_symbols) {
    cut.segment_symbols = *segment_symbols;
  } else {
    const std::uint64_t n_good = (whole_bytes(cost) + kGoodSegmentBytes / 2) / kGoodSegmentBytes;
    const std::size_t n_wanted = std::max<std::size_t>(1, static_cast<std::size_t>(n_good));
    cut.segment_symbols =
        std::clamp(round_up(ceil_div(n, n_wanted), kMinSegment), kMinSegment, kMaxSegment);
  }
  cut.n_segments = ceil_div(n, cut.segment_symbols);
  cut.lanes = lanes.value_or(lanes_for_cost(cost / std::max<std::size_t>(1, cut.n_segments)));
  return cut;
}

std::size_t record_bound(std::size_t n, std::uint64_t escape_bits, const Segmentation& cut) {
  const std::size_t segment_bytes =
      kEndBytes + kStateBytes * static_cast<std::size_t>(cut.lanes) + 1 + kRecordAlign;
  return kRecordHeadBytes + static_cast<std::size_t>(escape_bits / 8) + 2 * n +
         cut.n_segments * segment_bytes;
}

}  // namespace glc::rans

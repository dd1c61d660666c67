// SPDX-License-Identifier: Apache-2.0
//
// A push cut into segments, each with states and words of its own, so that threads, vectors and
// warps can work on them side by side. docs/format.md, "Segments", is the specification.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "glc/rans.h"
#include "rans/byte_tables.h"
#include "rans/entries.h"
#include "rans/rans_backend.h"
#include "rans/stream.h"

namespace glc::rans {

inline constexpr std::size_t kStreamHeadBytes = 4;
inline constexpr std::size_t kMinSegment = 32;
inline constexpr std::size_t kMaxSegment = std::size_t{1} << 30;
inline constexpr std::size_t kRecordHeadBytes = 12;
inline constexpr std::size_t kRecordAlign = 4;
inline constexpr std::size_t kEndBytes = 4;  ///< of an entry in the table of ends

[[nodiscard]] constexpr std::size_t ceil_div(std::size_t a, std::size_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}
[[nodiscard]] constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return ceil_div(n, unit) * unit;
}

/// How the segments of a record are dealt to threads. A turn codes some side by side, which is
/// faster than one by one; but what is left for the last round is spread over all threads.
class Turns {
 public:
  /// at_once: of a turn.
  Turns(std::size_t n_segments, std::size_t n_threads, std::size_t at_once);
  [[nodiscard]] std::size_t size() const { return n_whole_ + n_last_; }
  /// First segment of a turn; that of the turn after the last is the number of segments.
  [[nodiscard]] std::size_t first(std::size_t turn) const {
    if (turn <= n_whole_) return at_once_ * turn;
    const std::size_t last = turn - n_whole_;
    return at_once_ * n_whole_ + last * of_last_ + std::min(last, n_longer_);
  }

 private:
  std::size_t at_once_;
  std::size_t n_whole_;   // turns, before
  std::size_t n_last_;    // of
  std::size_t of_last_;   // segments each, and one more
  std::size_t n_longer_;  // in the first of them
};

/// How a push is cut.
struct Segmentation {
  int lanes;
  std::size_t segment_symbols;  ///< a multiple of 32
  std::size_t n_segments;
};

/// The rule of the format for what the caller leaves open; cost in units of 2^-16 bit.
[[nodiscard]] Segmentation segmentation(std::size_t n,
                                        std::uint64_t cost,
                                        std::optional<int> lanes,
                                        std::optional<std::size_t> segment_symbols);

/// True when the rule cuts a stream of this cost at all.
[[nodiscard]] bool worth_segments(std::uint64_t cost);

/// Throws InvalidArgument unless n is a multiple of 32 in kMinSegment..kMaxSegment.
void check_segment_symbols(std::size_t n);
/// Throws InvalidArgument unless there can be so many states.
void check_lanes(int n);

/// Bytes that write_record() needs for n symbols with escapes of escape_bits.
[[nodiscard]] std::size_t record_bound(std::size_t n,
                                       std::uint64_t escape_bits,
                                       const Segmentation& cut);

/// The escape numbers of the symbols from begin to end, as bits padded to whole bytes. Called from
/// several threads.
using EscapesOf = std::function<std::vector<std::uint8_t>(std::size_t begin, std::size_t end)>;

/// Codes one push as a record and returns its size, a multiple of 4; or 0 when it is longer than
/// out or its segments take more than the 16 GiB that their ends can tell. Then out is unspecified.
/// indices [n] name entries; escapes_of is null when no symbol escapes; check is that of what every
/// segment vouches for beside its escapes (stream_check.h), sums are those of the segments'
/// symbols, or none for bytes.
template <class Index>
std::size_t write_record(const EncodeEntry* entries,
                         int bits,
                         std::span<const Index> indices,
                         const EscapesOf* escapes_of,
                         const Segmentation& cut,
                         std::uint32_t check,
                         std::span<const std::uint32_t> sums,
                         std::span<std::uint8_t> out);

/// Decodes the record that begins at `begin` and returns where it ends. Throws BitstreamError,
/// naming the offset in data, or InvalidArgument for a row outside the tables; then out is
/// unspecified.
std::size_t read_record(std::span<const std::uint8_t> data,
                        std::size_t begin,
                        const Rows& rows,
                        const TableSet& tables,
                        std::span<std::int32_t> out);

/// The same for bytes, of segments that begin with this check.
std::size_t read_record(std::span<const std::uint8_t> data,
                        std::size_t begin,
                        const ByteDecoder& bytes,
                        std::uint32_t check,
                        std::span<std::uint8_t> out);

}  // namespace glc::rans

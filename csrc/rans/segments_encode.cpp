// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/big_array.h"
#include "core/little_endian.h"
#include "core/thread_pool.h"
#include "glc/threads.h"
#include "rans/rans_backend.h"
#include "rans/rans_kernels.h"
#include "rans/segments.h"

namespace glc::rans {
namespace {

/// Bytes of all segments of a record, at most: their ends are 32-bit counts of 4 bytes.
constexpr std::size_t kMaxRecordBody = kRecordAlign * std::size_t{UINT32_MAX};

/// Coded words of a segment, in scratch memory until their place in the record is known.
struct Coded {
  std::vector<std::uint8_t> escapes;
  std::uint32_t states[kMaxLanes];
  std::uint8_t* words;
  std::uint8_t* words_end;

  [[nodiscard]] std::size_t words_bytes() const {
    return static_cast<std::size_t>(words_end - words);
  }
};

/// Scratch bytes of one segment of a push of n symbols, which may be far fewer than it could hold.
std::size_t segment_room(const Segmentation& cut, std::size_t n) {
  return 2 * std::min(cut.segment_symbols, n) + kWordSlack;
}

/// The check that a segment begins with, given that of what it vouches for beside its symbols, and
/// the sums of all segments unless they are of bytes.
template <class Index>
std::uint32_t check_of_segment(std::uint32_t check,
                               std::span<const Index> indices,
                               std::span<const std::uint32_t> sums,
                               std::size_t segment) {
  if constexpr (std::is_same_v<Index, std::uint8_t>) {
    return check_with_sum<std::uint8_t>(check, byte_sum(indices));
  } else {
    return check_with_sum<std::int32_t>(check, sums[segment]);
  }
}

/// Codes segments first .. first + n - 1 side by side, each into its own room; their escapes are
/// there.
template <class Index>
void code_turn(const EncodeEntry* entries,
               int bits,
               std::span<const Index> indices,
               const Segmentation& cut,
               std::size_t first,
               std::uint32_t check,
               std::span<const std::uint32_t> sums,
               std::span<Coded> coded,
               std::uint8_t* scratch) {
  EncodeRun<Index> runs[kMaxRuns];
  for (std::size_t r = 0; r < coded.size(); ++r) {
    const std::size_t begin = (first + r) * cut.segment_symbols;
    const auto own = indices.subspan(begin, std::min(cut.segment_symbols, indices.size() - begin));
    const std::uint32_t own_check = check_of(coded[r].escapes, check);
    start_states(
        coded[r].states, cut.lanes, check_of_segment<Index>(own_check, own, sums, first + r));
    coded[r].words_end = scratch + (r + 1) * segment_room(cut, indices.size());
    runs[r] = {.indices = own.data(),
               .n = own.size(),
               .states = coded[r].states,
               .words = coded[r].words_end};
  }
  encode_runs(entries, bits, cut.lanes, std::span(runs).first(coded.size()));
  for (std::size_t r = 0; r < coded.size(); ++r) coded[r].words = runs[r].words;
}

/// Memory of the turns under way, each piece used by one after the other.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : bytes_(bytes) {}

  using Piece = BigArray<std::uint8_t>;
  Piece take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return big_array<std::uint8_t>(bytes_);
    Piece piece = std::move(free_.back());
    free_.pop_back();
    return piece;
  }
  void give(Piece piece) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(piece));
  }

 private:
  std::size_t bytes_;
  std::mutex mutex_;
  std::vector<Piece> free_;
};

/// Adds sizes up in the order of the turns, whichever thread is first to know its own.
class SumInTurn {
 public:
  /// Waits for the turns before this one; returns the sum of their sizes.
  std::size_t add(std::size_t turn, std::size_t size) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ == turn; });
    ++next_;
    changed_.notify_all();
    return std::exchange(sum_, sum_ + size);
  }
  /// After all turns.
  [[nodiscard]] std::size_t sum() const { return sum_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0;
  std::size_t sum_ = 0;
};

/// A turn's entry in the sum: whoever leaves the turn early, by an exception, adds nothing, so that
/// the turns after it do not wait for ever.
class Turn {
 public:
  Turn(SumInTurn& sum, std::size_t number) : sum_(&sum), number_(number) {}
  ~Turn() {
    if (sum_ != nullptr) sum_->add(number_, 0);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  std::size_t add(std::size_t size) { return std::exchange(sum_, nullptr)->add(number_, size); }

 private:
  SumInTurn* sum_;
  std::size_t number_;
};

}  // namespace

template <class Index>
std::size_t write_record(const EncodeEntry* entries,
                         int bits,
                         std::span<const Index> indices,
                         const EscapesOf* escapes_of,
                         const Segmentation& cut,
                         std::uint32_t check,
                         std::span<const std::uint32_t> sums,
                         std::span<std::uint8_t> out) {
  const std::size_t head_bytes = kRecordHeadBytes + kEndBytes * cut.n_segments;
  if (cut.n_segments > UINT32_MAX || head_bytes > out.size()) return 0;
  const std::size_t room = std::min(kMaxRecordBody, out.size() - head_bytes);
  std::atomic<bool> fits = true;
  std::uint8_t* const ends = out.data() + kRecordHeadBytes;
  std::uint8_t* const body = ends + kEndBytes * cut.n_segments;
  const auto at_once = static_cast<std::size_t>(runs_at_once(cut.lanes));
  Scratch scratch(std::min(at_once, cut.n_segments) * segment_room(cut, indices.size()));
  SumInTurn sizes;
  const Turns turns(cut.n_segments, static_cast<std::size_t>(threads()), at_once);
  parallel_for(turns.size(), [&](std::size_t number) {
    Turn turn(sizes, number);
    if (!fits) return;
    const std::size_t first = turns.first(number);
    Coded runs[kMaxRuns];
    const auto coded = std::span(runs).first(turns.first(number + 1) - first);
    for (std::size_t r = 0; escapes_of != nullptr && r < coded.size(); ++r) {
      const std::size_t begin = (first + r) * cut.segment_symbols;
      coded[r].escapes =
          (*escapes_of)(begin, std::min(begin + cut.segment_symbols, indices.size()));
    }
    Scratch::Piece piece = scratch.take();
    code_turn<Index>(entries, bits, indices, cut, first, check, sums, coded, piece.get());

    std::size_t segment_bytes[kMaxRuns];
    std::size_t turn_bytes = 0;
    for (std::size_t r = 0; r < coded.size(); ++r) {
      segment_bytes[r] = round_up(kStateBytes * static_cast<std::size_t>(cut.lanes) +
                                      coded[r].words_bytes() + coded[r].escapes.size(),
                                  kRecordAlign);
      turn_bytes += segment_bytes[r];
    }
    std::size_t at = turn.add(turn_bytes);
    if (at + turn_bytes > room) {
      fits = false;
      return;
    }
    for (std::size_t r = 0; r < coded.size(); ++r) {
      std::uint8_t* p = body + at;
      at += segment_bytes[r];
      store_states(coded[r].states, cut.lanes, p);
      p = std::copy_n(coded[r].words, coded[r].words_bytes(), p + kStateBytes * cut.lanes);
      p = std::ranges::copy(coded[r].escapes, p).out;
      std::fill(p, body + at, std::uint8_t{0});
      store_u32(ends + kEndBytes * (first + r), static_cast<std::uint32_t>(at / kRecordAlign));
    }
    scratch.give(std::move(piece));
  });
  if (!fits) return 0;
  store_u32(out.data(), descriptor_of(cut.lanes, escapes_of != nullptr));
  store_u32(out.data() + 4, static_cast<std::uint32_t>(cut.segment_symbols));
  store_u32(out.data() + 8, static_cast<std::uint32_t>(cut.n_segments));
  return head_bytes + sizes.sum();
}

template std::size_t write_record(const EncodeEntry*,
                                  int,
                                  std::span<const std::uint16_t>,
                                  const EscapesOf*,
                                  const Segmentation&,
                                  std::uint32_t,
                                  std::span<const std::uint32_t>,
                                  std::span<std::uint8_t>);
template std::size_t write_record(const EncodeEntry*,
                                  int,
                                  std::span<const std::uint32_t>,
                                  const EscapesOf*,
                                  const Segmentation&,
                                  std::uint32_t,
                                  std::span<const std::uint32_t>,
                                  std::span<std::uint8_t>);
template std::size_t write_record(const EncodeEntry*,
                                  int,
                                  std::span<const std::uint8_t>,
                                  const EscapesOf*,
                                  const Segmentation&,
                                  std::uint32_t,
                                  std::span<const std::uint32_t>,
                                  std::span<std::uint8_t>);

}  // namespace glc::rans

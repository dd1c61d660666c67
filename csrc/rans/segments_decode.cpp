// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

#include "core/byte_reader.h"
#include "core/little_endian.h"
#include "core/thread_pool.h"
#include "glc/error.h"
#include "glc/threads.h"
#include "rans/bit_io.h"
#include "rans/escapes.h"
#include "rans/rans_backend.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/segments.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "rans";
constexpr std::uint32_t kRecordDescriptorMask = kDescriptorLanesMask | kDescriptorEscape;

struct RecordHead {
  int lanes;
  bool escapes;
  std::size_t segment_symbols;
  std::size_t n_segments;
  std::span<const std::uint8_t> ends;
  std::size_t body;  ///< offset of the first segment in the data

  /// Offset in the data of the end of segment s; until that was checked, maybe beyond any size_t.
  [[nodiscard]] std::uint64_t end(std::size_t s) const {
    return body + kRecordAlign * std::uint64_t{load_u32(&ends[kEndBytes * s])};
  }
  [[nodiscard]] std::size_t begin(std::size_t s) const {
    return s == 0 ? body : static_cast<std::size_t>(end(s - 1));
  }
  [[nodiscard]] std::size_t record_end() const { return begin(n_segments); }
};

RecordHead read_head(std::span<const std::uint8_t> data, std::size_t begin, std::size_t n) {
  ByteReader reader(data, kContext);
  reader.bytes(begin, "record");
  RecordHead head{};
  const std::uint32_t descriptor = reader.u32("record descriptor");
  const std::uint32_t log2_lanes = descriptor & kDescriptorLanesMask;
  if (log2_lanes > 5 || (descriptor & ~kRecordDescriptorMask) != 0) {
    reader.fail("record descriptor", "more than 32 lanes, or reserved bits are set", begin);
  }
  head.lanes = 1 << log2_lanes;
  head.escapes = (descriptor & kDescriptorEscape) != 0;
  head.segment_symbols = reader.u32("segment symbols");
  if (head.segment_symbols < kMinSegment || head.segment_symbols > kMaxSegment ||
      head.segment_symbols % kMinSegment != 0) {
    reader.fail(
        "segment symbols",
        "expected a multiple of 32 in 32..2^30, got " + std::to_string(head.segment_symbols),
        begin + 4);
  }
  head.n_segments = reader.u32("segments");
  const std::size_t n_expected = ceil_div(n, head.segment_symbols);
  if (head.n_segments != n_expected) {
    reader.fail("segments",
                "expected " + std::to_string(n_expected) + " for " + std::to_string(n) +
                    " symbols, got " + std::to_string(head.n_segments),
                begin + 8);
  }
  head.ends = reader.bytes(kEndBytes * head.n_segments, "segment ends");
  head.body = reader.position();
  std::uint64_t last = head.body;
  for (std::size_t s = 0; s < head.n_segments; ++s) {
    const std::uint64_t end = head.end(s);
    if (end <= last || end > data.size()) {
      reader.fail("segment ends",
                  "expected ascending ends inside the data",
                  begin + kRecordHeadBytes + kEndBytes * s);
    }
    last = end;
  }
  return head;
}

/// The violation in the first segment that has one; segments end in any order.
class FirstError {
 public:
  void report(std::size_t segment, const char* what, std::size_t offset) {
    const std::lock_guard lock(mutex_);
    if (segment >= segment_) return;
    segment_ = segment;
    what_ = what;
    offset_ = offset;
  }
  void raise() const {
    if (what_ == nullptr) return;
    throw BitstreamError(std::string(kContext) + ": segment " + std::to_string(segment_) + ": " +
                         what_ + " (at byte " + std::to_string(offset_) + ")");
  }

 private:
  std::mutex mutex_;
  std::size_t segment_ = std::numeric_limits<std::size_t>::max();
  const char* what_ = nullptr;
  std::size_t offset_ = 0;
};

/// A segment being read: its states and the run that fills its symbols.
template <class Row, class Value>
struct Reading {
  std::uint32_t states[kMaxLanes];
  DecodeRun<Row, Value> run;
  std::span<Value> symbols;
  EscapePlaces escapes;
};

/// Reads the segment's states; says what is wrong with them.
template <class Row, class Value>
const char* open_segment(const RecordHead& head,
                         std::span<const std::uint8_t> data,
                         std::size_t s,
                         Reading<Row, Value>& reading) {
  const std::uint8_t* p = data.data() + head.begin(s);
  const std::uint8_t* const end = data.data() + head.begin(s + 1);
  if (end - p < kStateBytes * head.lanes) return "states: truncated";
  for (int lane = 0; lane < head.lanes; ++lane, p += kStateBytes) {
    const std::uint32_t stored = load_u32(p);
    reading.states[lane] = stored << 16 | stored >> 16;  // high word first
    if (reading.states[lane] < kStateLow) return "states: expected at least 65536";
  }
  reading.run.states = reading.states;
  reading.run.next = p;
  reading.run.end = end;
  reading.run.out = reading.symbols.data();
  reading.run.n = reading.symbols.size();
  reading.run.symbols_per_byte = reading.run.n / static_cast<std::size_t>(end - p + 1);
  return nullptr;
}

/// Checks what is left of a segment after its last symbol and its escapes, which end at used; check
/// is that of what precedes them.
template <class Row, class Value>
const char* close_segment(const RecordHead& head,
                          const Reading<Row, Value>& reading,
                          std::uint32_t check,
                          const std::uint8_t* used) {
  check = check_with_sum<Value>(check_of({reading.run.next, used}, check), reading.run.sum);
  if (lane_astray(reading.states, head.lanes, check) != head.lanes) {
    return "words: a lane does not end in its initial state";
  }
  const auto n_left = static_cast<std::size_t>(reading.run.end - used);
  if (n_left >= kRecordAlign) return "words: bytes are left over";
  if (std::any_of(used, reading.run.end, [](std::uint8_t b) { return b != 0; })) {
    return "padding: expected zero bytes";
  }
  return nullptr;
}

constexpr const char* kUnexpectedEscape = "words: an escape in a record without";

/// Reads a segment's escape numbers, which begin at used, and moves used past them and their
/// padding; read(numbers) says what is wrong with them.
template <class Read>
const char* read_numbers(const std::uint8_t*& used, const std::uint8_t* end, Read read) {
  BitReader numbers({used, end});
  const char* what = read(numbers);
  const bool padded = numbers.skip_padding();
  used += numbers.bytes_used();
  return what == nullptr && !padded ? "escape section: padding bits are set" : what;
}

/// Decodes every segment. set_rows(i, run) gives a run that begins at symbol i its rows;
/// decode(runs, places) calls the kernels; escapes(i, reading, used) resolves the escapes that
/// begin at used, moves it past them and says what is wrong with them; check is that of segments
/// without.
template <class Row, class Value, class SetRows, class Decode, class Escapes>
void read_segments(const RecordHead& head,
                   std::span<const std::uint8_t> data,
                   std::uint32_t check,
                   std::span<Value> out,
                   SetRows set_rows,
                   Decode decode,
                   Escapes escapes) {
  FirstError error;
  const Turns turns(head.n_segments,
                    static_cast<std::size_t>(threads()),
                    static_cast<std::size_t>(runs_at_once(head.lanes)));
  parallel_for(turns.size(), [&](std::size_t turn) {
    Reading<Row, Value> readings[kMaxRuns];
    DecodeRun<Row, Value> runs[kMaxRuns];
    const std::size_t first = turns.first(turn);
    const std::size_t n = turns.first(turn + 1) - first;
    const auto offset = [&](const std::uint8_t* p) {
      return static_cast<std::size_t>(p - data.data());
    };
    for (std::size_t r = 0; r < n; ++r) {
      const std::size_t begin = (first + r) * head.segment_symbols;
      readings[r].symbols = out.subspan(begin, std::min(head.segment_symbols, out.size() - begin));
      set_rows(begin, readings[r].run);
      if (const char* what = open_segment(head, data, first + r, readings[r])) {
        return error.report(first + r, what, head.begin(first + r));
      }
      runs[r] = readings[r].run;
    }
    EscapePlaces places[kMaxRuns];
    decode(std::span(runs).first(n), std::span(places).first(n));
    for (std::size_t r = 0; r < n; ++r) {
      readings[r].run = runs[r];
      readings[r].escapes = std::move(places[r]);
      const std::uint8_t* used = runs[r].next;
      const char* what = runs[r].n != 0
                             ? "words: the data is truncated"
                             : escapes((first + r) * head.segment_symbols, readings[r], used);
      if (what == nullptr) what = close_segment(head, readings[r], check, used);
      if (what != nullptr) return error.report(first + r, what, offset(used));
    }
  });
  error.raise();
}

}  // namespace

std::size_t read_record(std::span<const std::uint8_t> data,
                        std::size_t begin,
                        const Rows& rows,
                        const TableSet& tables,
                        std::span<std::int32_t> out) {
  const RecordHead head = read_head(data, begin, out.size());
  const DecodeTables decode_tables = tables.data().decode_tables();
  visit_rows(rows, [&]<class Row>(const Row* all_rows) {
    read_segments<Row, std::int32_t>(
        head,
        data,
        0,
        out,
        [&](std::size_t i, DecodeRun<Row, std::int32_t>& run) {
          run.rows = rows_from(all_rows, i);
        },
        [&](std::span<DecodeRun<Row, std::int32_t>> runs, std::span<EscapePlaces> places) {
          decode_runs(decode_tables, head.lanes, runs, places);
        },
        [&](std::size_t i,
            Reading<Row, std::int32_t>& reading,
            const std::uint8_t*& used) -> const char* {
          if (reading.escapes.empty()) return nullptr;
          if (!head.escapes) return kUnexpectedEscape;
          return read_numbers(used, reading.run.end, [&](BitReader& numbers) {
            return read_escapes(numbers,
                                rows_from(all_rows, i),
                                tables.data(),
                                reading.escapes,
                                reading.symbols,
                                reading.run.sum);
          });
        });
  });
  return head.record_end();
}

std::size_t read_record(std::span<const std::uint8_t> data,
                        std::size_t begin,
                        const ByteDecoder& bytes,
                        std::uint32_t check,
                        std::span<std::uint8_t> out) {
  const RecordHead head = read_head(data, begin, out.size());
  static constexpr OneRow kRow{0};
  using Run = DecodeRun<OneRow, std::uint8_t>;
  read_segments<OneRow, std::uint8_t>(
      head,
      data,
      check,
      out,
      [](std::size_t, Run& run) { run.rows = &kRow; },
      [&](std::span<Run> runs, std::span<EscapePlaces> places) {
        decode_runs(bytes.slots.data(), bytes.marker(), head.lanes, runs, places);
      },
      [&](std::size_t,
          Reading<OneRow, std::uint8_t>& reading,
          const std::uint8_t*& used) -> const char* {
        if (reading.escapes.empty()) return nullptr;
        if (!head.escapes) return kUnexpectedEscape;
        return read_numbers(used, reading.run.end, [&](BitReader& numbers) {
          return bytes.read_escapes(
              numbers, reading.escapes, reading.symbols.data(), reading.run.sum);
        });
      });
  return head.record_end();
}

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
#include "rans/segments.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "core/byte_reader.h"
#include "core/thread_pool.h"
#include "glc/error.h"
#include "rans/bit_io.h"
#include "rans/escapes.h"
#include "rans/rans_backend.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "rans";
constexpr std::uint64_t kGoodSegmentBytes = 65536;
constexpr std::size_t kEndBytes = 4;
constexpr std::uint32_t kRecordDescriptorMask = kDescriptorLanesMask | kDescriptorEscape;

std::size_t ceil_div(std::size_t a, std::size_t b) { return a / b + (a % b != 0 ? 1 : 0); }
std::size_t round_up(std::size_t n, std::size_t unit) { return ceil_div(n, unit) * unit; }

std::uint32_t load_u32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}
void store_u32(std::uint8_t* p, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<std::uint8_t>(v >> (8 * i));
}

std::uint64_t whole_bytes(std::uint64_t cost) { return cost >> (16 + 3); }

/// Segments of one thread's turn: so many runs are in flight at once.
std::size_t n_turns(std::size_t n_segments) { return ceil_div(n_segments, kMaxRuns); }

// ------------------------------------------------------------------------------------ writing

/// Coded words of a segment, somewhere in the output buffer, until it is moved to its place.
struct Coded {
  std::uint32_t states[kMaxLanes];
  std::uint8_t* words;
  std::uint8_t* words_end;
};

/// Codes segments s .. s + n - 1 side by side, each into its own room.
template <class Index>
void code_turn(const EncodeEntry* entries,
               int bits,
               std::span<const Index> indices,
               const Segmentation& cut,
               std::span<Coded> coded,
               std::size_t s) {
  EncodeRun<Index> runs[kMaxRuns];
  const std::size_t n = std::min<std::size_t>(kMaxRuns, cut.n_segments - s);
  for (std::size_t r = 0; r < n; ++r) {
    const std::size_t begin = (s + r) * cut.segment_symbols;
    Coded& segment = coded[s + r];
    std::fill_n(segment.states, cut.lanes, kStateLow);
    runs[r] = {.indices = indices.data() + begin,
               .n = std::min(cut.segment_symbols, indices.size() - begin),
               .states = segment.states,
               .words = segment.words_end};
  }
  encode_runs(entries, bits, cut.lanes, std::span(runs).first(n));
  for (std::size_t r = 0; r < n; ++r) coded[s + r].words = runs[r].words;
}

/// Room of one segment's words before they are moved.
std::size_t segment_room(const Segmentation& cut) {
  return kWordSlack + static_cast<std::size_t>(kStateBytes) * static_cast<std::size_t>(cut.lanes);
}

// ------------------------------------------------------------------------------------ reading

struct RecordHead {
  int lanes;
  bool escapes;
  std::size_t segment_symbols;
  std::size_t n_segments;
  std::span<const std::uint8_t> ends;
  std::size_t body;  ///< offset of the first segment in the data

  /// Offset in the data of the end of segment s.
  [[nodiscard]] std::size_t end(std::size_t s) const {
    return body + kRecordAlign * std::size_t{load_u32(&ends[kEndBytes * s])};
  }
  [[nodiscard]] std::size_t begin(std::size_t s) const { return s == 0 ? body : end(s - 1); }
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
  std::size_t last = head.body;
  for (std::size_t s = 0; s < head.n_segments; ++s) {
    const std::size_t end = head.end(s);
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
  const std::uint8_t* const end = data.data() + head.end(s);
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
  return nullptr;
}

/// Checks what is left of a segment after its last symbol and its escapes.
template <class Row, class Value>
const char* close_segment(const RecordHead& head,
                          const Reading<Row, Value>& reading,
                          const std::uint8_t* used) {
  const bool at_start = std::all_of(
      reading.states, reading.states + head.lanes, [](std::uint32_t x) { return x == kStateLow; });
  if (!at_start) return "words: a lane does not end in its initial state";
  const auto n_left = static_cast<std::size_t>(reading.run.end - used);
  if (n_left >= kRecordAlign) return "words: bytes are left over";
  if (std::any_of(used, reading.run.end, [](std::uint8_t b) { return b != 0; })) {
    return "padding: expected zero bytes";
  }
  return nullptr;
}

/// Decodes every segment. set_rows(i, run) gives a run that begins at symbol i its rows;
/// decode(runs, places) calls the kernels; escapes(i, reading, used) resolves the escapes that
/// begin at used, moves it past them and says what is wrong with them.
template <class Row, class Value, class SetRows, class Decode, class Escapes>
void read_segments(const RecordHead& head,
                   std::span<const std::uint8_t> data,
                   std::span<Value> out,
                   SetRows set_rows,
                   Decode decode,
                   Escapes escapes) {
  FirstError error;
  parallel_for(n_turns(head.n_segments), [&](std::size_t turn) {
    Reading<Row, Value> readings[kMaxRuns];
    DecodeRun<Row, Value> runs[kMaxRuns];
    const std::size_t first = turn * kMaxRuns;
    const std::size_t n = std::min<std::size_t>(kMaxRuns, head.n_segments - first);
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
      if (what == nullptr) what = close_segment(head, readings[r], used);
      if (what != nullptr) return error.report(first + r, what, offset(used));
    }
  });
  error.raise();
}

}  // namespace

// ------------------------------------------------------------------------------------- the rule

bool worth_segments(std::uint64_t cost) { return whole_bytes(cost) >= kGoodSegmentBytes * 3 / 2; }

void check_segment_symbols(std::size_t n) {
  if (n < kMinSegment || n > kMaxSegment || n % kMinSegment != 0) {
    throw InvalidArgument("rans: segment_symbols: expected a multiple of 32 in 32..2^30, got " +
                          std::to_string(n));
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
  return kRecordHeadBytes + static_cast<std::size_t>(escape_bits / 8) + 2 * n +
         cut.n_segments * (kEndBytes + segment_room(cut) + 1 + kRecordAlign);
}

// ------------------------------------------------------------------------------------ encode

template <class Index>
std::size_t write_record(const EncodeEntry* entries,
                         int bits,
                         std::span<const Index> indices,
                         std::span<const Escape> escapes,
                         const Segmentation& cut,
                         std::span<std::uint8_t> out) {
  // Words go first to where they cannot be in the way: the room of each segment, in order, at the
  // end of the buffer.
  std::vector<Coded> coded(cut.n_segments);
  std::uint8_t* room = out.data() + out.size();
  for (std::size_t s = cut.n_segments; s-- > 0;) {
    coded[s].words_end = room;
    const std::size_t n = std::min(cut.segment_symbols, indices.size() - s * cut.segment_symbols);
    room -= segment_room(cut) + 2 * n;
  }
  parallel_for(n_turns(cut.n_segments), [&](std::size_t turn) {
    code_turn<Index>(entries, bits, indices, cut, coded, turn * kMaxRuns);
  });

  std::uint8_t* const body = out.data() + kRecordHeadBytes + kEndBytes * cut.n_segments;
  std::uint8_t* p = body;
  auto escape = escapes.begin();
  for (std::size_t s = 0; s < cut.n_segments; ++s) {
    const auto n_bytes = static_cast<std::size_t>(coded[s].words_end - coded[s].words);
    std::memmove(p + kStateBytes * cut.lanes, coded[s].words, n_bytes);
    store_states(coded[s].states, cut.lanes, p);
    p += static_cast<std::size_t>(kStateBytes * cut.lanes) + n_bytes;
    BitWriter numbers;
    for (; escape != escapes.end() && escape->symbol / cut.segment_symbols == s; ++escape) {
      numbers.gamma(escape->raw + 1);
    }
    const std::vector<std::uint8_t> section = numbers.take();
    p = std::copy(section.begin(), section.end(), p);
    while ((p - body) % static_cast<std::ptrdiff_t>(kRecordAlign) != 0) *p++ = 0;
    const auto end = static_cast<std::uint64_t>(p - body) / kRecordAlign;
    if (end > UINT32_MAX) {
      throw InvalidArgument("rans: push: expected at most 16 GiB of words; use several pushes");
    }
    store_u32(body - kEndBytes * (cut.n_segments - s), static_cast<std::uint32_t>(end));
  }
  store_u32(out.data(), descriptor_of(cut.lanes, !escapes.empty()));
  store_u32(out.data() + 4, static_cast<std::uint32_t>(cut.segment_symbols));
  store_u32(out.data() + 8, static_cast<std::uint32_t>(cut.n_segments));
  return static_cast<std::size_t>(p - out.data());
}

template std::size_t write_record(const EncodeEntry*,
                                  int,
                                  std::span<const std::uint32_t>,
                                  std::span<const Escape>,
                                  const Segmentation&,
                                  std::span<std::uint8_t>);
template std::size_t write_record(const EncodeEntry*,
                                  int,
                                  std::span<const std::uint8_t>,
                                  std::span<const Escape>,
                                  const Segmentation&,
                                  std::span<std::uint8_t>);

// ------------------------------------------------------------------------------------ decode

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
          if (!head.escapes) return "words: an escape in a record without";
          BitReader numbers({used, reading.run.end});
          const char* what = read_escapes(numbers,
                                          rows_from(all_rows, i),
                                          tables.data(),
                                          reading.escapes,
                                          reading.symbols.data());
          const bool padded = numbers.skip_padding();
          used += numbers.bytes_used();
          return what == nullptr && !padded ? "escape section: padding bits are set" : what;
        });
  });
  return head.record_end();
}

std::size_t read_record(std::span<const std::uint8_t> data,
                        std::size_t begin,
                        const std::uint32_t* slots,
                        std::span<std::uint8_t> out) {
  const RecordHead head = read_head(data, begin, out.size());
  static constexpr OneRow kRow{0};
  using Run = DecodeRun<OneRow, std::uint8_t>;
  read_segments<OneRow, std::uint8_t>(
      head,
      data,
      out,
      [](std::size_t, Run& run) { run.rows = &kRow; },
      [&](std::span<Run> runs, std::span<EscapePlaces>) { decode_runs(slots, head.lanes, runs); },
      [&](std::size_t, const Reading<OneRow, std::uint8_t>&, const std::uint8_t*&) {
        return head.escapes ? "record descriptor: bytes have no escapes" : nullptr;
      });
  return head.record_end();
}

}  // namespace glc::rans

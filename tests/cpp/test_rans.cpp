// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_state.h"
#include "rans_message.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::TableSet;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::decode;
using glc::test::encode;
using glc::test::gaussian;
using glc::test::make_message;
using glc::test::Message;
using glc::test::rows_of;
using glc::test::RowVector;
using glc::test::Symbols;

// What may stand for rows: integers, but no truth values, characters and fractions; what is
// contiguous and of the three types, however constant.
template <class T>
constexpr bool kAreRows = std::is_convertible_v<T, glc::rans::Rows>;
static_assert(kAreRows<int> && kAreRows<std::uint8_t> && kAreRows<std::size_t> && kAreRows<long>);
static_assert(!kAreRows<bool> && !kAreRows<char> && !kAreRows<double> && !kAreRows<const char*>);
static_assert(kAreRows<std::vector<std::uint8_t>&> && kAreRows<const std::vector<std::uint16_t>&>);
static_assert(kAreRows<std::span<std::int32_t>> && kAreRows<std::span<const std::int32_t, 3>>);
static_assert(kAreRows<std::array<std::uint8_t, 4>&> && kAreRows<std::int32_t (&)[4]>);
static_assert(!kAreRows<std::vector<std::int64_t>&> && !kAreRows<std::vector<std::int8_t>&>);
static_assert(!kAreRows<std::vector<bool>&> && !kAreRows<std::deque<std::uint8_t>&>);
static_assert(!kAreRows<std::int32_t*> && !kAreRows<Bytes*> &&
              std::is_trivially_copyable_v<glc::rans::Rows>);

// A decoder borrows its data: not what is gone by the next line.
static_assert(std::is_constructible_v<Decoder, Bytes&> &&
              std::is_constructible_v<Decoder, const Bytes&> &&
              std::is_constructible_v<Decoder, std::span<std::uint8_t>>);
static_assert(!std::is_constructible_v<Decoder, Bytes> &&
              !std::is_constructible_v<Decoder, const Bytes> &&
              !std::is_constructible_v<Decoder, std::uint8_t, Bytes>);

constexpr std::array<int, 6> kLanes = {1, 2, 4, 8, 16, 32};
constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();

void round_trips_everywhere() {
  for (int bits = 8; bits <= 16; ++bits) {
    const TableSet tables = gaussian(bits);
    for (const int lanes : kLanes) {
      const auto l = static_cast<std::size_t>(lanes);
      for (const std::size_t n : {std::size_t{0},
                                  std::size_t{1},
                                  l - 1,
                                  l,
                                  l + 1,
                                  std::size_t{7},
                                  std::size_t{257},
                                  std::size_t{1009}}) {
        const Message m = make_message(n, static_cast<std::uint32_t>(n * 100 + l));
        const Bytes stream = encode(m, tables, lanes);
        check_equal(stream[0] & 7, std::countr_zero(static_cast<unsigned>(lanes)), "descriptor");
        check(decode(stream, m.rows, tables) == m.symbols, "round trip");
      }
    }
  }
}

void pushes_may_differ() {
  const TableSet a = gaussian(14);
  const TableSet b = gaussian(9);
  std::vector<std::uint32_t> freqs(200, 327);
  freqs[199] = 65536 - 199 * 327;
  const TableSet c = TableSet::from_freqs(freqs, Symbols{200}, Symbols{-5}, 16, false);
  for (const int lanes : kLanes) {
    const Message first = make_message(37, 3);
    const Message second = make_message(301, 4);
    Symbols third;
    for (int i = 0; i < 71; ++i) third.push_back(i * 37 % 200 - 5);
    Encoder encoder(lanes);
    encoder.push(first.symbols, rows_of(first.rows), a);
    encoder.push({}, 0, b);
    encoder.push(second.symbols, rows_of(second.rows), b);
    encoder.push(third, 0, c);
    const std::size_t bound = encoder.encoded_bound();
    const Bytes stream = encoder.finish();
    check(stream.size() <= bound, "bound");
    check_throws<InvalidArgument>([&] { encoder.push(third, 0, c); }, "push after finish");
    check_throws<InvalidArgument>([&] { static_cast<void>(encoder.finish()); }, "finish twice");

    Decoder decoder(stream);
    check_equal(decoder.lanes(), lanes);
    Symbols out(first.symbols.size());
    decoder.pull(rows_of(first.rows), a, out);
    check(out == first.symbols, "first push");
    decoder.pull(0, b, {});
    out.resize(second.symbols.size());
    decoder.pull(rows_of(second.rows), b, out);
    check(out == second.symbols, "second push");
    out.resize(third.size());
    decoder.pull(0, c, out);
    check(out == third, "third push");
    decoder.finish();
  }
}

void row_types_agree() {
  const TableSet tables = gaussian(12);
  const Message m = make_message(500, 5);
  const std::vector<std::uint16_t> rows16(m.rows.begin(), m.rows.end());
  const std::vector<std::int32_t> rows32(m.rows.begin(), m.rows.end());
  const Bytes stream = encode(m, tables, 4);
  Encoder wide(4);
  wide.push(m.symbols, std::span<const std::uint16_t>(rows16), tables);
  check(wide.finish() == stream, "uint16 rows");
  Encoder wider(4);
  wider.push(m.symbols, std::span<const std::int32_t>(rows32), tables);
  check(wider.finish() == stream, "int32 rows");
  Symbols out(m.symbols.size());
  Decoder a(stream);
  a.pull(std::span<const std::uint16_t>(rows16), tables, out);
  check(out == m.symbols, "pull with uint16 rows");
  Decoder b(stream);
  b.pull(std::span<const std::int32_t>(rows32), tables, out);
  check(out == m.symbols, "pull with int32 rows");
}

template <class Row>
Symbols decode_with(std::span<const std::uint8_t> stream,
                    const RowVector& rows,
                    const TableSet& tables) {
  const std::vector<Row> typed(rows.begin(), rows.end());
  Symbols out(rows.size());
  Decoder decoder(stream);
  decoder.pull(std::span<const Row>(typed), tables, out);
  decoder.finish();
  return out;
}

void check_row_types(const Bytes& stream, const Message& m, const TableSet& tables) {
  check(decode_with<std::uint8_t>(stream, m.rows, tables) == m.symbols, "uint8 rows");
  check(decode_with<std::uint16_t>(stream, m.rows, tables) == m.symbols, "uint16 rows");
  check(decode_with<std::int32_t>(stream, m.rows, tables) == m.symbols, "int32 rows");
}

/// Streams of hardly anything but the likeliest symbols, where decoders guess.
void skewed_streams_on_every_back_end() {
  constexpr std::size_t kSymbolsPerByte = 100;  // more than any guess asks for
  const TableSet tables = gaussian(14);
  for (const int lanes : kLanes) {
    Message m = make_message(30011 + static_cast<std::size_t>(lanes), 11, 0);
    for (std::size_t i = 0; i < m.symbols.size(); ++i) {
      const bool rare = i % 1500 >= 1490;  // together, so that they meet in a vector
      m.rows[i] = rare ? m.rows[i] : static_cast<std::uint8_t>(0);
      m.symbols[i] = rare ? m.symbols[i] : 0;
    }
    m.symbols[20000] = 123456789;
    const Bytes whole = encode(m, tables, lanes);
    check(whole.size() * kSymbolsPerByte < m.symbols.size(), "skewed");
    const Bytes cut = encode(m, tables, lanes, 10016);
    for (const char* back_end : glc::test::back_ends()) {
      glc::test::use_back_end(back_end);
      check(encode(m, tables, lanes) == whole, "stream");
      check(encode(m, tables, lanes, 10016) == cut, "stream of segments");
      for (const Bytes& stream : {whole, cut}) check_row_types(stream, m, tables);
    }
    glc::test::use_back_end("");
  }
}

/// Streams that are skewed here and dense there, where decoders begin and cease to guess, whatever
/// they have been told of the whole.
void changing_streams_on_every_back_end() {
  constexpr std::size_t kStretch = 20480;
  const TableSet tables = gaussian(14);
  for (const int lanes : kLanes) {
    for (const std::size_t dense : {std::size_t{0}, std::size_t{1}}) {
      Message m = make_message(4 * kStretch + 2 * static_cast<std::size_t>(lanes) + 1, 12, 0);
      for (std::size_t i = 0; i < m.symbols.size(); ++i) {
        if (i / kStretch % 2 == dense) continue;
        const bool rare = i % 1500 == 7;
        m.rows[i] = rare ? m.rows[i] : static_cast<std::uint8_t>(i % 16 == 0);
        m.symbols[i] = rare ? m.symbols[i] : 0;
      }
      m.symbols[kStretch / 2] = -123456789;
      m.symbols[kStretch + kStretch / 2] = 123456789;
      const Bytes whole = encode(m, tables, lanes);
      const Bytes cut = encode(m, tables, lanes, 20000);
      for (const char* back_end : glc::test::back_ends()) {
        glc::test::use_back_end(back_end);
        for (const Bytes& stream : {whole, cut}) check_row_types(stream, m, tables);
      }
      glc::test::use_back_end("");
    }
  }
}

/// Rows of 16 bits, whose buckets hold 128 slots: bins that fill some, are hidden in one, stand
/// beside bins of frequency 0, or are alone.
TableSet uneven_rows(bool escape) {
  constexpr std::uint32_t kTotal = 65536;
  std::vector<std::uint32_t> freqs;
  Symbols n_bins;
  Symbols offsets;
  for (std::uint32_t row = 0; row < 64; ++row) {
    const std::size_t begin = freqs.size();
    std::uint32_t left = kTotal;
    while (left > 0 && row % 8 != 7) {
      const std::array<std::uint32_t, 7> next = {
          16 + row, 128, 1 + row % 3, 64 * (1 + left % 5), 200, 1 + left % 900, 5};
      freqs.push_back(std::min(left, next[row % 8]));
      left -= freqs.back();
      if (!escape && left % 3 == 0) freqs.push_back(0);
      if (freqs.size() - begin == 1500) break;
    }
    if (left > 0) freqs.push_back(left);
    n_bins.push_back(static_cast<std::int32_t>(freqs.size() - begin));
    offsets.push_back(static_cast<std::int32_t>(row) * 1000 - 30000);
  }
  return TableSet::from_freqs(freqs, n_bins, offsets, 16, escape);
}

/// Streams of many bits a symbol, where decoders expect a bucket's second bin.
void narrow_bins_on_every_back_end() {
  for (const bool escape : {false, true}) {
    const TableSet tables = uneven_rows(escape);
    const std::vector<std::uint32_t> freqs = tables.freqs();
    std::vector<Symbols> present;
    std::size_t bin = 0;
    for (std::size_t row = 0; row < tables.rows(); ++row) {
      present.emplace_back();
      const std::int32_t n_direct = tables.n_bins()[row] - (escape ? 1 : 0);
      for (std::int32_t i = 0; i < tables.n_bins()[row]; ++i, ++bin) {
        if (i < n_direct && freqs[bin] > 0) present[row].push_back(tables.offsets()[row] + i);
      }
    }
    for (const int lanes : {8, 16, 32}) {
      Message m;
      std::mt19937 random(static_cast<unsigned>(lanes));
      while (m.symbols.size() < 40000 + static_cast<std::size_t>(lanes) / 2) {
        const std::size_t row = random() % tables.rows();
        m.rows.push_back(static_cast<std::uint8_t>(row));
        const Symbols& some = present[row];
        m.symbols.push_back(some.empty() ? -5 : some[random() % some.size()]);
        if (escape && random() % 5000 == 0) m.symbols.back() = 123456789;
      }
      const Bytes whole = encode(m, tables, lanes);
      check(whole.size() > m.symbols.size() / 2, "narrow");
      const Bytes cut = encode(m, tables, lanes, 10016);
      const std::size_t row = 5;
      Symbols of_row(10000);
      for (std::int32_t& symbol : of_row) symbol = present[row][random() % present[row].size()];
      Encoder encoder(lanes);
      encoder.push(of_row, row, tables);
      const Bytes row_stream = encoder.finish();
      for (const char* back_end : glc::test::back_ends()) {
        glc::test::use_back_end(back_end);
        for (const Bytes& stream : {whole, cut}) check_row_types(stream, m, tables);
        Symbols out(of_row.size());
        Decoder decoder(row_stream);
        decoder.pull(row, tables, out);
        decoder.finish();
        check(out == of_row, "one row");
      }
      glc::test::use_back_end("");
    }
  }
}

/// The example at the head of glc/rans.h, which is of vectors.
void rows_are_taken_as_they_come() {
  const std::vector<std::uint32_t> freqs = {100, 100, 56, 1, 255};
  const std::vector<std::int32_t> n_bins = {3, 2};
  const std::vector<std::int32_t> offsets = {-1, 0};
  const TableSet tables = TableSet::from_freqs(freqs, n_bins, offsets, 8, true);
  Symbols symbols = {0, 5, -1, 0};
  std::vector<std::uint8_t> rows = {0, 1, 0, 1};
  Encoder encoder;
  encoder.push(symbols, rows, tables);
  encoder.push(symbols, std::size_t{1}, tables);
  const Bytes stream = encoder.finish();
  Symbols out(4);
  Decoder decoder(stream);
  decoder.pull(std::span(rows), tables, out);
  check(out == symbols, "rows");
  decoder.pull(1, tables, out);
  check(out == symbols, "one row");
  decoder.finish();
  check_throws<InvalidArgument>([&] { Encoder().push(symbols, std::uint64_t{1} << 32, tables); },
                                "no row of 64 bits");
  check_throws<InvalidArgument>([&] { Encoder().push(symbols, std::int64_t{-1}, tables); },
                                "no negative row");
}

void any_int32_escapes() {
  const Symbols symbols = {kMin, kMin + 1, -70000, -3, -2, -1, 0, 1, 2, 3, 65535, kMax - 1, kMax};
  for (const std::int32_t offset : {0, -1, 1000, kMin + 1, kMax - 2}) {
    const TableSet tables = TableSet::from_freqs(
        std::vector<std::uint32_t>{100, 100, 50, 6}, Symbols{4}, Symbols{offset}, 8, true);
    for (const int lanes : kLanes) {
      Encoder encoder(lanes);
      encoder.push(symbols, 0, tables);
      const Bytes stream = encoder.finish();
      Decoder decoder(stream);
      Symbols out(symbols.size());
      decoder.pull(0, tables, out);
      decoder.finish();
      check(out == symbols, "extremes");
    }
  }
}

// What stands for an escape inside the decoder is a symbol like any other in tables without.
void the_smallest_int32_is_a_symbol() {
  const TableSet tables = TableSet::from_freqs(
      std::vector<std::uint32_t>{200, 56}, Symbols{2}, Symbols{kMin}, 8, false);
  Symbols symbols(5000, kMin);
  for (std::size_t i = 0; i < symbols.size(); i += 3) symbols[i] = kMin + 1;
  for (const std::size_t segment_symbols : {std::size_t{0}, std::size_t{128}}) {
    for (const int lanes : kLanes) {
      Encoder encoder(lanes, segment_symbols);
      encoder.push(symbols, 0, tables);
      check(decode(encoder.finish(), RowVector(symbols.size()), tables) == symbols, "INT32_MIN");
    }
  }
}

void the_format_in_bytes() {
  // One lane, one row {0: 128, 1: 64, escape: 64} at 8 bits; symbols 0, 1, 7.
  // Escape raw 2 * (7 - 2) + 1 = 11: 0001011, padded 0x16, whose CRC is 0x72F7.
  // Sum (0x83F0BB55 + 7) * 0x83F0BB55; the lower half of sum + CRC is 0xDC83.
  // Backwards from x = 0x1DC83. Escape (start 192): x/64 = 0x772 rest 3: 0x772C3.
  // 1 (start 128): 0x772C3/64 = 0x1DCB rest 3: 0x1DCB << 8 + 128 + 3 = 0x1DCB83.
  // 0 (start 0): 0x1DCB83/128 = 0x3B97 rest 3: 0x3B97 << 8 + 0 + 3 = 0x3B9703.
  const TableSet tables = TableSet::from_freqs(
      std::vector<std::uint32_t>{128, 64, 64}, Symbols{3}, Symbols{0}, 8, true);
  Encoder encoder(1);
  encoder.push(Symbols{0, 1, 7}, 0, tables);
  const Bytes expected = {0x08, 0x01, 0x16, 0x3B, 0x00, 0x03, 0x97};
  check(encoder.finish() == expected, "worked example of docs/format.md");
  // Every lane began at 2^16 once, then lane 0 at that and a CRC of escapes: such streams are
  // refused.
  for (const Bytes& before : {Bytes{0x08, 0x01, 0x16, 0x20, 0x00, 0x00, 0x07},
                              Bytes{0x08, 0x01, 0x16, 0x2E, 0x00, 0x37, 0x5F}}) {
    check_throws<BitstreamError>([&] { decode(before, RowVector(3), tables); }, "before");
  }
}

void failures_leave_the_encoder_alone() {
  const TableSet strict =
      TableSet::from_freqs(std::vector<std::uint32_t>{255, 0, 1}, Symbols{3}, Symbols{0}, 8, false);
  const TableSet loose = gaussian(14);
  Encoder encoder(2);
  encoder.push(Symbols{100, -100}, 0, loose);
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, 3}, 0, strict); }, "outside the row");
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, -1}, 0, strict); }, "below the row");
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, 1}, 0, strict); }, "frequency 0");
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, 2}, 1, strict); }, "no such row");
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, 2}, -1, strict); }, "negative row");
  check_throws<InvalidArgument>(
      [&] { encoder.push(Symbols{500, 500}, rows_of(RowVector{0, 9}), loose); }, "late bad row");
  check_throws<InvalidArgument>([&] { encoder.push(Symbols{0, 2}, rows_of(RowVector{0}), strict); },
                                "row count");
  encoder.push(Symbols{2, 0}, 0, strict);
  const Bytes stream = encoder.finish();
  Decoder decoder(stream);
  Symbols out(2);
  decoder.pull(0, loose, out);
  check(out == Symbols{100, -100}, "first push survives");
  decoder.pull(0, strict, out);
  check(out == Symbols{2, 0}, "second push");
  decoder.finish();
  for (const int lanes : {0, 3, 64, -1}) {
    check_throws<InvalidArgument>([&] { const Encoder bad(lanes); }, "lanes");
  }
}

void costs_and_lanes() {
  using glc::rans::symbol_cost;
  for (int bits = 8; bits <= 16; ++bits) {
    for (int log2 = 0; log2 <= bits; ++log2) {
      check_equal(symbol_cost(1U << log2, bits), static_cast<std::uint32_t>(bits - log2) << 16);
    }
  }
  for (std::uint32_t freq = 1; freq <= 65536; freq += freq < 512 ? 1 : 97) {
    const double exact = (16.0 - std::log2(static_cast<double>(freq))) * 65536.0;
    const double got = symbol_cost(freq, 16);
    check(got >= exact - 1e-6 && got < exact + 1.001, "truncated logarithm");
  }
  const auto bytes = [](std::uint64_t n) { return n << 19; };
  check_equal(glc::rans::lanes_for_cost(0), 1);
  check_equal(glc::rans::lanes_for_cost(bytes(1024) - 1), 1);
  check_equal(glc::rans::lanes_for_cost(bytes(1024)), 2);
  check_equal(glc::rans::lanes_for_cost(bytes(512 * 32) - 1), 16);
  check_equal(glc::rans::lanes_for_cost(bytes(512 * 32)), 32);
  check_equal(glc::rans::lanes_for_cost(~0ULL), 32);

  const TableSet tables = gaussian(14);
  const Message m = make_message(4000, 6);
  const std::uint64_t cost = tables.cost(m.symbols, rows_of(m.rows));
  const Bytes stream = encode(m, tables, std::nullopt);
  check_equal(1 << (stream[0] & 7), glc::rans::lanes_for_cost(cost), "automatic lanes");
  const double ideal = static_cast<double>(cost) / 65536 / 8;
  const double overhead = 4.0 * glc::rans::lanes_for_cost(cost) + 4;
  check(static_cast<double>(stream.size()) < ideal * 1.001 + overhead, "size near its cost");
  check(static_cast<double>(stream.size()) > ideal, "no size below its cost");
}

}  // namespace

int main() {
  round_trips_everywhere();
  pushes_may_differ();
  row_types_agree();
  skewed_streams_on_every_back_end();
  changing_streams_on_every_back_end();
  narrow_bins_on_every_back_end();
  rows_are_taken_as_they_come();
  any_int32_escapes();
  the_smallest_int32_is_a_symbol();
  the_format_in_bytes();
  failures_leave_the_encoder_alone();
  costs_and_lanes();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "check.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_state.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::Rows;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;
using RowVector = std::vector<std::uint8_t>;

constexpr std::array<int, 6> kLanes = {1, 2, 4, 8, 16, 32};
constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();

Rows rows_of(const RowVector& rows) { return {std::span<const std::uint8_t>(rows)}; }

TableSet gaussian(int bits) {
  const std::vector<double> scales = {0.05, 0.3, 1.0, 4.0, 20.0};
  return glc::cdf::gaussian_tables(scales, bits);
}

std::span<const std::uint8_t> prefix(const Bytes& bytes, std::size_t n) {
  return std::span<const std::uint8_t>(bytes).first(n);
}

struct Message {
  Symbols symbols;
  RowVector rows;
};

// Symbols that fit the rows of gaussian(), with a far outlier now and then.
Message make_message(std::size_t n, std::uint32_t seed, std::uint32_t outlier_every = 97) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  const std::array<double, 5> scales = {0.05, 0.3, 1.0, 4.0, 20.0};
  Message m;
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = static_cast<std::uint8_t>(random() % scales.size());
    auto symbol = static_cast<std::int32_t>(std::lround(normal(random) * scales[row]));
    if (outlier_every != 0 && random() % outlier_every == 0) {
      symbol = static_cast<std::int32_t>(random());
    }
    m.rows.push_back(row);
    m.symbols.push_back(symbol);
  }
  return m;
}

Bytes encode(const Message& m, const TableSet& tables, std::optional<int> lanes) {
  Encoder encoder(lanes);
  encoder.push(m.symbols, rows_of(m.rows), tables);
  return encoder.finish();
}

Symbols decode(std::span<const std::uint8_t> stream, const RowVector& rows, const TableSet& t) {
  Symbols out(rows.size());
  Decoder decoder(stream);
  decoder.pull(rows_of(rows), t, out);
  decoder.finish();
  return out;
}

void division_is_exact() {
  std::mt19937 random(1);
  for (std::uint32_t freq = 1; freq <= 65536; ++freq) {
    const std::uint32_t reciprocal = glc::rans::reciprocal_of(freq);
    const auto test = [&](std::uint32_t x) {
      const auto d = glc::rans::divide(x, freq, reciprocal);
      if (d.quotient != x / freq || d.remainder != x % freq) {
        check_equal(d.quotient, x / freq, "quotient");
        check_equal(d.remainder, x % freq, "remainder");
      }
    };
    const std::uint32_t last = 0xFFFFFFFFU / freq;  // highest quotient
    for (const std::uint32_t q :
         {0U,
          1U,
          2U,
          last / 2,
          last - 1,
          last,
          0x80000000U / freq,
          0x10000U / freq,
          static_cast<std::uint32_t>(random()) % (last + (last != 0xFFFFFFFFU)),
          static_cast<std::uint32_t>(random()) >> 8}) {
      const std::uint32_t multiple = q * freq;
      test(multiple - 1);
      test(multiple);
      test(multiple + 1);
      test(multiple + freq - 1);
    }
    for (const std::uint32_t x : {0U, 0xFFFFU, 0x10000U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
      test(x);
      test(static_cast<std::uint32_t>(random()));
    }
  }
}

void algebra_inverts() {
  std::mt19937 random(2);
  for (int bits = 8; bits <= 16; ++bits) {
    const std::uint32_t total = 1U << bits;
    for (int trial = 0; trial < 20000; ++trial) {
      const std::uint32_t freq = trial % 16 == 0 ? total
                                 : trial % 16 == 1
                                     ? 1
                                     : 1U + static_cast<std::uint32_t>(random()) % total;
      const std::uint32_t start = static_cast<std::uint32_t>(random()) % (total - freq + 1);
      std::uint32_t x = static_cast<std::uint32_t>(random()) | 0x10000U;
      if (trial % 5 == 0) x = glc::rans::kStateLow;
      if (trial % 5 == 1) x = 0xFFFFFFFFU;
      const glc::rans::EncodeEntry entry{glc::rans::reciprocal_of(freq),
                                         static_cast<std::uint16_t>(freq - 1),
                                         static_cast<std::uint16_t>(start)};
      std::uint32_t reduced = x;
      const bool renorm = glc::rans::encode_needs_renorm(x, freq - 1, bits);
      if (renorm) reduced >>= 16;
      check(!glc::rans::encode_needs_renorm(reduced, freq - 1, bits), "one word is enough");
      const std::uint32_t coded = glc::rans::encode_advance(reduced, entry, bits);
      check(coded >= glc::rans::kStateLow, "state stays normalised");
      const std::uint32_t slot = glc::rans::slot_of(coded, bits);
      check(slot >= start && slot - start < freq, "slot selects the symbol");
      const std::uint32_t back = glc::rans::decode_advance(coded, slot, start, freq - 1, bits);
      check_equal(back, reduced, "state before the symbol");
      check_equal(back < glc::rans::kStateLow, renorm, "both sides move a word, or neither");
    }
  }
}

void gamma_numbers_round_trip() {
  std::vector<std::uint64_t> numbers = {1, 2, 3, 4, 255, 256, 65535, 1ULL << 33, (1ULL << 34) - 1};
  glc::rans::BitWriter writer;
  int n_bits = 0;
  for (const std::uint64_t n : numbers) {
    writer.gamma(n);
    n_bits += glc::rans::gamma_bits(n);
  }
  const Bytes bytes = writer.take();
  check_equal(bytes.size(), static_cast<std::size_t>((n_bits + 7) / 8));
  glc::rans::BitReader reader(bytes);
  for (const std::uint64_t n : numbers) check(reader.gamma(34) == n, "gamma");
  check(reader.only_padding_left(), "padding");

  const Bytes one_and_zeros = {0x80};  // a one, then seven zeros that are no number
  glc::rans::BitReader short_reader(one_and_zeros);
  check(short_reader.gamma(34) == 1U, "one");
  check(!short_reader.gamma(34), "zeros without a one");
  const Bytes wide = {0x00, 0x40};  // ten bits wide
  check(!glc::rans::BitReader(wide).gamma(9), "too wide");
}

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

void the_format_in_bytes() {
  // One lane, one row {0: 128, 1: 64, escape: 64} at 8 bits; symbols 0, 1, 7.
  // Backwards from x = 65536. Escape (start 192): 65536/64 << 8 | 192 = 0x400C0.
  // 1 (start 128): 0x400C0/64 = 0x1003 rest 0: 0x1003 << 8 | 128 = 0x100380.
  // 0 (start 0): 0x100380/128 = 0x2007 rest 0: 0x200700. Escape raw 2 * (7 - 2) + 1 = 11: 0001011.
  const TableSet tables = TableSet::from_freqs(
      std::vector<std::uint32_t>{128, 64, 64}, Symbols{3}, Symbols{0}, 8, true);
  Encoder encoder(1);
  encoder.push(Symbols{0, 1, 7}, 0, tables);
  const Bytes expected = {0x08, 0x01, 0x16, 0x20, 0x00, 0x00, 0x07};
  check(encoder.finish() == expected, "worked example of docs/format.md");
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
    check_throws<InvalidArgument>([&] { Encoder bad(lanes); }, "lanes");
  }
}

void tables_are_validated() {
  using V = std::vector<std::uint32_t>;
  const auto from =
      [](const V& freqs, const Symbols& n_bins, const Symbols& offsets, int bits, bool escape) {
        static_cast<void>(TableSet::from_freqs(freqs, n_bins, offsets, bits, escape));
      };
  from({256}, {1}, {0}, 8, false);
  from({256}, {1}, {0}, 8, true);  // everything escapes
  from({65536}, {1}, {kMax}, 16, false);
  from({128, 128}, {2}, {kMin}, 8, false);
  check_throws<InvalidArgument>([&] { from({255}, {1}, {0}, 8, false); }, "sum");
  check_throws<InvalidArgument>([&] { from({256, 0}, {2}, {0}, 8, true); }, "zero with escape");
  check_throws<InvalidArgument>([&] { from({128, 128}, {2}, {kMax}, 8, false); }, "above int32");
  check_throws<InvalidArgument>([&] { from({128, 128}, {2}, {kMin}, 8, true); }, "INT32_MIN");
  check_throws<InvalidArgument>([&] { from({128}, {1}, {0}, 7, false); }, "bits");
  check_throws<InvalidArgument>([&] { from({131072}, {1}, {0}, 17, false); }, "bits");
  check_throws<InvalidArgument>([&] { from({}, {}, {}, 8, false); }, "no rows");
  check_throws<InvalidArgument>([&] { from({}, {0}, {0}, 8, false); }, "no bins");
  check_throws<InvalidArgument>([&] { from({256}, {1}, {0, 0}, 8, false); }, "offsets");
  check_throws<InvalidArgument>([&] { from({256}, {2}, {0}, 8, false); }, "too few freqs");
  check_throws<InvalidArgument>([&] { from({256, 1}, {1}, {0}, 8, false); }, "too many freqs");

  const auto cdf = [](const Symbols& c, std::size_t width, const Symbols& sizes) {
    static_cast<void>(TableSet::from_cdfs(c, width, sizes, Symbols(sizes.size(), -1), 8));
  };
  cdf({0, 10, 256, 77, 0, 1, 255, 256}, 4, {3, 4});
  check_throws<InvalidArgument>([&] { cdf({1, 10, 256}, 3, {3}); }, "first");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 255}, 3, {3}); }, "last");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 10, 256}, 4, {4}); }, "zero frequency");
  check_throws<InvalidArgument>([&] { cdf({0, kMin, kMax, 256}, 4, {4}); }, "wild entries");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 3, {4}); }, "size over width");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 3, {1}); }, "size");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 2, {2}); }, "width");
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
  check_equal(glc::rans::lanes_for_cost(bytes(1280) - 1), 1);
  check_equal(glc::rans::lanes_for_cost(bytes(1280)), 2);
  check_equal(glc::rans::lanes_for_cost(bytes(640 * 32) - 1), 16);
  check_equal(glc::rans::lanes_for_cost(bytes(640 * 32)), 32);
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

// Pulls the whole message; true when nothing complained.
bool survives(std::span<const std::uint8_t> stream, const Message& m, const TableSet& tables) {
  try {
    static_cast<void>(decode(stream, m.rows, tables));
    return true;
  } catch (const BitstreamError&) {
    return false;
  }
}

void damage_is_reported() {
  const TableSet tables = gaussian(14);
  for (const int lanes : {1, 4, 32}) {
    const Message m = make_message(400, 7);
    const Bytes stream = encode(m, tables, lanes);
    for (std::size_t n = 0; n < stream.size(); ++n) {
      check(!survives(prefix(stream, n), m, tables), "cut stream");
    }
    // A flip inside the value of an escape is another valid value. Anything else moves the final
    // states, and passes with a chance of about 2^-16: none here, as the seeds are fixed.
    const bool escapes = (stream[0] & glc::rans::kDescriptorEscape) != 0;
    const std::size_t first_word = escapes ? 2U + stream[1] : 1U;
    for (std::size_t bit = 0; bit < stream.size() * 8; ++bit) {
      Bytes flipped = stream;
      flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1U << bit % 8);
      const bool unnoticed = survives(flipped, m, tables);
      check(!unnoticed || (bit / 8 > 1 && bit / 8 < first_word), "flipped bit");
    }
    for (const std::size_t extra : {1, 2, 3}) {
      Bytes longer = stream;
      longer.resize(stream.size() + extra);
      check(!survives(longer, m, tables), "bytes too many");
    }
  }
}

void a_cut_after_the_last_symbol_is_harmless() {
  const TableSet tables = gaussian(14);
  const Message first = make_message(300, 8, 0);
  const Message second = make_message(300, 9, 0);
  for (const int lanes : {1, 2, 8}) {
    Encoder encoder(lanes);
    encoder.push(first.symbols, rows_of(first.rows), tables);
    encoder.push(second.symbols, rows_of(second.rows), tables);
    const Bytes stream = encoder.finish();
    std::size_t n_first = 0;  // shortest prefix that gives the first push
    for (std::size_t n = 1; n <= stream.size() && n_first == 0; ++n) {
      try {
        Decoder decoder(prefix(stream, n));
        Symbols out(300);
        decoder.pull(rows_of(first.rows), tables, out);
        check(out == first.symbols, "a prefix gives the right symbols or none");
        n_first = n;
        check_throws<BitstreamError>([&] { decoder.pull(rows_of(second.rows), tables, out); });
        check_throws<BitstreamError>([&] { decoder.pull(0, tables, {}); }, "failed for good");
      } catch (const BitstreamError&) {
      }
    }
    const double cost = static_cast<double>(tables.cost(first.symbols, rows_of(first.rows)));
    check(static_cast<double>(n_first) <= cost / 65536 / 8 + 4.0 * lanes + 2,
          "the words of a push precede those of the next");
  }
}

void heads_are_checked() {
  const auto refuse = [](Bytes head, const char* what) {
    check_throws<BitstreamError>([&] { Decoder decoder(head); }, what);
  };
  refuse({}, "empty");
  refuse({0x06, 0, 0}, "64 lanes");
  refuse({0x10, 1, 0, 0, 0}, "reserved bit");
  refuse({0x00, 0, 0, 0, 1}, "state below 2^16");
  refuse({0x00, 1, 0, 0}, "half a state");
  refuse({0x08, 0x00, 1, 0, 0, 0}, "empty escape section");
  refuse({0x08, 0x81, 0x00, 0x80, 1, 0, 0, 0}, "long varint");
  refuse({0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, "huge section");
  refuse({0x08, 0x05, 1, 0, 0, 0}, "section past the end");
  const Bytes empty = {1, 0, 0, 0};
  Decoder decoder(0, empty);  // a descriptor kept elsewhere
  decoder.finish();
  const Bytes with_escape = {0x08, 0x01, 0x80, 1, 0, 0, 0};
  Decoder unused(with_escape);
  check_throws<BitstreamError>([&] { unused.finish(); }, "unused escape bits");
}

void frequencies_are_exact() {
  std::mt19937 random(10);
  for (int bits = 8; bits <= 16; ++bits) {
    const std::size_t total = std::size_t{1} << bits;
    for (const std::size_t n :
         {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{200}, total - 1, total}) {
      for (int kind = 0; kind < 4; ++kind) {
        std::vector<std::uint64_t> counts(n);
        for (auto& count : counts) {
          count = kind == 0   ? 1
                  : kind == 1 ? random() % 3
                              : 1 + (std::uint64_t{random()} >> (random() % 32));
        }
        counts[n / 2] = kind == 3 ? std::uint64_t{1} << 45 : 1;
        std::vector<std::uint32_t> freqs(n);
        glc::cdf::normalise(counts, bits, freqs);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
          check((freqs[i] != 0) == (counts[i] != 0), "present exactly when counted");
          sum += freqs[i];
        }
        check_equal(sum, std::uint64_t{total}, "sum");
        std::vector<std::uint64_t> again(freqs.begin(), freqs.end());
        std::vector<std::uint32_t> same(n);
        glc::cdf::normalise(again, bits, same);
        check(same == freqs, "exact frequencies stay as they are");
      }
    }
  }
  std::vector<std::uint32_t> out(2);
  const auto refuse = [&](const std::vector<std::uint64_t>& counts, int bits) {
    check_throws<InvalidArgument>([&] { glc::cdf::normalise(counts, bits, out); });
  };
  refuse({0, 0}, 8);
  refuse({1, 1}, 7);
  refuse({1}, 8);
  refuse({std::uint64_t{1} << 46, 1}, 8);
  refuse({~0ULL, ~0ULL}, 8);
}

void bytes_round_trip() {
  std::mt19937 random(11);
  const auto test = [](const Bytes& data) {
    const Bytes coded = glc::rans::encode_bytes(data);
    check(coded.size() <= data.size() + 11, "never much longer");
    Bytes out(glc::rans::decoded_bytes_size(coded, data.size()));
    glc::rans::decode_bytes(coded, out);
    check(out == data, "bytes");
    if (!data.empty()) {
      check_throws<BitstreamError>(
          [&] { static_cast<void>(glc::rans::decoded_bytes_size(coded, data.size() - 1)); }, "max");
    }
    Bytes room(data.size());
    for (std::size_t n = 0; n < coded.size(); n += 1 + coded.size() / 300) {
      check_throws<BitstreamError>(
          [&] {
            static_cast<void>(glc::rans::decoded_bytes_size(prefix(coded, n), 1U << 30));
            glc::rans::decode_bytes(prefix(coded, n), room);
          },
          "cut");
    }
  };
  for (const std::size_t n : {0, 1, 2, 3, 31, 33, 255, 5000, 70000}) {
    Bytes flat(n);
    Bytes skewed(n);
    Bytes noise(n);
    for (std::size_t i = 0; i < n; ++i) {
      skewed[i] = static_cast<std::uint8_t>(std::min<std::uint32_t>(
          255,
          static_cast<std::uint32_t>(random()) % 16 * (static_cast<std::uint32_t>(random()) % 16)));
      noise[i] = static_cast<std::uint8_t>(random());
    }
    test(flat);
    test(skewed);
    test(noise);
  }
}

}  // namespace

int main() {
  division_is_exact();
  algebra_inverts();
  gamma_numbers_round_trip();
  round_trips_everywhere();
  pushes_may_differ();
  row_types_agree();
  any_int32_escapes();
  the_format_in_bytes();
  failures_leave_the_encoder_alone();
  tables_are_validated();
  costs_and_lanes();
  damage_is_reported();
  a_cut_after_the_last_symbol_is_harmless();
  heads_are_checked();
  frequencies_are_exact();
  bytes_round_trip();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "check.h"
#include "compat/compressai_tables.h"
#include "compat/stream_pieces.h"
#include "glc/compressai_ans.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "limited_memory.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::compressai::AnsDecoder;
using glc::compressai::AnsEncoder;
using glc::compressai::AnsTables;
using glc::test::allocations_left;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::kNever;

using Bytes = std::vector<std::uint8_t>;
using Ints = std::vector<std::int32_t>;

// A decoder borrows its data: not what is gone by the next line.
static_assert(std::is_constructible_v<AnsDecoder, const Bytes&>);
static_assert(!std::is_constructible_v<AnsDecoder, Bytes>);

constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kReach = 1 << 27;  // escapes stop this far outside a row

// Rows: two even bins; one certain escape; a bin of frequency 0 and one of 1; a short total.
AnsTables sample() {
  const Ints cdfs = {0, 16384, 32768, 65536, 0, 65536, 0, 0, 0, 1, 1, 65536, 0, 10, 40000, 50000};
  return {cdfs, 4, Ints{4, 2, 4, 4}, Ints{0, 7, -1, -100}};
}

std::span<const std::uint8_t> prefix(const Bytes& bytes, std::size_t n) {
  return std::span(bytes).first(n);
}

Bytes encode(const Ints& symbols, const Ints& rows, const AnsTables& tables) {
  AnsEncoder encoder;
  encoder.push(symbols, rows, tables);
  return encoder.finish();
}

Ints decode(std::span<const std::uint8_t> data, const Ints& rows, const AnsTables& tables) {
  Ints out(rows.size());
  AnsDecoder(data).pull(rows, tables, out);
  return out;
}

// Every frequency, at the states around multiples of it and at both ends of the range.
void test_division_is_exact() {
  std::mt19937_64 random(1);
  const auto agree = [](std::uint64_t x,
                        std::uint64_t freq,
                        std::uint64_t start,
                        const glc::compressai::EncodeBin& bin) {
    check_equal(glc::compressai::encode_step(x, bin), ((x / freq) << 16) + x % freq + start);
  };
  for (std::int32_t freq = 1; freq <= 65536; ++freq) {
    const std::int32_t start =
        static_cast<std::int32_t>(random() % (65537U - static_cast<std::uint32_t>(freq)));
    const AnsTables tables(Ints{0, start, start + freq, 65536}, 4, Ints{4}, Ints{0});
    const auto& bin = tables.data().encode[1];
    const auto f = static_cast<std::uint64_t>(freq);
    const auto s = static_cast<std::uint64_t>(start);
    const std::uint64_t limit = f << 47;
    agree(std::uint64_t{1} << 15, f, s, bin);
    agree(limit - 1, f, s, bin);
    for (int i = 0; i < 8; ++i) {
      const std::uint64_t multiple = random() % (limit / f) * f;
      for (const std::uint64_t x : {multiple, multiple + f - 1, multiple + random() % f}) {
        if (x > 0) agree(x, f, s, bin);
      }
    }
  }
}

void test_round_trip() {
  const AnsTables tables = sample();
  const Ints symbols = {0, 1, 2, -1, kReach + 1, -kReach, 7, 0, kReach + 6, -1, 100, -100, -99, 5};
  const Ints rows = {0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3};
  check_equal(decode(encode(symbols, rows, tables), rows, tables), symbols);
  const Bytes empty = encode({}, {}, tables);
  check_equal(empty, Bytes{0, 0, 0, 128, 0, 0, 0, 0});
  check(decode(empty, {}, tables).empty());
}

void test_pieces_and_reuse() {
  const AnsTables tables = sample();
  AnsEncoder encoder;
  const Ints symbols = {0, 1, -400, 1, 0, 77};
  const Ints rows(symbols.size(), 0);
  encoder.push(symbols, rows, tables);
  const Bytes first = encoder.finish();
  encoder.push(std::span(symbols).first(2), std::span(rows).first(2), tables);
  encoder.push(std::span(symbols).subspan(2), std::span(rows).subspan(2), tables);
  check_equal(encoder.finish(), first);
  AnsDecoder decoder(first);
  Ints out(symbols.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    decoder.pull(std::span(rows).subspan(i, 1), tables, std::span(out).subspan(i, 1));
  }
  check_equal(out, symbols);
}

// Streams of our own coder, in pieces that end in any lane.
void test_pieces_of_many_lanes() {
  const Ints cdfs = {0, 16384, 32768, 65536, 0, 1, 65535, 65536};
  const AnsTables tables(cdfs, 4, Ints{4, 4}, Ints{0, -1});
  const auto ours = glc::rans::TableSet::from_cdfs(cdfs, 4, Ints{4, 4}, Ints{0, -1}, 16);
  std::mt19937 random(2);
  Ints symbols(500);
  Ints rows(symbols.size());
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    symbols[i] = i % 50 == 0 ? static_cast<std::int32_t>(random()) : static_cast<int>(random() % 2);
    rows[i] = static_cast<std::int32_t>(random() % 2);
  }
  for (int lanes = 1; lanes <= 32; lanes *= 2) {
    glc::rans::Encoder encoder(lanes);
    encoder.push(symbols, std::span<const std::int32_t>(rows), ours);
    const Bytes stream = encoder.finish();
    for (const std::size_t piece : {1U, 7U, 32U, 45U, 500U}) {
      glc::compressai::PieceDecoder decoder(stream);
      Ints out(symbols.size());
      for (std::size_t i = 0; i < out.size(); i += piece) {
        const std::size_t n = std::min(piece, out.size() - i);
        decoder.pull(std::span(rows).subspan(i, n), tables, 16, std::span(out).subspan(i, n));
      }
      check_equal(out, symbols);
    }
    glc::compressai::PieceDecoder cut(prefix(stream, stream.size() - 1));
    Ints out(symbols.size());
    check_throws<BitstreamError>([&] { cut.pull(rows, tables, 16, out); });
    check_throws<BitstreamError>([&] { cut.pull({}, tables, 16, {}); });
  }
  check_throws<BitstreamError>([] { glc::compressai::PieceDecoder(Bytes{0x10, 0, 0, 0, 0}); });
}

/// Memory runs out at each allocation of a push in turn.
void test_pushes_without_memory() {
  const AnsTables tables = sample();
  const Ints symbols = {1, 5, kReach, -3};
  const Ints rows(symbols.size());
  std::size_t n_failed = 0;
  for (bool failed = true; failed;) {
    failed = false;
    AnsEncoder encoder;
    encoder.push(Ints{1}, Ints{0}, tables);
    allocations_left = n_failed;
    try {
      encoder.push(symbols, rows, tables);
    } catch (const std::bad_alloc&) {
      failed = true;
      ++n_failed;
    }
    allocations_left = kNever;
    if (failed) encoder.push(symbols, rows, tables);
    const Bytes stream = encoder.finish();
    check(stream == encode({1, 1, 5, kReach, -3}, {0, 0, 0, 0, 0}, tables), "once");
  }
  check(n_failed >= 3, "bins, escapes, pushes");
}

void test_refusals() {
  const AnsTables tables = sample();
  AnsEncoder encoder;
  encoder.push(Ints{1}, Ints{0}, tables);
  const auto refuses = [&](const Ints& symbols, const Ints& rows) {
    check_throws<InvalidArgument>([&] { encoder.push(symbols, rows, tables); });
  };
  refuses({0}, {4});
  refuses({0}, {-1});
  refuses({0, 0}, {0});
  refuses({0}, {2});  // frequency 0
  refuses({5, kReach + 2}, {0, 0});
  refuses({5, -kReach - 1}, {0, 0});
  refuses({kMax}, {0});
  refuses({kMin}, {0});
  check_equal(encoder.finish(), encode({1}, {0}, tables), "a refused push leaves no trace");

  const auto bad = [](const Ints& cdfs, std::size_t width, const Ints& sizes, const Ints& offsets) {
    check_throws<InvalidArgument>([&] { AnsTables(cdfs, width, sizes, offsets); });
  };
  bad({}, 0, {}, {});
  bad({0, 65536}, 0, {2}, {0});
  bad({0, 65536, 0}, 2, {2}, {0});
  bad({0, 65536}, 2, {2}, {});
  bad({0, 65536}, 2, {3}, {0});
  bad({0, 65536}, 2, {1}, {0});
  bad({0, 65536}, 2, {-1}, {0});
  bad({1, 65536}, 2, {2}, {0});
  bad({0, 65537}, 2, {2}, {0});
  bad({0, 9, 8, 65536}, 4, {4}, {0});
  bad({0, 9, 18, 65536}, 4, {4}, {kMax});
}

void test_hostile_streams() {
  const AnsTables tables = sample();
  const Ints symbols = {0, 1, 5, -3, 1000000, 1, 0, 2, 0, 1, 1, 0};
  const Ints rows(symbols.size(), 0);
  const Bytes good = encode(symbols, rows, tables);
  for (std::size_t n = 0; n < good.size(); ++n) {
    check_throws<BitstreamError>([&] { static_cast<void>(decode(prefix(good, n), rows, tables)); });
  }
  AnsDecoder failed(prefix(good, 8));
  Ints out(rows.size());
  check_throws<BitstreamError>([&] { failed.pull(rows, tables, out); });
  check_throws<BitstreamError>([&] { failed.pull({}, tables, {}); });
  for (const Bytes& head :
       {Bytes{255, 255, 255, 127, 0, 0, 0, 0}, Bytes{0, 0, 0, 0, 0, 0, 0, 128}}) {
    check_throws<BitstreamError>([&] { const AnsDecoder decoder(head); });
  }
  // eight digits announced: the one bin of row 1 leaves the state as it is
  const Bytes long_escape = {8, 0, 0, 0, 1, 0, 0, 0};
  check_throws<BitstreamError>([&] { static_cast<void>(decode(long_escape, {1}, tables)); });
  // slot 65535 lies past the end of row 3
  const Bytes past = {255, 255, 0, 0, 1, 0, 0, 0};
  check_throws<BitstreamError>([&] { static_cast<void>(decode(past, {3}, tables)); });
}

}  // namespace

int main() {
  test_division_is_exact();
  test_round_trip();
  test_pieces_and_reuse();
  test_pieces_of_many_lanes();
  test_refusals();
  test_pushes_without_memory();
  test_hostile_streams();
  return 0;
}

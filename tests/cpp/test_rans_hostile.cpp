// SPDX-License-Identifier: Apache-2.0
//
// Damage in streams of every kind, and sizes at the edge of the types, on every back end. After any
// cut, any flip of a bit and any other value of a word, symbols and plain bytes are refused or the
// same, but for a word in 100 000 where one lane's 16 bits vouch. (They are the same when the size
// of segments changes and there is one, or escapes are announced and do not come: whatever reads is
// what the encoder writes, so no two streams of a shape mean the same symbols.)
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "glc/rans_c.h"
#include "glc/threads.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

using Bytes = std::vector<std::uint8_t>;
using BytesView = std::span<const std::uint8_t>;
using Symbols = std::vector<std::int32_t>;

constexpr std::size_t kHuge = std::size_t{1} << 31;

struct Damage {
  std::size_t n_refused = 0;
  std::size_t n_read = 0;

  void report(const char* back_end, const char* what) const {
    std::printf("%s: %s: %zu cut or flipped, refused %zu, read %zu\n",
                back_end,
                what,
                n_refused + n_read,
                n_refused,
                n_read);
    check(n_refused > 1000, "damage was done");
  }
};

/// Calls test(bytes) with each prefix and each flip of one bit.
template <class F>
void each_damage(const Bytes& bytes, F test) {
  for (std::size_t n = 0; n < bytes.size(); ++n)
    test(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)));
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes flipped = bytes;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1U << bit % 8);
    test(flipped);
  }
}

// ---------------------------------------------------------------------------------------- streams

struct Message {
  TableSet tables;
  Symbols symbols;
  std::vector<std::uint8_t> rows;
};

Message make_message(std::size_t n, bool escapes) {
  const std::vector<double> scales = {0.05, 0.5, 3.0};
  Message m{.tables = glc::cdf::gaussian_tables(scales, 12), .symbols = {}, .rows = {}};
  std::uint32_t random = 1;
  for (std::size_t i = 0; i < n; ++i) {
    random = random * 1664525U + 1013904223U;
    const std::uint32_t row = (random >> 20) % 3;
    m.rows.push_back(static_cast<std::uint8_t>(row));
    m.symbols.push_back(static_cast<std::int32_t>((random >> 24) % (2 * row + 1)) -
                        static_cast<std::int32_t>(row));
    if (escapes && i % 29 == 28) m.symbols.back() = static_cast<std::int32_t>(random);
  }
  return m;
}

Bytes encode(const Message& m, int lanes, std::size_t segment_symbols) {
  Encoder encoder(lanes, segment_symbols);
  encoder.push(m.symbols, std::span(m.rows), m.tables);
  return encoder.finish();
}

std::optional<Symbols> decode(BytesView stream, const Message& m) {
  try {
    Decoder decoder(stream);
    Symbols out(m.symbols.size());
    decoder.pull(std::span(m.rows), m.tables, out);
    decoder.finish();
    return out;
  } catch (const BitstreamError&) {
    return std::nullopt;
  }
}

/// Lanes and segment of a damaged stream of one push that could be read.
Bytes encode_like(BytesView stream, const Message& m) {
  const bool segmented = stream[0] == glc::rans::kDescriptorSegments;
  std::size_t segment_symbols = 0;
  if (segmented) {
    for (std::size_t i = 4; i-- > 0;) segment_symbols = segment_symbols << 8 | stream[8 + i];
  }
  Bytes out = encode(m, 1 << (stream[segmented ? 4 : 0] & 7), segment_symbols);
  if (segmented) out[4] = stream[4];  // may announce escapes and have none
  return out;
}

void streams(const char* back_end, const std::vector<std::size_t>& segments) {
  Damage total;
  for (const bool escapes : {false, true}) {
    for (const std::size_t segment_symbols : segments) {
      for (const int lanes : {1, 8, 16, 32}) {
        Message m = make_message(segment_symbols == 0 ? 150 : 230, escapes);
        const Bytes stream = encode(m, lanes, segment_symbols);
        check(decode(stream, m) == m.symbols, "before damage");
        each_damage(stream, [&](const Bytes& damaged) {
          const std::optional<Symbols> got = decode(damaged, m);
          ++(got ? total.n_read : total.n_refused);
          if (!got) return;
          check(*got == m.symbols, "other symbols without an error");
          check(encode_like(damaged, m) == damaged, "a second spelling of the same symbols");
        });
      }
    }
  }
  total.report(back_end, "streams");
}

/// Symbols that all have the same frequency: a lane that a changed word led astray is back on its
/// old track after one symbol of 256, after a few of most.
Message make_equal_message(std::size_t n, std::size_t n_bins) {
  std::vector<std::uint32_t> freqs(n_bins);
  glc::cdf::normalise(std::vector<std::uint64_t>(n_bins, 1), 8, freqs);
  Message m{.tables = TableSet::from_freqs(
                freqs, Symbols{static_cast<std::int32_t>(n_bins)}, Symbols{-3}, 8, false),
            .symbols = Symbols(n),
            .rows = std::vector<std::uint8_t>(n)};
  std::mt19937 random(static_cast<std::uint32_t>(n_bins));
  for (std::int32_t& symbol : m.symbols) {
    symbol = static_cast<std::int32_t>(random() % n_bins) - 3;
  }
  return m;
}

constexpr std::size_t kDamages = 100000;

/// So many flips of a bit and as many words of another value, of each kind of tables: without the
/// sum of the symbols one of 50 was not noticed where frequencies are equal.
void words(const char* back_end, std::size_t n_damages) {
  std::vector<std::vector<Message>> kinds(2);
  for (const bool escapes : {false, true}) kinds[0].push_back(make_message(150, escapes));
  for (const std::size_t n_bins : std::vector<std::size_t>{2, 3, 5, 16, 37, 100, 200, 256}) {
    kinds[1].push_back(make_equal_message(150, n_bins));
  }
  std::mt19937 random(1);
  for (const std::vector<Message>& messages : kinds) {
    Damage total;
    for (std::size_t i = 0; total.n_refused < 2 * n_damages; ++i) {
      const Message& m = messages[i % messages.size()];
      const std::size_t segment_symbols = random() % 2 == 0 ? 0 : 96;
      const int lanes = 1 << random() % 6;
      const Bytes stream = encode(m, lanes, segment_symbols);
      const std::size_t head = segment_symbols == 0 ? 1 : 4 + 12 + 4 * 2;
      for (int k = 0; k < 200; ++k) {
        Bytes damaged = stream;
        const std::size_t at = head + random() % (stream.size() - head - 1);
        const std::uint_fast32_t draw = random();
        const std::uint_fast32_t change = k % 2 == 0 ? 1U << draw % 16 : 1 + draw % 0xFFFF;
        damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ change);
        damaged[at + 1] = static_cast<std::uint8_t>(damaged[at + 1] ^ change >> 8);
        const bool read = decode(damaged, m).has_value();
        ++(read ? total.n_read : total.n_refused);
        check(!read || lanes == 1, "a changed word is refused where two lanes vouch");
      }
    }
    total.report(back_end, "words");
    check(total.n_read * 100000 <= total.n_refused, "one lane lets 1 of 65536 back unnoticed");
  }
}

void escape_numbers() {
  const Message m = make_message(230, true);
  for (const int lanes : {1, 8, 16, 32}) {
    const Bytes piece = encode(m, lanes, 0);
    const BytesView numbers = BytesView(piece).subspan(2, piece[1]);
    for (const Bytes& stream : {piece, encode(m, lanes, 256)}) {
      const auto found = std::ranges::find_end(stream, numbers);
      check_equal(found.size(), numbers.size(), "the numbers");
      const auto begin = static_cast<std::size_t>(found.begin() - stream.begin());
      for (std::size_t bit = 8 * begin; bit < 8 * (begin + numbers.size()); ++bit) {
        Bytes flipped = stream;
        flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1U << bit % 8);
        check(!decode(flipped, m), "a flip is refused");
      }
    }
  }
}

// ------------------------------------------------------------------------------------ plain bytes

void plain_bytes(const char* back_end) {
  Damage total;
  std::set<int> methods;
  Bytes data(400);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * i % 11);
  Bytes rare(64000);  // fifteen values are too rare for a slot each, and share one
  for (std::size_t i = 1; i <= 15; ++i) rare[4001 * i] = static_cast<std::uint8_t>(16 * i);
  Bytes one_value(300, 255);  // its size is all that it says
  Bytes alike(2000);          // four values of one frequency: lanes easily meet old tracks
  for (std::size_t i = 0; i < alike.size(); ++i) {
    alike[i] = static_cast<std::uint8_t>(static_cast<std::uint32_t>(i) * 0x9E3779B1U >> 30);
  }
  for (const auto& [bytes, segment] : {std::pair{&data, std::size_t{0}},
                                       std::pair{&data, std::size_t{64}},
                                       std::pair{&alike, std::size_t{0}},
                                       std::pair{&alike, std::size_t{512}},
                                       std::pair{&one_value, std::size_t{0}},
                                       std::pair{&one_value, std::size_t{96}},
                                       std::pair{&rare, std::size_t{0}},
                                       std::pair{&rare, std::size_t{32768}}}) {
    const Bytes coded = glc::rans::encode_bytes(*bytes, segment);
    methods.insert(coded[0]);
    each_damage(coded, [&](const Bytes& damaged) {
      try {
        Bytes out(glc::rans::decoded_bytes_size(damaged, 1 << 20));
        glc::rans::decode_bytes(damaged, out);
        ++total.n_read;
        check(out == *bytes, "other bytes without an error");
      } catch (const BitstreamError&) {
        ++total.n_refused;
      }
    });
  }
  check(methods == std::set<int>{1, 2, 3, 4}, "every method but stored");
  total.report(back_end, "plain bytes");

  const Bytes noise = {1, 200, 3, 44, 5};
  const Bytes stored = glc::rans::encode_bytes(noise);
  check_equal(static_cast<int>(stored[0]), 0, "stored");
  for (std::size_t n = 0; n < stored.size(); ++n) {
    Bytes out(noise.size());
    check_throws<BitstreamError>([&] {
      const BytesView cut = BytesView(stored).first(n);
      static_cast<void>(glc::rans::decoded_bytes_size(cut, 100));
      glc::rans::decode_bytes(cut, out);
    });
  }
}

// ------------------------------------------------------------------------------- sizes at the edge

/// Spans of more symbols than there are: whoever reads one ends the program.
void sizes_are_refused_before_memory_is_read() {
  const Message m = make_message(4, false);
  const std::int32_t symbol = 0;
  Encoder encoder;
  check_throws<InvalidArgument>([&] { encoder.push({&symbol, kHuge}, 0, m.tables); },
                                "2^31 symbols");
  check_throws<InvalidArgument>([&] { encoder.push({&symbol, SIZE_MAX}, 0, m.tables); }, "more");
  const Bytes stream = encode(m, 1, 0);
  std::int32_t out = 0;
  Decoder decoder(stream);
  check_throws<InvalidArgument>([&] { decoder.pull(0, m.tables, {&out, kHuge}); }, "2^31 symbols");
  Symbols four(4);
  decoder.pull(std::span(m.rows), m.tables, four);  // the refusal changed nothing
  decoder.finish();

  for (const std::size_t n : {std::size_t{1},
                              std::size_t{31},
                              std::size_t{33},
                              (std::size_t{1} << 30) + 32,
                              kHuge,
                              std::size_t{SIZE_MAX}}) {
    check_throws<InvalidArgument>([&] { const Encoder bad(1, n); }, "segment_symbols");
    check_throws<InvalidArgument>([&] { static_cast<void>(glc::rans::encode_bytes(stream, n)); },
                                  "segment_bytes");
  }
  const Encoder largest(1, std::size_t{1} << 30);
}

void u32_to(Bytes& out, std::size_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// Fields at their largest: refused, by size alone.
void large_fields() {
  const Message m = make_message(40, false);
  for (const std::size_t n_segments :
       {std::size_t{0}, std::size_t{1}, std::size_t{3}, kHuge, std::size_t{UINT32_MAX}}) {
    for (const std::size_t segment_symbols :
         {std::size_t{32}, std::size_t{1} << 30, kHuge, std::size_t{UINT32_MAX - 31}}) {
      for (const std::size_t end :
           {std::size_t{0}, std::size_t{1}, kHuge, std::size_t{UINT32_MAX}}) {
        Bytes stream;
        for (const std::size_t field :
             {std::size_t{0x10}, std::size_t{0}, segment_symbols, n_segments, end, end})
          u32_to(stream, field);
        check(!decode(stream, m), "large fields");
      }
    }
  }
  // sizes of plain bytes up to the largest: refused by max_size, or because no data follows
  for (const std::uint8_t method : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}}) {
    // and a byte behind, from which on so many would not be the data's
    Bytes memory = {method};
    for (std::size_t left = SIZE_MAX; left != 0; left >>= 7) {
      memory.push_back(static_cast<std::uint8_t>((left & 0x7F) | (left > 0x7F ? 0x80 : 0)));
    }
    memory.push_back(0);
    const std::span<const std::uint8_t> coded(memory.data(), memory.size() - 1);
    check_throws<BitstreamError>(
        [&] { static_cast<void>(glc::rans::decoded_bytes_size(coded, kHuge)); });
    check_equal(glc::rans::decoded_bytes_size(coded, SIZE_MAX), SIZE_MAX);
    check_throws<InvalidArgument>([&] { glc::rans::decode_bytes(coded, {}); });
    check_throws<BitstreamError>(
        [&] { glc::rans::decode_bytes(coded, {&memory.back(), SIZE_MAX}); });
  }
}

/// Tables made to cost memory: refused before any is taken.
void large_tables() {
  const std::vector<std::uint32_t> freqs = {256};
  const auto refuse = [&](std::size_t n_rows, std::int32_t bins) {
    const Symbols n_bins(n_rows, bins);
    const Symbols offsets(n_rows);
    check_throws<InvalidArgument>(
        [&] { static_cast<void>(TableSet::from_freqs(freqs, n_bins, offsets, 8, false)); });
    check_throws<InvalidArgument>(
        [&] { static_cast<void>(TableSet::from_cdfs(offsets, 1, n_bins, offsets, 8)); });
  };
  for (const std::int32_t bins : {INT32_MIN, -1, 0, 2, 257, INT32_MAX}) {
    refuse(1, bins);
    refuse(65536, bins);
  }
  refuse(65537, 1);
  check_throws<InvalidArgument>([&] {  // nothing wrong but their number
    const std::vector<std::uint32_t> many(65537, 256);
    const Symbols ones(many.size(), 1);
    static_cast<void>(TableSet::from_freqs(many, ones, Symbols(many.size()), 8, false));
  });
  check_throws<InvalidArgument>([&] {  // rows * width wraps around
    static_cast<void>(
        TableSet::from_cdfs(Symbols{0, 256}, SIZE_MAX / 2 + 2, Symbols{2, 2}, Symbols{0, 0}, 8));
  });
}

/// GLC_SIMD may hold anything: an exception in C++, a status in C.
[[maybe_unused]] void instruction_sets_that_are_not_there() {
  const Message m = make_message(100, false);
  const Bytes stream = encode(m, 32, 0);
  std::vector<std::int32_t> out(100);
  glc_rans_tables* tables = nullptr;
  const double scale = 1.0;
  check_equal(glc_rans_tables_from_gaussian(&scale, 1, 12, &tables), GLC_RANS_OK);
  Bytes room(1000);
  std::size_t size = 0;
  for (const char* name : {"mmx", "AVX2", "scalar ", "-1"}) {
    glc::test::use_back_end(name);
    check_throws<glc::Unsupported>([&] { encode(m, 32, 0); }, "encode");
    check_throws<glc::Unsupported>([&] { decode(stream, m); }, "decode");
    const auto coded = glc_rans_encode(
        out.data(), 100, glc_rans_rows_one(0), tables, 32, 0, room.data(), room.size(), &size);
    check_equal(coded, GLC_RANS_UNSUPPORTED, "encode in C");
    check(std::string(glc_rans_last_error()).find("expected scalar, neon") != std::string::npos);
  }
  glc::test::use_back_end("scalar");
  check(decode(stream, m) == m.symbols, "afterwards");
  glc_rans_tables_free(tables);
}

}  // namespace

/// How seldom a changed word goes unnoticed is the format's, alike on every back end: one counts,
/// the others do a tenth. With any argument, as where a CPU is emulated, all do.
int main(int n_arguments, char**) {
  std::size_t n_damages = n_arguments > 1 ? kDamages / 10 : kDamages;
  for (const char* back_end : glc::test::back_ends()) {
    glc::test::use_back_end(back_end);
    glc::set_threads(1);
    streams(back_end, {0, 32, 96});
    glc::set_threads(3);
    streams(back_end, {32, 96});  // a stream in one piece is one thread's
    words(back_end, n_damages);
    n_damages = kDamages / 10;
    escape_numbers();
    plain_bytes(back_end);
  }
  sizes_are_refused_before_memory_is_read();
  large_fields();
  large_tables();
#if defined(__x86_64__) || defined(__aarch64__)  // elsewhere there is no choice, and nobody asks
  instruction_sets_that_are_not_there();
#endif
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// What a decoder of one stream says to cuts, flips and heads that are not good.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "check.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/rans_state.h"
#include "rans_message.h"

namespace {

using glc::BitstreamError;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::TableSet;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_throws;
using glc::test::decode;
using glc::test::encode;
using glc::test::gaussian;
using glc::test::make_message;
using glc::test::Message;
using glc::test::prefix;
using glc::test::rows_of;
using glc::test::Symbols;

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
    for (const std::size_t extra : std::array<std::size_t, 3>{1, 2, 3}) {
      Bytes longer = stream;
      longer.resize(stream.size() + extra);
      check(!survives(longer, m, tables), "bytes too many");
    }
  }
}

// Pulls the first push from a prefix that cannot hold the second; false when that is cut as well.
bool gives_first(std::span<const std::uint8_t> cut,
                 const Message& first,
                 const Message& second,
                 const TableSet& tables) {
  Symbols out(first.symbols.size());
  try {
    Decoder decoder(cut);
    decoder.pull(rows_of(first.rows), tables, out);
    check(out == first.symbols, "a prefix gives the right symbols or none");
    out.resize(second.symbols.size());
    check_throws<BitstreamError>([&] { decoder.pull(rows_of(second.rows), tables, out); });
    check_throws<BitstreamError>([&] { decoder.pull(0, tables, {}); }, "failed for good");
    return true;
  } catch (const BitstreamError&) {
    return false;
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
    std::size_t n_first = 1;  // shortest prefix that gives the first push
    while (!gives_first(prefix(stream, n_first), first, second, tables)) ++n_first;
    const double cost = static_cast<double>(tables.cost(first.symbols, rows_of(first.rows)));
    check(static_cast<double>(n_first) <= cost / 65536 / 8 + 4.0 * lanes + 2,
          "the words of a push precede those of the next");
  }
}

void heads_are_checked() {
  const auto refuse = [](Bytes head, const char* what) {
    check_throws<BitstreamError>([&] { const Decoder decoder(head); }, what);
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

}  // namespace

int main() {
  damage_is_reported();
  a_cut_after_the_last_symbol_is_harmless();
  heads_are_checked();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// What is read and what is written may not share memory: rows that were checked and then written
// over would be read as addresses beyond the tables.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "check.h"
#include "compat/stream_pieces.h"
#include "core/overlap.h"
#include "glc/cdf.h"
#include "glc/compressai_ans.h"
#include "glc/error.h"
#include "glc/rans.h"

namespace {

using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_throws;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;

std::span<std::uint8_t> bytes_of(std::span<std::int32_t> symbols) {
  return {reinterpret_cast<std::uint8_t*>(symbols.data()), symbols.size_bytes()};
}

Symbols rows_for(std::size_t n) {
  Symbols rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = static_cast<std::int32_t>(i * i % 3);
  return rows;
}

Symbols symbols_for(std::size_t n) {
  Symbols symbols(n);
  for (std::size_t i = 0; i < n; ++i) {
    symbols[i] = i % 10 == 0 ? INT32_MAX - 5 : static_cast<std::int32_t>(i % 3) - 1;
  }
  return symbols;
}

void symbols(std::size_t n, std::size_t segment_symbols) {
  const std::vector<double> scales = {0.5, 1.0, 4.0};
  const TableSet tables = glc::cdf::gaussian_tables(scales, 12);
  const Symbols rows = rows_for(n);
  const Symbols wanted = symbols_for(n);
  Encoder encoder(std::nullopt, segment_symbols);
  encoder.push(wanted, rows, tables);
  const Bytes stream = encoder.finish();

  Symbols shared(2 * n);  // rows in the middle
  const auto middle = std::span(shared).subspan(n / 2, n);
  std::copy(rows.begin(), rows.end(), middle.begin());
  Decoder decoder(stream);
  for (const std::size_t begin : {n / 2, std::size_t{0}, n / 2 + 1, n - 1}) {
    const auto out = std::span(shared).subspan(begin, n);
    check_throws<InvalidArgument>([&] { decoder.pull(middle, tables, out); }, "int32 rows");
    const auto narrow = bytes_of(middle).first(n);
    check_throws<InvalidArgument>([&] { decoder.pull(narrow, tables, middle); }, "uint8 rows");
  }
  Symbols out(n);
  decoder.pull(rows, tables, out);  // as if nothing had been
  decoder.finish();
  check(out == wanted, "symbols");

  Symbols room(stream.size() / 4 + 1 + n);
  std::copy(stream.begin(), stream.end(), bytes_of(room).begin());
  Decoder beside(bytes_of(room).first(stream.size()));
  check_throws<InvalidArgument>([&] { beside.pull(rows, tables, std::span(room).first(n)); },
                                "the stream");
  beside.pull(rows, tables, std::span(room).last(n));  // side by side is apart
  beside.finish();
  check(std::equal(wanted.begin(), wanted.end(), room.end() - static_cast<std::ptrdiff_t>(n)),
        "symbols beside their stream");
}

void plain_bytes() {
  const Bytes data = [] {
    Bytes bytes(5000);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i % 7);
    return bytes;
  }();
  const std::size_t bound = glc::rans::encoded_bytes_bound(data.size());
  Bytes room(data.size() + bound);
  std::copy(data.begin(), data.end(), room.begin());
  const auto source = std::span(room).first(data.size());
  for (const std::size_t begin : {std::size_t{0}, data.size() - 1}) {
    const auto out = std::span(room).subspan(begin, bound);
    check_throws<InvalidArgument>([&] { glc::rans::encode_bytes(source, out); }, "encode_bytes");
  }
  const auto coded = std::span(room).last(bound);
  const std::size_t size = glc::rans::encode_bytes(source, coded);
  const auto over = std::span(room).subspan(1, data.size());
  check_throws<InvalidArgument>([&] { glc::rans::decode_bytes(coded.first(size), over); },
                                "decode_bytes");
  std::fill(source.begin(), source.end(), std::uint8_t{0});
  glc::rans::decode_bytes(coded.first(size), source);
  check(std::equal(data.begin(), data.end(), source.begin()), "bytes");
}

void compressai() {
  const Symbols cdfs = {0, 30000, 60000, 65536};
  const Symbols sizes = {4};
  const Symbols offsets = {0};
  const glc::compressai::AnsTables tables(cdfs, 4, sizes, offsets);
  Symbols shared(101);
  const auto rows = std::span(shared).first(100);
  const Symbols symbols(100, 1);
  glc::compressai::AnsEncoder encoder;
  encoder.push(symbols, rows, tables);
  const Bytes stream = encoder.finish();
  glc::compressai::AnsDecoder decoder(stream);
  check_throws<InvalidArgument>([&] { decoder.pull(rows, tables, std::span(shared).subspan(1)); },
                                "indexes");
  Symbols out(100);
  decoder.pull(rows, tables, out);
  check(out == symbols, "symbols");

  Encoder ours(1, glc::rans::kNoSegments);
  ours.push(symbols, rows, TableSet::from_cdfs(cdfs, 4, sizes, offsets, 16));
  const Bytes own = ours.finish();
  glc::compressai::PieceDecoder pieces(own);
  check_throws<InvalidArgument>(
      [&] { pieces.pull(rows, tables, 16, std::span(shared).subspan(1)); }, "indexes");
  pieces.pull(rows, tables, 16, out);
  check(out == symbols, "symbols");
}

/// Ends that are no addresses, and neighbours.
void edges() {
  std::uint8_t bytes[3] = {};
  const std::span<const std::uint8_t> last(bytes + 2, 1);
  check_throws<InvalidArgument>(
      [&] { glc::require_apart(last, std::span(bytes, SIZE_MAX), "shared"); });
  glc::require_apart(last, std::span(bytes, 2), "apart");
  glc::require_apart(std::span<const std::uint8_t>(bytes, 2), std::span(bytes + 2, 1), "apart");
  glc::require_apart(std::span<const std::uint8_t>(bytes, 0), std::span(bytes, 3), "nothing read");
}

}  // namespace

int main() {
  edges();
  symbols(100, glc::rans::kNoSegments);
  symbols(20000, glc::rans::kNoSegments);
  symbols(20000, 4096);
  plain_bytes();
  compressai();
  return 0;
}

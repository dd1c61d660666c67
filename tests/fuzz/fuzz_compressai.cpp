// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, taken four ways: as a CompressAI stream, as one of ours read in
// pieces, as tables, and as symbols to code. Reading
// gives symbols or BitstreamError, tables are good or InvalidArgument, and what was coded comes
// back; nothing else may happen.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "compat/stream_pieces.h"
#include "glc/compressai_ans.h"
#include "glc/error.h"

namespace {

using Bytes = std::span<const std::uint8_t>;
using Ints = std::vector<std::int32_t>;
using glc::compressai::AnsDecoder;
using glc::compressai::AnsEncoder;
using glc::compressai::AnsTables;

// Even bins; a certain escape; frequencies 0 and 1; a total below 2^16.
AnsTables make_tables() {
  const Ints cdfs = {0, 16384, 32768, 65536, 0, 65536, 0, 0, 0, 1, 1, 65536, 0, 10, 40000, 50000};
  return {cdfs, 4, Ints{4, 2, 4, 4}, Ints{0, 7, -1, INT32_MIN}};
}

void read_stream(Bytes data, const AnsTables& tables) {
  Ints rows(1 + data.size() % 97);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::int32_t>((i * i + data.size()) % 4);
  }
  Ints out(rows.size());
  AnsDecoder decoder(data);
  decoder.pull(rows, tables, out);
  decoder.pull(rows, tables, out);
}

// Seven symbols at a time, so that a piece ends in any lane.
void read_pieces(Bytes data, const AnsTables& tables) {
  glc::compressai::PieceDecoder decoder(data);
  const Ints rows = {0, 1, 2, 3, 0, 0, 1};
  Ints out(rows.size());
  for (int i = 0; i < 12; ++i) decoder.pull(rows, tables, 16, out);
}

Ints words(Bytes data) {
  Ints out(data.size() / 4);
  if (!out.empty()) std::memcpy(out.data(), data.data(), out.size() * 4);
  return out;
}

void make_hostile_tables(Bytes data) {
  Ints cdfs = words(data);
  if (cdfs.size() < 6) return;
  const Ints sizes = {cdfs[0], cdfs[1]};
  const Ints offsets = {cdfs[2], cdfs[3]};
  cdfs.erase(cdfs.begin(), cdfs.begin() + 4);
  for (auto& value : cdfs) value %= 65537;
  cdfs.resize(cdfs.size() / 2 * 2);
  const AnsTables tables(cdfs, cdfs.size() / 2, sizes, offsets);
  Ints out(8);
  AnsDecoder(data).pull(Ints{0, 1, 0, 1, 0, 1, 0, 1}, tables, out);
}

void round_trip(Bytes data, const AnsTables& tables) {
  const Ints symbols = words(data);
  Ints rows(symbols.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = data[i] % 2;
  AnsEncoder encoder;
  encoder.push(symbols, rows, tables);
  const std::vector<std::uint8_t> stream = encoder.finish();
  Ints out(symbols.size());
  AnsDecoder(stream).pull(rows, tables, out);
  if (out != symbols) __builtin_trap();
}

template <class F>
void allow(F body) {
  try {
    body();
  } catch (const glc::BitstreamError&) {
  } catch (const glc::InvalidArgument&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const AnsTables tables = make_tables();
  const Bytes data(bytes, size);
  allow([&] { read_stream(data, tables); });
  allow([&] { read_pieces(data, tables); });
  allow([&] { make_hostile_tables(data); });
  allow([&] { round_trip(data, tables); });
  return 0;
}

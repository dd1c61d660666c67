// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, taken four ways: as a coder stream, as an order-0 file, as tables, and as symbols to
// code. Reading gives symbols or BitstreamError, tables are good or InvalidArgument, and what was
// coded comes back; nothing else may happen.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"

namespace {

using Bytes = std::span<const std::uint8_t>;
using glc::rans::TableSet;

constexpr std::size_t kMaxBytes = std::size_t{1} << 16;

void expect(bool condition) {
  if (!condition) {
    __builtin_trap();
  }
}

// Runs body, which may throw an E; anything else ends the program.
template <class E, class F>
bool allow(F body) {
  try {
    body();
    return true;
  } catch (const E&) {
    return false;
  }
}

// 0: sixteen equal bins; 1: one sure symbol and the escape; 2: skewed, with escape
TableSet make_tables() {
  const std::vector<std::int32_t> n_bins = {16, 2, 5};
  const std::vector<std::int32_t> offsets = {0, 0, -2};
  std::vector<std::uint32_t> freqs(16, 16);
  freqs.insert(freqs.end(), {255, 1, 10, 60, 120, 60, 6});
  return TableSet::from_freqs(freqs, n_bins, offsets, 8, true);
}

void read_stream(Bytes data, const TableSet& tables) {
  std::vector<std::uint8_t> rows(1 + data.size() % 97);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::uint8_t>((i + data.size()) % 3);
  }
  std::vector<std::int32_t> symbols(rows.size());
  const Bytes row_span(rows);
  glc::rans::Decoder decoder(data);
  decoder.pull(row_span, tables, symbols);
  decoder.pull(1, tables, std::span<std::int32_t>(symbols).first(symbols.size() / 2));
  decoder.pull(row_span, tables, symbols);
  decoder.finish();
}

std::vector<std::int32_t> words(Bytes data) {
  std::vector<std::int32_t> out(data.size() / 4);
  if (!out.empty()) {
    std::memcpy(out.data(), data.data(), out.size() * 4);
  }
  return out;
}

// CompressAI-style tables from hostile numbers: two rows share the input.
void make_hostile_tables(Bytes data) {
  std::vector<std::int32_t> cdfs = words(data);
  if (cdfs.size() < 6) {
    return;
  }
  const std::vector<std::int32_t> sizes = {cdfs[0], cdfs[1]};
  const std::vector<std::int32_t> offsets = {cdfs[2], cdfs[3]};
  const int bits = cdfs[4];
  cdfs.erase(cdfs.begin(), cdfs.begin() + 4);
  cdfs.resize(cdfs.size() / 2 * 2);
  static_cast<void>(TableSet::from_cdfs(cdfs, cdfs.size() / 2, sizes, offsets, bits));
}

// Two pushes with tables made of the data itself: every int32 must come back.
void round_trip_symbols(Bytes data, const TableSet& tables) {
  if (data.size() < 8) {
    return;
  }
  std::vector<std::uint64_t> counts(data.begin(), data.begin() + 8);
  for (auto& count : counts) {
    ++count;
  }
  std::vector<std::uint32_t> freqs(counts.size());
  const int bits = 8 + data[0] % 9;
  glc::cdf::normalise(counts, bits, freqs);
  const std::vector<std::int32_t> n_bins = {8};
  const std::vector<std::int32_t> offsets = {data[1] - 128};
  const TableSet own = TableSet::from_freqs(freqs, n_bins, offsets, bits, true);

  const std::vector<std::int32_t> wild = words(data);
  const std::vector<std::int32_t> tame(data.begin(), data.end());
  std::vector<std::uint8_t> rows(tame.size());
  std::transform(data.begin(), data.end(), rows.begin(), [](std::uint8_t b) {
    return static_cast<std::uint8_t>(b % 3);
  });
  glc::rans::Encoder encoder(1 << data[2] % 6);
  encoder.push(wild, 0, own);
  encoder.push(tame, Bytes(rows), tables);
  const std::vector<std::uint8_t> stream = encoder.finish();

  glc::rans::Decoder decoder(stream);
  std::vector<std::int32_t> out(wild.size());
  decoder.pull(0, own, out);
  expect(out == wild);
  out.resize(tame.size());
  decoder.pull(Bytes(rows), tables, out);
  expect(out == tame);
  decoder.finish();
}

// The order-0 coder gives back what it was given.
void round_trip_bytes(Bytes data) {
  const std::vector<std::uint8_t> coded = glc::rans::encode_bytes(data);
  std::vector<std::uint8_t> out(glc::rans::decoded_bytes_size(coded, kMaxBytes));
  glc::rans::decode_bytes(coded, out);
  expect(std::equal(out.begin(), out.end(), data.begin(), data.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const TableSet tables = make_tables();
  const Bytes data(bytes, size);
  allow<glc::BitstreamError>([&] { read_stream(data, tables); });
  allow<glc::BitstreamError>([&] {
    std::vector<std::uint8_t> out(glc::rans::decoded_bytes_size(data, kMaxBytes));
    glc::rans::decode_bytes(data, out);
  });
  allow<glc::InvalidArgument>([&] { make_hostile_tables(data); });
  if (size <= kMaxBytes) {
    round_trip_symbols(data, tables);
    round_trip_bytes(data);
  }
  return 0;
}

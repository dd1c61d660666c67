// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, read as a file down to its symbols: header, tiles, thresholds, and the pulls that a
// picture makes, with rows that depend on the symbols before them, as a model's would. The file may
// be whole or cut. The outcome is symbols, BitstreamError or Unsupported.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "glc/bitstream.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"

namespace {

using Bytes = std::span<const std::uint8_t>;
using glc::rans::TableSet;
namespace bitstream = glc::bitstream;

constexpr std::size_t kMaxIndices = 64;
constexpr std::size_t kPartSymbols = 150;
constexpr std::uint8_t kRows = 68;

/// Index tables of 300 entries: row 0 for the three high halves, 1 + h for the low ones.
TableSet index_tables() {
  const std::vector<std::int32_t> n_bins = {3, 128, 128, 44};
  const std::vector<std::int32_t> offsets(4, 0);
  std::vector<std::uint32_t> freqs = {40000, 25000, 536};
  for (int row = 0; row < 2; ++row) freqs.insert(freqs.end(), 128, 512);
  freqs.push_back(65536 - 43);
  freqs.insert(freqs.end(), 43, 1);
  return TableSet::from_freqs(freqs, n_bins, offsets, 16, false);
}

TableSet gaussian_tables() {
  std::vector<double> scales(kRows);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = 0.03 + 0.5 * static_cast<double>(i);
  }
  return glc::cdf::gaussian_tables(scales, 14);
}

void read_piece(Bytes body, std::uint8_t descriptor, std::size_t n_indices) {
  static const TableSet index = index_tables();
  static const TableSet gaussian = gaussian_tables();
  if (body.size() < bitstream::kThresholdBytes) return;
  const Bytes thresholds = body.first(bitstream::kThresholdBytes);
  glc::rans::Decoder decoder(descriptor, body.subspan(bitstream::kThresholdBytes));
  std::vector<std::int32_t> high(n_indices);
  std::vector<std::int32_t> low(n_indices);
  decoder.pull(0, index, high);
  std::vector<std::uint8_t> rows(n_indices);
  std::ranges::transform(
      high, rows.begin(), [](std::int32_t h) { return static_cast<std::uint8_t>(h + 1); });
  decoder.pull(Bytes(rows), index, low);
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < n_indices; ++i) {
    state = 31 * state + static_cast<std::uint32_t>(high[i] << 7 | low[i]);
  }
  for (const std::uint8_t threshold : thresholds) {
    rows.clear();
    for (std::size_t i = 0; i < kPartSymbols; ++i) {
      state = 1664525 * state + 1013904223;
      const auto row = static_cast<std::uint8_t>((state >> 16) % kRows);
      if (row >= threshold) rows.push_back(row);
    }
    std::vector<std::int32_t> symbols(rows.size());
    decoder.pull(Bytes(rows), gaussian, symbols);
    for (const std::int32_t symbol : symbols)
      state = 31 * state + static_cast<std::uint32_t>(symbol);
  }
  decoder.finish();
}

void read_tiles(Bytes payload, std::size_t n_indices) {  // which accounting has found well formed
  while (!payload.empty()) {
    std::size_t n_bytes = 0;
    std::size_t at = 0;
    do {
      n_bytes |= static_cast<std::size_t>(payload[at] & 0x7F) << (7 * at);
    } while (payload[at++] >= 0x80);
    read_piece(payload.subspan(at + 1, n_bytes - 1), payload[at], n_indices);
    payload = payload.subspan(at + n_bytes);
  }
}

void read(Bytes data, bool cut) {
  const bitstream::Parsed parsed = bitstream::parse(data, std::uint64_t{1} << 40, cut);
  const std::uint64_t rows = (std::uint64_t{parsed.header.height} + 63) / 64;
  const std::uint64_t columns = (std::uint64_t{parsed.header.width} + 63) / 64;
  const auto n_indices =
      static_cast<std::size_t>(std::min<std::uint64_t>(rows * columns, kMaxIndices));
  Bytes payload = data.subspan(parsed.payload_offset);
  payload = payload.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(payload.size(), parsed.payload_bytes)));
  if (parsed.header.tile == 0) return read_piece(payload, parsed.header.coder, n_indices);
  bitstream::accounting(data);
  read_tiles(payload, n_indices);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  for (const bool cut : {false, true}) {
    try {
      read({bytes, size}, cut);
    } catch (const glc::BitstreamError&) {
    } catch (const glc::Unsupported&) {
    }
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, read as a file down to its symbols: header, tiles, thresholds, and the pulls that a
// picture makes, with rows that depend on the symbols before them, as a model's would. The file may
// be whole or cut. The outcome is symbols, BitstreamError or Unsupported.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "codec/payload.h"
#include "glc/bitstream.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/four_part.h"
#include "glc/rans.h"

namespace {

using Bytes = std::span<const std::uint8_t>;
using glc::codec::IndexTables;
using glc::codec::PayloadReader;
using glc::codec::Piece;
using glc::rans::TableSet;
namespace bitstream = glc::bitstream;

constexpr std::size_t kIndices = 300;  // of the codebook: three high halves, the last a short one
constexpr std::int64_t kMaxIndices = 64;
constexpr std::size_t kPartSymbols = 150;
constexpr std::uint8_t kRows = 68;

void expect(bool condition) {
  if (!condition) __builtin_trap();
}

IndexTables index_tables() {
  std::vector<float> logits(kIndices);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = -static_cast<float>(i * i % kIndices) / 40.0F;
  }
  return IndexTables::from(logits);
}

TableSet gaussian_tables() {
  std::vector<double> scales(kRows);
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = 0.03 + 0.5 * static_cast<double>(i);
  }
  return glc::cdf::gaussian_tables(scales, 14);
}

void read_piece(const Piece& piece, const glc::codec::Wanted& wanted) {
  static const IndexTables index = index_tables();
  static const TableSet gaussian = gaussian_tables();
  PayloadReader reader(gaussian, index, piece.descriptor, piece.payload, wanted);
  const std::int64_t rows_of_z = std::min((piece.box.height + 63) / 64, kMaxIndices);
  const std::int64_t columns_of_z = std::min((piece.box.width + 63) / 64, kMaxIndices);
  const std::int64_t n_indices = std::min(rows_of_z * columns_of_z, kMaxIndices);
  std::uint32_t state = 1;
  for (const std::int32_t z : reader.z_index(static_cast<std::size_t>(n_indices))) {
    expect(z >= 0 && z < static_cast<std::int32_t>(kIndices));
    state = 31 * state + static_cast<std::uint32_t>(z);
  }
  std::vector<std::uint8_t> rows(kPartSymbols);
  std::vector<std::int32_t> symbols(kPartSymbols);
  for (int part = 0; part < glc::entropy::kParts; ++part) {
    for (std::uint8_t& row : rows) {
      state = 1664525 * state + 1013904223;
      row = static_cast<std::uint8_t>((state >> 16) % kRows);
    }
    reader.symbols(part, rows, symbols);
    for (const std::int32_t symbol : symbols) {
      state = 31 * state + static_cast<std::uint32_t>(symbol);
    }
  }
  reader.finish();
  expect(reader.n_parts() <= wanted.until && (wanted.cut || reader.n_parts() == wanted.until));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const Bytes data(bytes, size);
  const int until = size != 0 ? bytes[size - 1] % (glc::entropy::kParts + 1) : 0;
  for (const glc::codec::Wanted& wanted : {glc::codec::Wanted{}, {.until = until}, {.cut = true}}) {
    try {
      const auto parsed = bitstream::parse(data, std::uint64_t{1} << 40, wanted.cut);
      for (const Piece& piece : glc::codec::pieces(data, parsed)) read_piece(piece, wanted);
    } catch (const glc::BitstreamError&) {
    } catch (const glc::Unsupported&) {
    }
  }
  return 0;
}

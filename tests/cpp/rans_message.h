// SPDX-License-Identifier: Apache-2.0
// Messages of Gaussian rows for the tests of the coder.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "glc/cdf.h"
#include "glc/rans.h"

namespace glc::test {

using rans::Decoder;
using rans::Encoder;
using rans::Rows;
using rans::TableSet;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;
using RowVector = std::vector<std::uint8_t>;

inline Rows rows_of(const RowVector& rows) { return {std::span<const std::uint8_t>(rows)}; }

inline TableSet gaussian(int bits) {
  const std::vector<double> scales = {0.05, 0.3, 1.0, 4.0, 20.0};
  return glc::cdf::gaussian_tables(scales, bits);
}

inline std::span<const std::uint8_t> prefix(const Bytes& bytes, std::size_t n) {
  return std::span<const std::uint8_t>(bytes).first(n);
}

struct Message {
  Symbols symbols;
  RowVector rows;
};

/// Symbols that fit the rows of gaussian(), with a far outlier now and then.
inline Message make_message(std::size_t n, std::uint32_t seed, std::uint32_t outlier_every = 97) {
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

inline Bytes encode(const Message& m,
                    const TableSet& tables,
                    std::optional<int> lanes,
                    std::optional<std::size_t> segment_symbols = std::nullopt) {
  Encoder encoder(lanes, segment_symbols);
  encoder.push(m.symbols, rows_of(m.rows), tables);
  return encoder.finish();
}

inline Symbols decode(std::span<const std::uint8_t> stream,
                      const RowVector& rows,
                      const TableSet& t) {
  Symbols out(rows.size());
  Decoder decoder(stream);
  decoder.pull(rows_of(rows), t, out);
  decoder.finish();
  return out;
}

}  // namespace glc::test

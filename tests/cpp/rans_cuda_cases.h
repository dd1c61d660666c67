// SPDX-License-Identifier: Apache-2.0
//
// Messages with random tables, for the tests of the CUDA coder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "glc/cdf.h"
#include "glc/rans.h"
#include "rans_cuda_harness.h"

namespace glc::test {

/// A message with random tables of its own.
struct Case {
  rans::TableSet tables;
  std::vector<std::int32_t> symbols;
  std::vector<std::uint8_t> rows8;
  std::vector<std::uint16_t> rows16;
  std::vector<std::int32_t> rows32;

  [[nodiscard]] CudaPush push(int row_type) const {
    const rans::Rows rows = row_type == 0   ? rans::Rows(std::span<const std::uint8_t>(rows8))
                            : row_type == 1 ? rans::Rows(std::span<const std::uint16_t>(rows16))
                                            : rans::Rows(std::span<const std::int32_t>(rows32));
    return {symbols, rows, tables};
  }
};

inline std::vector<std::uint32_t> random_freqs(std::size_t n_bins,
                                               int bits,
                                               bool escape,
                                               std::mt19937& r) {
  std::vector<std::uint64_t> counts(n_bins);
  for (auto& count : counts) {
    const bool rare = r() % 3 == 0;
    count = rare ? (escape ? 1 : 0) : std::uint64_t{1} << r() % 14;
  }
  counts[r() % n_bins] += 1;  // not all zero
  std::vector<std::uint32_t> freqs(n_bins);
  cdf::normalise(counts, bits, freqs);
  return freqs;
}

inline Case make_case(std::size_t n,
                      std::uint32_t seed,
                      std::uint32_t escape_every = 50,
                      std::optional<bool> with_escape = std::nullopt) {
  std::mt19937 r(seed);
  const int bits = 8 + static_cast<int>(r() % 9);
  const bool escape = with_escape.value_or(r() % 2 == 0);
  const std::size_t n_rows = 1 + r() % 40;
  std::vector<std::uint32_t> freqs;
  std::vector<std::int32_t> n_bins;
  std::vector<std::int32_t> offsets;
  for (std::size_t row = 0; row < n_rows; ++row) {
    const std::size_t n_row = (escape ? 2 : 1) + r() % 90;
    const auto some = random_freqs(n_row, bits, escape, r);
    freqs.insert(freqs.end(), some.begin(), some.end());
    n_bins.push_back(static_cast<std::int32_t>(n_row));
    offsets.push_back(static_cast<std::int32_t>(r() % 200) - 100);
  }
  Case c{.tables = rans::TableSet::from_freqs(freqs, n_bins, offsets, bits, escape),
         .symbols = std::vector<std::int32_t>(n),
         .rows8 = std::vector<std::uint8_t>(n),
         .rows16 = std::vector<std::uint16_t>(n),
         .rows32 = std::vector<std::int32_t>(n)};
  std::vector<std::size_t> begins(n_rows + 1);
  for (std::size_t row = 0; row < n_rows; ++row) {
    begins[row + 1] = begins[row] + static_cast<std::size_t>(n_bins[row]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = r() % n_rows;
    std::size_t bin = r() % static_cast<std::size_t>(n_bins[row]);
    while (freqs[begins[row] + bin] == 0) bin = (bin + 1) % static_cast<std::size_t>(n_bins[row]);
    c.symbols[i] = offsets[row] + static_cast<std::int32_t>(bin);
    if (escape && r() % escape_every == 0) c.symbols[i] = static_cast<std::int32_t>(r());
    c.rows8[i] = static_cast<std::uint8_t>(row);
    c.rows16[i] = static_cast<std::uint16_t>(row);
    c.rows32[i] = static_cast<std::int32_t>(row);
  }
  return c;
}

}  // namespace glc::test

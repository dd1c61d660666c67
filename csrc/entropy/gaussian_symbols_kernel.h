// SPDX-License-Identifier: Apache-2.0
// Rounding of residuals and lookup of rows: one template over the Vec trait of vec_avx512.h.
#pragma once

#include <cstdint>

namespace glc::entropy {

/// What RowFinder knows of an interval of scales: how many bounds lie below it (upper 8 bits), and
/// where inside it the one bound is that it may hold, else behind its end (lower 24).
struct RowTable {
  const std::uint32_t* entries;
  std::uint32_t first;  // bit pattern of the smallest scale of the first interval
  std::uint32_t last;   // of the largest of the last, less first
  int shift;            // log2 of the patterns in an interval
};

/// n is a multiple of 16.
struct GaussianSymbolsBackend {
  /// symbols[i] = y[i] - mean[i] rounded half to even. False, and symbols undefined, unless all
  /// residuals are below 2^23 and all scales finite.
  bool (*round)(
      const float* y, const float* mean, const float* scale, std::int32_t* symbols, std::int64_t n);
  void (*find_rows)(const RowTable& table, const float* scale, std::uint8_t* rows, std::int64_t n);
};

template <class V>
struct GaussianSymbolsKernel {
  using F = typename V::F;
  using U = typename V::U;

  static bool round(const float* y,
                    const float* mean,
                    const float* scale,
                    std::int32_t* symbols,
                    std::int64_t n) {
    const F limit = V::splat(8388608.0F);
    const F infinity = V::splat(__builtin_inff());
    auto ordinary = V::less(V::splat(0.0F), limit);
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F residual = V::load(y + i) - V::load(mean + i);
      ordinary = V::all(ordinary, V::less(V::abs(residual), limit));
      ordinary = V::all(ordinary, V::less(V::abs(V::load(scale + i)), infinity));
      V::store_integers(symbols + i, residual);
    }
    return V::every(ordinary);
  }

  static void find_rows(const RowTable& table,
                        const float* scale,
                        std::uint8_t* rows,
                        std::int64_t n) {
    const F zero = V::splat(0.0F);
    const U first = V::splat(table.first);
    const U last = V::splat(table.last);
    const U in_interval = V::splat((1U << table.shift) - 1U);
    const U place = V::splat(0xFFFFFFU);
    alignas(64) std::uint32_t entries[V::kLanes];
    for (std::int64_t i = 0; i < n; i += V::kLanes) {
      const F raw = V::load(scale + i);
      const U bits = V::bits(V::where(V::less(zero, raw), raw));  // NaN is not above zero
      const U above = V::min(V::sub(V::max(bits, first), first), last);
      V::store(entries, V::shift_right(above, table.shift));
      for (std::uint32_t& entry : entries) {  // quicker than the gather instruction
        entry = table.entries[entry];
      }
      const U found = V::load(entries);
      const U count = V::shift_right(found, 24);
      V::store_bytes(rows + i,
                     V::add_if_greater(count, V::both(above, in_interval), V::both(found, place)));
    }
  }

  static GaussianSymbolsBackend backend() { return {.round = &round, .find_rows = &find_rows}; }
};

GaussianSymbolsBackend gaussian_symbols_avx2();
GaussianSymbolsBackend gaussian_symbols_avx512();
GaussianSymbolsBackend gaussian_symbols_neon();

}  // namespace glc::entropy

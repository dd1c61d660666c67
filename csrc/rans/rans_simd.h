// SPDX-License-Identifier: Apache-2.0
//
// The coder's inner loops as a template over a Vec trait (vec_avx2.h, vec_avx512.h, vec_neon.h).
// A vector holds the states of Vec::kLanes neighbouring lanes, a step is one symbol of every lane.
// Several runs, each with its own states and words, go through one loop, so that one waits for its
// multiplication while another loads.
//
// Kernels move whole steps only, as long as the words last for all lanes; rans_cpu.cpp does the
// rest. The algebra is that of rans_state.h, written out because a file compiled for one
// instruction set must not use inline functions that other files share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/unrolled.h"
#include "rans/entries.h"
#include "rans/rans_backend.h"
#include "rans/rans_lookup.h"
#include "rans/sum_columns.h"

namespace glc::rans {

template <class Vec>
struct RansSimd {
  using U32 = typename Vec::U32;
  using Mask = typename Vec::Mask;

  // ---------------------------------------------------------------------------------- decoder

  /// Asks for the memory that the stores of n values will need soon: runs that write megabytes
  /// apart outdo the processor's own guesses (1.1 times on one thread, 1.4 times on two).
  template <int n, class Value>
  static void expect_stores(const Value* out) {
    constexpr int kAhead = 2048;
    constexpr int kCacheLine = 64;
    const char* const p = reinterpret_cast<const char*>(out) + kAhead;
    for (int at = 0; at < n * static_cast<int>(sizeof(Value)); at += kCacheLine) {
      __builtin_prefetch(p + at, 1);
    }
  }

  /// Whether one of the states lacks a word.
  template <int kVecs>
  static bool any_lacks(const U32 (&x)[kVecs]) {
    Mask lacking = Vec::none();
    unrolled<kVecs>([&](int v) {
      const U32 high = Vec::shift_right(x[v], Vec::splat(16));
      lacking = Vec::either(lacking, Vec::equal(high, Vec::splat(0)));
    });
    return Vec::bits(lacking) != 0;
  }

  /// Flat: a call in this loop costs more than the compilers' limits on growth save.
  template <int kVecs, int kRuns, class Lookup, class Row>
  [[gnu::flatten]] static void decode_steps(typename Lookup::Tables tables,
                                            DecodeRun<Row, typename Lookup::Value>* runs) {
    constexpr int kLanes = kVecs * Vec::kLanes;
    const Lookup lookup(tables);
    // Copies in registers: stores to out could change the runs, for all the compiler knows.
    U32 x[kRuns][kVecs];
    const std::uint8_t* words[kRuns];
    const std::uint8_t* last_words[kRuns];  // from here on, fewer than a step may need
    std::size_t n_steps = SIZE_MAX;
    for (int r = 0; r < kRuns; ++r) {
      for (int v = 0; v < kVecs; ++v) x[r][v] = Vec::load(runs[r].states + v * Vec::kLanes);
      if (runs[r].end - runs[r].next < 2 * kLanes) return;
      words[r] = runs[r].next;
      last_words[r] = runs[r].end - 2 * kLanes;
      n_steps = runs[r].n / kLanes < n_steps ? runs[r].n / kLanes : n_steps;
    }
    U32 lowest = Vec::splat(0);
    std::size_t i = 0;
    for (const std::size_t n = n_steps * kLanes; i < n; i += kLanes) {
      bool enough = true;
      for (int r = 0; r < kRuns; ++r) enough &= words[r] <= last_words[r];
      if (!enough) break;
      for (int r = 0; r < kRuns; ++r) {
        expect_stores<kLanes>(runs[r].out + i);
        lookup.template step<kVecs>(x[r], advanced(runs[r].rows, i), runs[r].out + i, lowest);
        if constexpr (Lookup::kSkewed) {  // most steps need no word
          if (!any_lacks(x[r])) continue;
        }
        unrolled<kVecs>([&](int v) { x[r][v] = Vec::refill(x[r][v], words[r]); });
      }
    }
    std::uint32_t lowest_of[Vec::kLanes];
    Vec::store(lowest_of, lowest);
    bool escapes = false;
    for (const std::uint32_t value : lowest_of) {
      escapes |= value == static_cast<std::uint32_t>(kEscapeValue);
    }
    for (int r = 0; r < kRuns; ++r) {
      for (int v = 0; v < kVecs; ++v) Vec::store(runs[r].states + v * Vec::kLanes, x[r][v]);
      runs[r].next = words[r];
      runs[r].rows = advanced(runs[r].rows, i);
      runs[r].out += i;
      runs[r].n -= i;
      runs[r].escapes |= escapes;
    }
  }

  // ---------------------------------------------------------------------------------- encoder

  template <int kVecs, int kRuns, class Index>
  static void encode_steps(const EncodeEntry* entries, int bits, EncodeRun<Index>* runs) {
    constexpr int kLanes = kVecs * Vec::kLanes;
    const U32 renorm_shift = Vec::splat(static_cast<std::uint32_t>(32 - bits));
    const U32 total_shift = Vec::splat(static_cast<std::uint32_t>(bits));
    const U32 total = Vec::splat(1U << bits);
    const U32 low_half = Vec::splat(0xFFFF);
    U32 x[kRuns][kVecs];
    std::uint8_t* words[kRuns];
    std::size_t n_steps = SIZE_MAX;
    for (int r = 0; r < kRuns; ++r) {
      for (int v = 0; v < kVecs; ++v) x[r][v] = Vec::load(runs[r].states + v * Vec::kLanes);
      words[r] = runs[r].words;
      n_steps = runs[r].n / kLanes < n_steps ? runs[r].n / kLanes : n_steps;
    }
    for (std::size_t done = kLanes; done <= n_steps * kLanes; done += kLanes) {
      for (int r = 0; r < kRuns; ++r) {
        const Index* indices = runs[r].indices + (runs[r].n - done);
        unrolled<kVecs>([&](int before) {
          const int v = kVecs - 1 - before;
          U32 reciprocal;
          U32 entry;
          Vec::lookup(entries, indices + v * Vec::kLanes, reciprocal, entry);
          const U32 freq_minus_1 = Vec::both(entry, low_half);
          const U32 start = Vec::shift_right(entry, Vec::splat(16));
          U32 state = x[r][v];
          state = Vec::spill(
              state, Vec::greater(Vec::shift_right(state, renorm_shift), freq_minus_1), words[r]);
          // divide(), rans_state.h: the estimate is the quotient or one below it
          const U32 quotient = Vec::mul_high(state, reciprocal);
          const U32 remainder =
              Vec::sub(state, Vec::add(Vec::mul(quotient, freq_minus_1), quotient));
          const U32 fix = Vec::where(Vec::greater(remainder, freq_minus_1),
                                     Vec::sub(Vec::sub(total, freq_minus_1), Vec::splat(1)));
          x[r][v] = Vec::add(Vec::add(Vec::shift_left(quotient, total_shift), remainder),
                             Vec::add(start, fix));
        });
      }
    }
    for (int r = 0; r < kRuns; ++r) {
      for (int v = 0; v < kVecs; ++v) Vec::store(runs[r].states + v * Vec::kLanes, x[r][v]);
      runs[r].words = words[r];
      runs[r].n -= n_steps * kLanes;
    }
  }

  // ------------------------------------------------------------------------ symbols to bins

  template <class Row>
  static FoundBins find_bins(BinTables tables,
                             const std::int32_t* symbols,
                             const Row* rows,
                             std::size_t n,
                             std::uint32_t* bins) {
    // Costs are at most 2^20, or all ones: this many fit a 32-bit sum.
    constexpr std::size_t kBlock = std::size_t{Vec::kLanes} << 11;
    const auto* halves = reinterpret_cast<const std::uint64_t*>(tables.rows);
    FoundBins found{
        .n = n - n % Vec::kLanes, .cost = 0, .sum = 0, .escapes = false, .no_cost = false};
    constexpr std::uint32_t kSumStep = sum_power(Vec::kLanes);
    U32 symbol_sums = Vec::splat(0);
    Mask escapes = Vec::none();
    Mask no_cost = Vec::none();
    for (std::size_t begin = 0; begin < found.n; begin += kBlock) {
      const std::size_t end = found.n - begin < kBlock ? found.n : begin + kBlock;
      U32 sum = Vec::splat(0);
      for (std::size_t i = begin; i < end; i += Vec::kLanes) {
        const U32 row = row_of<Vec>(rows, i);
        const U32 half = Vec::add(row, row);
        U32 base;
        U32 n_direct;
        U32 offset;
        U32 unused;
        Vec::lookup(halves, half, base, n_direct);
        Vec::lookup(halves + 1, half, offset, unused);
        // Below the row the difference wraps to a large number; either side ends at the escape.
        const U32 symbol = Vec::load(symbols + i);
        symbol_sums = Vec::add(Vec::mul(symbol_sums, Vec::splat(kSumStep)), symbol);
        const U32 place = Vec::min_unsigned(Vec::sub(symbol, offset), n_direct);
        escapes = Vec::either(escapes, Vec::equal(place, n_direct));
        const U32 bin = Vec::add(base, place);
        Vec::store(bins + i, bin);
        const U32 cost = Vec::lookup(tables.costs, bin);
        no_cost = Vec::either(no_cost, Vec::equal(cost, Vec::splat(kNoCost)));
        sum = Vec::add(sum, cost);
      }
      std::uint32_t sums[Vec::kLanes];
      Vec::store(sums, sum);
      for (const std::uint32_t part : sums) found.cost += part;
    }
    std::uint32_t sums[Vec::kLanes];
    Vec::store(sums, symbol_sums);
    for (const std::uint32_t part : sums) found.sum = found.sum * kSumFactor + part;
    found.escapes = Vec::bits(escapes) != 0;
    found.no_cost = Vec::bits(no_cost) != 0;
    return found;
  }

  static std::size_t skip_others(const std::uint8_t* data, std::size_t n, const ByteSet* set) {
    std::size_t i = 0;
    while (n - i >= kMemberBlock && !Vec::any_member(data + i, *set)) i += kMemberBlock;
    return i;
  }

  // --------------------------------------------------------------------------------- back end

  /// Calls f with the vectors of a step and the runs in flight as compile-time constants: as many
  /// runs at once as there should be, then fewer, then one by one.
  template <class Run, class F>
  static void with_shape(int lanes, Run* runs, int n_runs, F f) {
    const auto of = [&]<int kLanes> {
      if constexpr (kLanes >= Vec::kLanes) {
        constexpr int kVecs = kLanes / Vec::kLanes;
        constexpr int kRuns = runs_at_once(kLanes);
        constexpr int kFew = few_runs_at_once(kLanes);
        int r = 0;
        for (; n_runs - r >= kRuns; r += kRuns) f.template operator()<kVecs, kRuns>(runs + r);
        for (; n_runs - r >= kFew; r += kFew) f.template operator()<kVecs, kFew>(runs + r);
        for (; r < n_runs; ++r) f.template operator()<kVecs, 1>(runs + r);
      }
    };
    if (lanes == 32) of.template operator()<32>();
    if (lanes == 16) of.template operator()<16>();
    if (lanes == 8) of.template operator()<8>();
  }

  template <class Lookup, class Row>
  static void decode(typename Lookup::Tables tables,
                     int lanes,
                     DecodeRun<Row, typename Lookup::Value>* runs,
                     int n_runs) {
    with_shape(lanes, runs, n_runs, [&]<int kVecs, int kRuns>(auto* some) {
      decode_steps<kVecs, kRuns, Lookup>(tables, some);
    });
  }

  template <class Index>
  static void encode(
      const EncodeEntry* entries, int bits, int lanes, EncodeRun<Index>* runs, int n_runs) {
    with_shape(lanes, runs, n_runs, [&]<int kVecs, int kRuns>(auto* some) {
      encode_steps<kVecs, kRuns>(entries, bits, some);
    });
  }

  static constexpr RansBackend backend() {
    return {.decode_u8 = &decode<TableLookup<Vec, std::uint8_t, false>, std::uint8_t>,
            .decode_u16 = &decode<TableLookup<Vec, std::uint16_t, false>, std::uint16_t>,
            .decode_i32 = &decode<TableLookup<Vec, std::int32_t, false>, std::int32_t>,
            .decode_one_row = &decode<TableLookup<Vec, OneRow, false>, OneRow>,
            .pairs_u8 = &decode<TableLookup<Vec, std::uint8_t, true>, std::uint8_t>,
            .pairs_u16 = &decode<TableLookup<Vec, std::uint16_t, true>, std::uint16_t>,
            .pairs_i32 = &decode<TableLookup<Vec, std::int32_t, true>, std::int32_t>,
            .pairs_one_row = &decode<TableLookup<Vec, OneRow, true>, OneRow>,
            .skewed_u8 = &decode<SkewedLookup<Vec, std::uint8_t>, std::uint8_t>,
            .skewed_u16 = &decode<SkewedLookup<Vec, std::uint16_t>, std::uint16_t>,
            .skewed_i32 = &decode<SkewedLookup<Vec, std::int32_t>, std::int32_t>,
            .skewed_one_row = &decode<SkewedLookup<Vec, OneRow>, OneRow>,
            .decode_bytes = &decode<ByteLookup<Vec>, OneRow>,
            .encode_u16 = &encode<std::uint16_t>,
            .encode_u32 = &encode<std::uint32_t>,
            .encode_bytes = &encode<std::uint8_t>,
            .find_u8 = &find_bins<std::uint8_t>,
            .find_u16 = &find_bins<std::uint16_t>,
            .find_i32 = &find_bins<std::int32_t>,
            .find_one_row = &find_bins<OneRow>,
            .skip_others = &skip_others,
            .sum_columns = &rans::sum_columns<4 * Vec::kLanes>,
            .sum_symbols = &rans::sum_symbols<4 * Vec::kLanes>};
  }
};

}  // namespace glc::rans

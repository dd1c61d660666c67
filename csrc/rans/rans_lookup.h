// SPDX-License-Identifier: Apache-2.0
//
// How the decoder's inner loop (rans_simd.h) finds the symbols of a step: templates over its Vec
// trait. step() writes the symbols of one step of one run and leaves in x the states before
// renormalisation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/unrolled.h"
#include "rans/entries.h"

namespace glc::rans {
namespace {  // a copy for each instruction set: see cmake/GlcSimd.cmake

/// The rows from the i-th symbol on.
[[maybe_unused]] const OneRow* advanced(const OneRow* rows, std::size_t) { return rows; }
template <class Row>
const Row* advanced(const Row* rows, std::size_t i) {
  return rows + i;
}

template <class Vec>
typename Vec::U32 row_of(const OneRow* rows, std::size_t) {
  return Vec::splat(rows->row);
}
template <class Vec, class Row>
typename Vec::U32 row_of(const Row* rows, std::size_t i) {
  return Vec::rows(rows + i);
}

[[maybe_unused]] std::uint32_t row_number(const OneRow* rows, int) { return rows->row; }
template <class Row>
std::uint32_t row_number(const Row* rows, int i) {
  return static_cast<std::uint32_t>(rows[i]);
}

}  // namespace

/// Symbols of table rows: the bucket of a slot names the first bin in it, mostly the right one.
/// With kPairs it names the next bin too: more work, but less to guess wrongly where bins are
/// narrow.
template <class Vec, class Row, bool kPairs>
class TableLookup {
  using U32 = typename Vec::U32;

 public:
  using Value = std::int32_t;
  using Tables = DecodeTables;
  static constexpr bool kSkewed = false;

  explicit TableLookup(const DecodeTables& tables)
      : tables_(tables),
        slot_mask_(Vec::splat((1U << tables.bits) - 1U)),
        bits_(Vec::splat(static_cast<std::uint32_t>(tables.bits))),
        bucket_shift_(Vec::splat(static_cast<std::uint32_t>(tables.bits - bucket_bits(tables)))),
        row_shift_(Vec::splat(static_cast<std::uint32_t>(bucket_bits(tables)))),
        low_half_(Vec::splat(0xFFFF)) {}

  template <int kVecs>
  void step(U32 (&x)[kVecs], const Row* rows, std::int32_t* out, U32& lowest) const {
    unrolled<kVecs>([&](int v) {
      const U32 slot = Vec::both(x[v], slot_mask_);
      const U32 row = row_of<Vec>(rows, static_cast<std::size_t>(v) * Vec::kLanes);
      const U32 bucket =
          Vec::add(Vec::shift_left(row, row_shift_), Vec::shift_right(slot, bucket_shift_));
      U32 entry;
      U32 value;
      if constexpr (kPairs) {
        U32 next;
        U32 next_value;
        Vec::lookup(tables_.pairs, bucket, entry, value, next, next_value);
        const U32 within_first = Vec::sub(slot, Vec::both(entry, low_half_));
        const auto second = Vec::greater(within_first, upper_half(entry));
        entry = Vec::select(second, next, entry);
        value = Vec::select(second, next_value, value);
      } else {
        Vec::lookup(tables_.buckets, bucket, entry, value);
      }
      U32 freq_minus_1 = upper_half(entry);
      U32 within = Vec::sub(slot, Vec::both(entry, low_half_));
      const std::uint32_t beyond = Vec::bits(Vec::greater(within, freq_minus_1));
      if (beyond != 0) [[unlikely]] {
        walk(tables_, beyond, row, slot, entry, value);
        freq_minus_1 = upper_half(entry);
        within = Vec::sub(slot, Vec::both(entry, low_half_));
      }
      Vec::store(out + v * Vec::kLanes, value);
      lowest = Vec::min_signed(lowest, value);
      const U32 quotient = Vec::shift_right(x[v], bits_);
      x[v] = Vec::add(Vec::add(Vec::mul(freq_minus_1, quotient), quotient), within);
    });
  }

 protected:
  static int bucket_bits(const DecodeTables& tables) {
    return kPairs ? tables.pair_bits : tables.coarse_bits;
  }
  static U32 upper_half(U32 v) { return Vec::shift_right(v, Vec::splat(16)); }
  /// Lanes whose slot lies beyond what their bucket names find their bins one by one.
  [[gnu::noinline, gnu::cold]] static void walk(
      const DecodeTables& tables, std::uint32_t lanes, U32 row, U32 slot, U32& entry, U32& value) {
    std::uint32_t rows[Vec::kLanes];
    std::uint32_t slots[Vec::kLanes];
    std::uint32_t entries[Vec::kLanes];
    std::uint32_t values[Vec::kLanes];
    Vec::store(rows, row);
    Vec::store(slots, slot);
    Vec::store(entries, entry);
    Vec::store(values, value);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      const std::size_t bucket = (std::size_t{rows[lane]} << tables.coarse_bits) +
                                 (slots[lane] >> (tables.bits - tables.coarse_bits));
      const DecodeEntry* bin = tables.entries + tables.bases[rows[lane]] + tables.coarse[bucket];
      while (slots[lane] - bin->start > bin->freq_minus_1) ++bin;
      entries[lane] = bin->start | static_cast<std::uint32_t>(bin->freq_minus_1) << 16;
      values[lane] = static_cast<std::uint32_t>(bin->value);
    }
    entry = Vec::load(entries);
    value = Vec::load(values);
  }

  DecodeTables tables_;
  U32 slot_mask_;
  U32 bits_;
  U32 bucket_shift_;
  U32 row_shift_;
  U32 low_half_;
};

/// The same where nearly every symbol is the likeliest of its row: so taken until its slot says
/// otherwise, no state waits for a table.
template <class Vec, class Row>
class SkewedLookup : TableLookup<Vec, Row, false> {
  using U32 = typename Vec::U32;
  using Base = TableLookup<Vec, Row, false>;

 public:
  using typename Base::Tables;
  using typename Base::Value;
  static constexpr bool kSkewed = true;

  explicit SkewedLookup(const DecodeTables& tables) : Base(tables) {}

  template <int kVecs>
  void step(U32 (&x)[kVecs], const Row* rows, std::int32_t* out, U32& lowest) const {
    unrolled<kVecs>([&](int v) {
      const std::size_t first = static_cast<std::size_t>(v) * Vec::kLanes;
      U32 entry;
      U32 value;
      entries_of(rows, first, entry, value);
      const U32 slot = Vec::both(x[v], this->slot_mask_);
      const U32 start = Vec::both(entry, this->low_half_);
      const U32 freq_minus_1 = Base::upper_half(entry);
      const U32 within = Vec::sub(slot, start);
      const auto outside =
          Vec::either(Vec::greater(start, slot), Vec::greater(within, freq_minus_1));
      Vec::store(out + first, value);
      const U32 before = x[v];
      const U32 quotient = Vec::shift_right(before, this->bits_);
      x[v] = Vec::add(Vec::add(Vec::mul(freq_minus_1, quotient), quotient), within);
      if (const std::uint32_t others = Vec::bits(outside); others != 0) [[unlikely]] {
        look_up(others, before, advanced(rows, first), out + first, x[v], lowest);
      }
    });
  }

 private:
  void entries_of(const OneRow* rows, std::size_t, U32& entry, U32& value) const {
    Vec::lookup(this->tables_.likeliest, Vec::splat(rows->row), entry, value);
  }
  template <class R>
  void entries_of(const R* rows, std::size_t first, U32& entry, U32& value) const {
    Vec::lookup(this->tables_.likeliest, rows + first, entry, value);
  }
  /// Lanes of another symbol than the likeliest find theirs one by one from there on, and mostly it
  /// is the next; x and out have what the likeliest would have led to.
  [[gnu::always_inline]] void look_up(std::uint32_t lanes,
                                      U32 before,
                                      const Row* rows,
                                      std::int32_t* out,
                                      U32& x,
                                      U32& lowest) const {
    std::uint32_t states[Vec::kLanes];
    Vec::store(states, before);
    do {
      const int lane = __builtin_ctz(lanes);
      const std::uint32_t slot = states[lane] & ((1U << this->tables_.bits) - 1U);
      const DecodeEntry* bin =
          this->tables_.entries + this->tables_.rows[row_number(rows, lane)].likeliest;
      const std::ptrdiff_t way = slot < bin->start ? -1 : 1;
      do {
        bin += way;
      } while (slot - bin->start > bin->freq_minus_1);
      const auto value = static_cast<std::uint32_t>(bin->value);
      const std::uint32_t freq = bin->freq_minus_1 + 1U;
      out[lane] = bin->value;
      lowest = Vec::min_signed(lowest, Vec::splat(value));
      x = Vec::with_lane(x, lane, freq * (states[lane] >> this->tables_.bits) + slot - bin->start);
    } while ((lanes &= lanes - 1) != 0);
  }
};

/// Bytes of one alphabet, an entry per slot (entries.h).
template <class Vec>
class ByteLookup {
  using U32 = typename Vec::U32;

 public:
  using Value = std::uint8_t;
  using Tables = const std::uint32_t*;
  static constexpr bool kSkewed = false;

  explicit ByteLookup(const std::uint32_t* slots)
      : slots_(slots), slot_mask_(Vec::splat((1U << kByteBits) - 1U)) {}

  template <int kVecs>
  void step(U32 (&x)[kVecs], const OneRow*, std::uint8_t* out, U32&) const {
    U32 value[kVecs];
    unrolled<kVecs>([&](int v) {
      const U32 entry = Vec::lookup(slots_, Vec::both(x[v], slot_mask_));
      const U32 quotient = Vec::shift_right(x[v], Vec::splat(kByteBits));
      const U32 freq_minus_1 = Vec::both(entry, slot_mask_);
      const U32 within = Vec::both(Vec::shift_right(entry, Vec::splat(kByteBits)), slot_mask_);
      value[v] = Vec::shift_right(entry, Vec::splat(24));
      x[v] = Vec::add(Vec::add(Vec::mul(freq_minus_1, quotient), quotient), within);
    });
    Vec::store_bytes(out, value);
  }

 private:
  const std::uint32_t* slots_;
  U32 slot_mask_;
};

}  // namespace glc::rans

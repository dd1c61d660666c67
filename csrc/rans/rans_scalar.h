// SPDX-License-Identifier: Apache-2.0
//
// The coder's inner loops in plain C++: for few lanes, and for what the vectors of rans_simd.h
// leave.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/little_endian.h"
#include "core/unrolled.h"
#include "rans/entries.h"
#include "rans/rans_backend.h"
#include "rans/rans_state.h"
#include "rans/rows_visit.h"

namespace glc::rans {

// A block of steps shares one check of the words left; at least this many symbols.
inline constexpr int kBlockSymbols = 8;

/// Calls f with the lane count as a compile-time constant.
template <class F>
auto with_lanes(int lanes, F&& f) {
  switch (lanes) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 4:
      return f.template operator()<4>();
    case 8:
      return f.template operator()<8>();
    case 16:
      return f.template operator()<16>();
    default:
      return f.template operator()<32>();
  }
}

/// How renormalisation chooses. Bytes of a few bits each renormalise at random, and a branch would
/// be mispredicted every few symbols; symbols of learned codecs mostly cost well below a bit, and a
/// branch that is rarely taken is the shorter path from state to state.
enum class Renorm { kBranch, kSelect };

/// condition ? a : b without a branch, which compilers make of ?: here.
inline std::uint32_t select(bool condition, std::uint32_t a, std::uint32_t b) {
  return b ^ ((a ^ b) & (0U - static_cast<std::uint32_t>(condition)));
}

// ------------------------------------------------------------------------------------ encoder

// What a state goes through from symbol to symbol is in line by decree: compilers that have spent
// their limits on growth pass it through memory instead, which takes half of the time again.
template <Renorm kRenorm>
[[gnu::always_inline]] inline void encode_one(std::uint32_t& state,
                                              EncodeEntry entry,
                                              int bits,
                                              std::uint8_t*& words) {
  std::uint32_t x = state;
  const bool renorm = encode_needs_renorm(x, entry.freq_minus_1, bits);
  if constexpr (kRenorm == Renorm::kBranch) {
    if (renorm) {
      words -= 2;
      store_u16(words, x);
      x >>= kWordBits;
    }
  } else {
    store_u16(words - 2, x);  // store always, keep sometimes
    words -= 2 * static_cast<std::ptrdiff_t>(renorm);
    x = select(renorm, x >> kWordBits, x);
  }
  state = encode_advance(x, entry, bits);
}

template <class Index>
inline constexpr Renorm kEncodeRenorm =
    std::is_same_v<Index, std::uint8_t> ? Renorm::kSelect : Renorm::kBranch;

/// The partial last step.
template <class Index>
void encode_last(const EncodeEntry* entries, int bits, int lanes, EncodeRun<Index>& run) {
  while (run.n % static_cast<unsigned>(lanes) != 0) {
    --run.n;
    std::uint32_t& state = run.states[run.n % static_cast<unsigned>(lanes)];
    encode_one<kEncodeRenorm<Index>>(state, entries[run.indices[run.n]], bits, run.words);
  }
}

template <int kLanes, class Index>
void encode_steps(const EncodeEntry* entries, int bits, EncodeRun<Index>& run) {
  std::uint32_t x[std::size_t{kLanes}];
  std::copy_n(run.states, kLanes, x);
  std::uint8_t* words = run.words;
  for (std::size_t i = run.n; i != 0;) {
    i -= kLanes;
    for (int lane = kLanes; lane-- > 0;) {
      const Index index = run.indices[i + static_cast<std::size_t>(lane)];
      encode_one<kEncodeRenorm<Index>>(x[lane], entries[index], bits, words);
    }
  }
  std::copy_n(x, kLanes, run.states);
  run.words = words;
  run.n = 0;
}

// ------------------------------------------------------------------------------------ decoder

/// Finds the symbol of a slot through its bucket and a short forward walk.
template <class Row>
struct TableLookup {
  static constexpr Renorm kRenorm = Renorm::kBranch;
  static constexpr bool kTellsEscapes = false;

  [[gnu::always_inline]] std::uint32_t operator()(std::uint32_t x,
                                                  std::size_t i,
                                                  std::int32_t& value) const {
    const std::uint32_t row = row_at(rows, i);
    const std::uint32_t slot = slot_of(x, tables.bits);
    const std::size_t bucket = (static_cast<std::size_t>(row) << tables.coarse_bits) +
                               (slot >> (tables.bits - tables.coarse_bits));
    const DecodeEntry* entry = tables.buckets + bucket;
    if (slot - entry->start > entry->freq_minus_1) [[unlikely]] {
      entry = tables.entries + tables.bases[row] + tables.coarse[bucket];
      do {
        ++entry;
      } while (slot - entry->start > entry->freq_minus_1);
    }
    value = entry->value;
    return decode_advance(x, slot, entry->start, entry->freq_minus_1, tables.bits);
  }
  DecodeTables tables;
  const Row* rows;
};

/// The same where nearly every symbol is the likeliest of its row: so taken until its slot says
/// otherwise, no state waits for a table.
template <class Row>
struct SkewedLookup {
  static constexpr Renorm kRenorm = Renorm::kBranch;
  static constexpr bool kTellsEscapes = true;

  [[gnu::always_inline]] std::uint32_t operator()(std::uint32_t x,
                                                  std::size_t i,
                                                  std::int32_t& value) const {
    const DecodeEntry& likeliest = other.tables.likeliest[row_at(other.rows, i)];
    const std::uint32_t slot = slot_of(x, other.tables.bits);
    if (slot - likeliest.start > likeliest.freq_minus_1) [[unlikely]] {
      const std::uint32_t next = other(x, i, value);
      *escapes |= value == kEscapeValue;
      return next;
    }
    value = likeliest.value;
    return decode_advance(x, slot, likeliest.start, likeliest.freq_minus_1, other.tables.bits);
  }

  TableLookup<Row> other;
  bool* escapes;
};

template <Renorm kChoice>
struct ByteLookup {
  static constexpr Renorm kRenorm = kChoice;
  static constexpr bool kTellsEscapes = false;

  [[gnu::always_inline]] std::uint32_t operator()(std::uint32_t x,
                                                  std::size_t,
                                                  std::uint8_t& value) const {
    const std::uint32_t entry = slots[slot_of(x, kByteBits)];
    value = static_cast<std::uint8_t>(entry >> 24);
    return ((entry & 0xFFFU) + 1U) * (x >> kByteBits) + (entry >> 12 & 0xFFFU);
  }

  const std::uint32_t* slots;
};

template <int kLanes, class Lookup, class Row, class Value>
void decode_rest(Lookup lookup, DecodeRun<Row, Value>& run) {
  constexpr int kSteps = std::max(1, kBlockSymbols / kLanes);
  constexpr std::size_t kBlock = static_cast<std::size_t>(kSteps) * kLanes;
  const std::size_t n = run.n;
  Value* const out = run.out;
  std::uint32_t x[std::size_t{kLanes}];
  std::copy_n(run.states, kLanes, x);
  const std::uint8_t* words = run.next;
  std::size_t i = 0;
  while (n - i >= kBlock && static_cast<std::size_t>(run.end - words) >= 2 * kBlock) {
    for (int step = 0; step < kSteps; ++step, i += kLanes) {
      const auto decode_one = [&](int lane) __attribute__((always_inline)) {
        const std::size_t at = i + static_cast<std::size_t>(lane);
        std::uint32_t state = lookup(x[lane], at, out[at]);
        const bool renorm = state < kStateLow;
        if constexpr (Lookup::kRenorm == Renorm::kBranch) {
          if (renorm) {
            state = state << kWordBits | load_u16(words);
            words += 2;
          }
        } else {
          state = select(renorm, state << kWordBits | load_u16(words), state);
          words += 2 * static_cast<std::ptrdiff_t>(renorm);
        }
        x[lane] = state;
      };
      if constexpr (kLanes <= 4) {  // as many states as fit registers beside all else
        unrolled<kLanes>(decode_one);
      } else {
        for (int lane = 0; lane < kLanes; ++lane) decode_one(lane);
      }
    }
  }
  std::copy_n(x, kLanes, run.states);
  for (; i < n; ++i) {
    std::uint32_t& state = run.states[i % kLanes];
    if (state < kStateLow) break;  // lacks a word since its last symbol
    state = lookup(state, i, out[i]);
    if (state < kStateLow && run.end - words >= 2) {
      state = state << kWordBits | load_u16(words);
      words += 2;
    }
  }
  if constexpr (!Lookup::kTellsEscapes) run.escapes = true;  // perhaps
  run.next = words;
  run.out += i;
  if constexpr (!kIsOneRow<Row>) run.rows += i;
  run.n -= i;
}

}  // namespace glc::rans

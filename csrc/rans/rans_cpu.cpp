// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

// A block of steps shares one check of the words left; at least this many symbols.
constexpr int kBlockSymbols = 8;

std::uint32_t load_word(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8;
}

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
std::uint32_t select(bool condition, std::uint32_t a, std::uint32_t b) {
  return b ^ ((a ^ b) & (0U - static_cast<std::uint32_t>(condition)));
}

// ------------------------------------------------------------------------------------ encoder

template <Renorm kRenorm>
void encode_one(std::uint32_t& state, EncodeEntry entry, int bits, std::uint16_t*& words) {
  std::uint32_t x = state;
  const bool renorm = encode_needs_renorm(x, entry.freq_minus_1, bits);
  if constexpr (kRenorm == Renorm::kBranch) {
    if (renorm) {
      *--words = static_cast<std::uint16_t>(x);
      x >>= kWordBits;
    }
  } else {
    words[-1] = static_cast<std::uint16_t>(x);  // store always, keep sometimes
    words -= static_cast<std::ptrdiff_t>(renorm);
    x = select(renorm, x >> kWordBits, x);
  }
  state = encode_advance(x, entry, bits);
}

template <int kLanes, Renorm kRenorm, class EntryAt>
std::uint16_t* encode_lanes(
    EntryAt entry_at, std::size_t n, int bits, std::uint32_t* states, std::uint16_t* words) {
  std::size_t i = n;
  while (i % kLanes != 0) {  // the partial last step
    --i;
    encode_one<kRenorm>(states[i % kLanes], entry_at(i), bits, words);
  }
  std::uint32_t x[kLanes];
  std::copy_n(states, kLanes, x);
  while (i != 0) {
    i -= kLanes;
    for (int lane = kLanes; lane-- > 0;) {
      encode_one<kRenorm>(x[lane], entry_at(i + static_cast<std::size_t>(lane)), bits, words);
    }
  }
  std::copy_n(x, kLanes, states);
  return words;
}

// ------------------------------------------------------------------------------------ decoder

/// Finds the symbol of a slot through the coarse index and a short forward walk.
template <class RowAt>
struct TableLookup {
  using Value = std::int32_t;
  static constexpr Renorm kRenorm = Renorm::kBranch;

  TableLookup(const TableData& tables, RowAt rows)
      : entries(tables.decode.data()),
        bases(tables.decode_base.data()),
        coarse(tables.coarse.data()),
        bits(tables.bits),
        coarse_bits(tables.coarse_bits),
        row_at(rows) {}

  std::uint32_t operator()(std::uint32_t x, std::size_t i, Value& value) const {
    const std::uint32_t row = row_at(i);
    const std::uint32_t slot = slot_of(x, bits);
    const std::size_t bucket =
        (static_cast<std::size_t>(row) << coarse_bits) + (slot >> (bits - coarse_bits));
    const DecodeEntry* entry = entries + bases[row] + coarse[bucket];
    while (slot - entry->start > entry->freq_minus_1) ++entry;
    value = entry->value;
    return decode_advance(x, slot, entry->start, entry->freq_minus_1, bits);
  }

  const DecodeEntry* entries;
  const std::uint32_t* bases;
  const std::uint16_t* coarse;
  int bits;
  int coarse_bits;
  RowAt row_at;
};

struct ByteLookup {
  using Value = std::uint8_t;
  static constexpr Renorm kRenorm = Renorm::kSelect;

  std::uint32_t operator()(std::uint32_t x, std::size_t, Value& value) const {
    const std::uint32_t entry = slots[slot_of(x, kByteBits)];
    value = static_cast<std::uint8_t>(entry >> 24);
    return ((entry & 0xFFFU) + 1U) * (x >> kByteBits) + (entry >> 12 & 0xFFFU);
  }

  const std::uint32_t* slots;
};

template <int kLanes, class Lookup>
std::size_t decode_lanes(Lookup lookup,
                         std::size_t n,
                         std::uint32_t* states,
                         WordSource& source,
                         typename Lookup::Value* out) {
  constexpr int kSteps = std::max(1, kBlockSymbols / kLanes);
  constexpr std::size_t kBlock = static_cast<std::size_t>(kSteps) * kLanes;
  std::uint32_t x[kLanes];
  std::copy_n(states, kLanes, x);
  const std::uint8_t* words = source.next;
  std::size_t i = 0;
  while (n - i >= kBlock && static_cast<std::size_t>(source.end - words) >= 2 * kBlock) {
    for (int step = 0; step < kSteps; ++step) {
      for (int lane = 0; lane < kLanes; ++lane, ++i) {
        std::uint32_t state = lookup(x[lane], i, out[i]);
        const bool renorm = state < kStateLow;
        if constexpr (Lookup::kRenorm == Renorm::kBranch) {
          if (renorm) {
            state = state << kWordBits | load_word(words);
            words += 2;
          }
        } else {
          state = select(renorm, state << kWordBits | load_word(words), state);
          words += 2 * static_cast<std::ptrdiff_t>(renorm);
        }
        x[lane] = state;
      }
    }
  }
  std::copy_n(x, kLanes, states);
  source.next = words;
  for (; i < n; ++i) {
    std::uint32_t& state = states[i % kLanes];
    if (state < kStateLow) break;  // lacks a word since its last symbol
    state = lookup(state, i, out[i]);
    if (state < kStateLow && source.n_words() != 0) {
      state = state << kWordBits | load_word(source.next);
      source.next += 2;
    }
  }
  return i;
}

}  // namespace

std::uint16_t* encode_run(const EncodeEntry* entries,
                          std::size_t n,
                          int bits,
                          int lanes,
                          std::uint32_t* states,
                          std::uint16_t* words_end) {
  return with_lanes(lanes, [&]<int kLanes>() {
    return encode_lanes<kLanes, Renorm::kBranch>(
        [entries](std::size_t i) { return entries[i]; }, n, bits, states, words_end);
  });
}

std::uint16_t* encode_run_bytes(const EncodeEntry* entries,
                                const std::uint8_t* data,
                                std::size_t n,
                                int bits,
                                int lanes,
                                std::uint32_t* states,
                                std::uint16_t* words_end) {
  return with_lanes(lanes, [&]<int kLanes>() {
    return encode_lanes<kLanes, Renorm::kSelect>(
        [=](std::size_t i) { return entries[data[i]]; }, n, bits, states, words_end);
  });
}

std::size_t decode_run(const TableData& tables,
                       const Rows& rows,
                       std::size_t n,
                       int lanes,
                       std::uint32_t* states,
                       WordSource& words,
                       std::int32_t* out) {
  return visit_rows(rows, [&](auto row_at) {
    return with_lanes(lanes, [&]<int kLanes>() {
      return decode_lanes<kLanes>(TableLookup(tables, row_at), n, states, words, out);
    });
  });
}

std::size_t decode_run_bytes(const std::uint32_t* slots,
                             std::size_t n,
                             int lanes,
                             std::uint32_t* states,
                             WordSource& words,
                             std::uint8_t* out) {
  return with_lanes(lanes, [&]<int kLanes>() {
    return decode_lanes<kLanes>(ByteLookup{slots}, n, states, words, out);
  });
}

}  // namespace glc::rans

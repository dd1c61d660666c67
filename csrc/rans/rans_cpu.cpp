// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/cpu_features.h"
#include "core/unrolled.h"
#include "rans/rans_backend.h"
#include "rans/rans_kernels.h"
#include "rans/rans_state.h"
#include "rans/rows_visit.h"
#include "rans/stream_check.h"
#include "rans/sum_columns.h"

namespace glc::rans {
namespace {

// A block of steps shares one check of the words left; at least this many symbols.
constexpr int kBlockSymbols = 8;

std::uint32_t load_word(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8;
}

void store_word(std::uint8_t* p, std::uint32_t x) {
  p[0] = static_cast<std::uint8_t>(x);
  p[1] = static_cast<std::uint8_t>(x >> 8);
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
void encode_one(std::uint32_t& state, EncodeEntry entry, int bits, std::uint8_t*& words) {
  std::uint32_t x = state;
  const bool renorm = encode_needs_renorm(x, entry.freq_minus_1, bits);
  if constexpr (kRenorm == Renorm::kBranch) {
    if (renorm) {
      words -= 2;
      store_word(words, x);
      x >>= kWordBits;
    }
  } else {
    store_word(words - 2, x);  // store always, keep sometimes
    words -= 2 * static_cast<std::ptrdiff_t>(renorm);
    x = select(renorm, x >> kWordBits, x);
  }
  state = encode_advance(x, entry, bits);
}

template <class Index>
constexpr Renorm kEncodeRenorm =
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
  std::uint32_t x[kLanes];
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

  std::uint32_t operator()(std::uint32_t x, std::size_t i, std::int32_t& value) const {
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

struct ByteLookup {
  static constexpr Renorm kRenorm = Renorm::kSelect;

  std::uint32_t operator()(std::uint32_t x, std::size_t, std::uint8_t& value) const {
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
  std::uint32_t x[kLanes];
  std::copy_n(run.states, kLanes, x);
  const std::uint8_t* words = run.next;
  std::size_t i = 0;
  while (n - i >= kBlock && static_cast<std::size_t>(run.end - words) >= 2 * kBlock) {
    for (int step = 0; step < kSteps; ++step, i += kLanes) {
      const auto decode_one = [&](int lane) {
        const std::size_t at = i + static_cast<std::size_t>(lane);
        std::uint32_t state = lookup(x[lane], at, out[at]);
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
      state = state << kWordBits | load_word(words);
      words += 2;
    }
  }
  run.escapes = true;  // perhaps
  run.next = words;
  run.out += i;
  if constexpr (!kIsOneRow<Row>) run.rows += i;
  run.n -= i;
}

// ----------------------------------------------------------------------------------- dispatch

// Decoding with a single vector in flight waits for itself: scalar code is then faster.
constexpr int kMinEncodeLanes = 8;
constexpr int kMinDecodeLanes = 16;

/// The kernels in force that take this many lanes, or none.
const RansBackend* backend(int lanes) {
#if defined(GLC_X86_SIMD)
  static const RansBackend avx2 = rans_backend_avx2();
  static const RansBackend avx512 = rans_backend_avx512();
  const Simd simd = simd_in_force();
  if (simd == Simd::kAvx512 && lanes >= 16) return &avx512;
  if (simd >= Simd::kAvx2 && lanes >= 8) return &avx2;
#elif defined(__aarch64__)
  static const RansBackend neon = rans_backend_neon();
  if (simd_in_force() == Simd::kNeon && lanes >= 8) return &neon;
#endif
  return nullptr;
}

template <class Index>
void encode(const EncodeEntry* entries,
            int bits,
            int lanes,
            std::span<EncodeRun<Index>> runs,
            RansBackend::Encode<Index> RansBackend::* kernel) {
  for (EncodeRun<Index>& run : runs) encode_last(entries, bits, lanes, run);
  if (const RansBackend* simd = lanes < kMinEncodeLanes ? nullptr : backend(lanes)) {
    (simd->*kernel)(entries, bits, lanes, runs.data(), static_cast<int>(runs.size()));
    for (EncodeRun<Index>& run : runs) (simd->*kernel)(entries, bits, lanes, &run, 1);
  }
  for (EncodeRun<Index>& run : runs) {
    with_lanes(lanes, [&]<int kLanes>() { encode_steps<kLanes>(entries, bits, run); });
  }
}

template <class Tables, class Run, class MakeLookup>
void decode(Tables tables,
            int lanes,
            std::span<Run> runs,
            RansBackend::Decode<Tables, Run> RansBackend::* kernel,
            MakeLookup make_lookup) {
  if (const RansBackend* simd = lanes < kMinDecodeLanes ? nullptr : backend(lanes)) {
    (simd->*kernel)(tables, lanes, runs.data(), static_cast<int>(runs.size()));
    for (Run& run : runs) (simd->*kernel)(tables, lanes, &run, 1);
  }
  for (Run& run : runs) {
    if (run.n == 0) continue;
    with_lanes(lanes, [&]<int kLanes>() { decode_rest<kLanes>(make_lookup(run), run); });
  }
}

template <class Index>
constexpr auto kEncodeKernel = &RansBackend::encode_u32;
template <>
constexpr auto kEncodeKernel<std::uint16_t> = &RansBackend::encode_u16;
template <>
constexpr auto kEncodeKernel<std::uint8_t> = &RansBackend::encode_bytes;

template <class Row>
constexpr auto kDecodeKernel = &RansBackend::decode_one_row;
template <>
constexpr auto kDecodeKernel<std::uint8_t> = &RansBackend::decode_u8;
template <>
constexpr auto kDecodeKernel<std::uint16_t> = &RansBackend::decode_u16;
template <>
constexpr auto kDecodeKernel<std::int32_t> = &RansBackend::decode_i32;

template <class Row>
constexpr auto kFindKernel = &RansBackend::find_one_row;
template <>
constexpr auto kFindKernel<std::uint8_t> = &RansBackend::find_u8;
template <>
constexpr auto kFindKernel<std::uint16_t> = &RansBackend::find_u16;
template <>
constexpr auto kFindKernel<std::int32_t> = &RansBackend::find_i32;

}  // namespace

template <class Row>
FoundBins find_bins(const BinTables& tables,
                    std::span<const std::int32_t> symbols,
                    const Row* rows,
                    std::uint32_t* bins) {
  FoundBins found{};
  if (const RansBackend* simd = backend(kMaxLanes)) {
    found = (simd->*kFindKernel<Row>)(tables, symbols.data(), rows, symbols.size(), bins);
  }
  for (; found.n < symbols.size(); ++found.n) {
    const RowInfo& row = tables.rows[row_at(rows, found.n)];
    const std::uint32_t place = std::min(
        static_cast<std::uint32_t>(symbols[found.n]) - static_cast<std::uint32_t>(row.offset),
        row.n_direct);
    bins[found.n] = row.encode_base + place;
    const std::uint32_t cost = tables.costs[bins[found.n]];
    found.cost += cost;
    found.escapes |= place == row.n_direct;
    found.no_cost |= cost == kNoCost;
  }
  return found;
}
template FoundBins find_bins(const BinTables&,
                             std::span<const std::int32_t>,
                             const std::uint8_t*,
                             std::uint32_t*);
template FoundBins find_bins(const BinTables&,
                             std::span<const std::int32_t>,
                             const std::uint16_t*,
                             std::uint32_t*);
template FoundBins find_bins(const BinTables&,
                             std::span<const std::int32_t>,
                             const std::int32_t*,
                             std::uint32_t*);
template FoundBins find_bins(const BinTables&,
                             std::span<const std::int32_t>,
                             const OneRow*,
                             std::uint32_t*);

template <class Index>
void encode_runs(const EncodeEntry* entries,
                 int bits,
                 int lanes,
                 std::span<EncodeRun<Index>> runs) {
  encode(entries, bits, lanes, runs, kEncodeKernel<Index>);
}
template void encode_runs(const EncodeEntry*, int, int, std::span<EncodeRun<std::uint8_t>>);
template void encode_runs(const EncodeEntry*, int, int, std::span<EncodeRun<std::uint16_t>>);
template void encode_runs(const EncodeEntry*, int, int, std::span<EncodeRun<std::uint32_t>>);

namespace {

/// Decodes the runs piece by piece, so that a piece with escapes is searched while it is in the
/// cache. decode_pieces() moves every run on; find(run, begin, n, places) searches the n symbols
/// that a run has just decoded, the first of which is number begin, a multiple of kSumPeriod.
template <class Row, class Value, class Decode, class Find>
void decode_pieces(std::span<DecodeRun<Row, Value>> runs,
                   std::span<EscapePlaces> escapes,
                   Decode decode_piece,
                   Find find) {
  constexpr std::size_t kPiece = 32768 / sizeof(Value);
  static_assert(kPiece % kSumPeriod == 0);
  struct Progress {
    std::size_t done = 0;
    std::size_t left = 0;
    bool words_ended = false;
  };
  Progress progress[kMaxRuns] = {};
  for (std::size_t r = 0; r < runs.size(); ++r) progress[r].left = runs[r].n;
  for (bool more = true; more;) {
    std::size_t piece[kMaxRuns] = {};
    for (std::size_t r = 0; r < runs.size(); ++r) {
      piece[r] = progress[r].words_ended ? 0 : std::min(kPiece, progress[r].left);
      runs[r].n = piece[r];
    }
    decode_piece();
    more = false;
    for (std::size_t r = 0; r < runs.size(); ++r) {
      Progress& at = progress[r];
      const std::size_t n_done = piece[r] - runs[r].n;
      // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): at most kMaxRuns runs, all set above
      find(runs[r], at.done, n_done, escapes[r]);
      at.done += n_done;
      at.left -= n_done;
      at.words_ended |= runs[r].n != 0;
      more |= at.left != 0 && !at.words_ended;
    }
  }
  // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign)
  for (std::size_t r = 0; r < runs.size(); ++r) runs[r].n = progress[r].left;
}

}  // namespace

template <class Row>
void decode_runs(const DecodeTables& tables,
                 int lanes,
                 std::span<DecodeRun<Row, std::int32_t>> runs,
                 std::span<EscapePlaces> escapes) {
  decode_pieces(
      runs,
      escapes,
      [&] {
        decode(tables, lanes, runs, kDecodeKernel<Row>, [&](const auto& run) {
          return TableLookup<Row>{tables, run.rows};
        });
      },
      [&](auto& run, std::size_t begin, std::size_t n, EscapePlaces& places) {
        if (!std::exchange(run.escapes, false) || !tables.escape) return;
        const std::int32_t* const symbols = run.out - n;
        for (std::size_t i = 0; i < n; ++i) {
          if (symbols[i] == kEscapeValue) places.push_back(static_cast<std::uint32_t>(begin + i));
        }
      });
}
template void decode_runs(const DecodeTables&,
                          int,
                          std::span<DecodeRun<std::uint8_t, std::int32_t>>,
                          std::span<EscapePlaces>);
template void decode_runs(const DecodeTables&,
                          int,
                          std::span<DecodeRun<std::uint16_t, std::int32_t>>,
                          std::span<EscapePlaces>);
template void decode_runs(const DecodeTables&,
                          int,
                          std::span<DecodeRun<std::int32_t, std::int32_t>>,
                          std::span<EscapePlaces>);
template void decode_runs(const DecodeTables&,
                          int,
                          std::span<DecodeRun<OneRow, std::int32_t>>,
                          std::span<EscapePlaces>);

void decode_runs(const std::uint32_t* slots,
                 int marker,
                 int lanes,
                 std::span<DecodeRun<OneRow, std::uint8_t>> runs,
                 std::span<EscapePlaces> escapes) {
  const auto decode_all = [&] {
    decode(slots, lanes, runs, &RansBackend::decode_bytes, [slots](const auto&) {
      return ByteLookup{slots};
    });
  };
  decode_pieces(runs,
                escapes,
                decode_all,
                [marker](auto& run, std::size_t begin, std::size_t n, EscapePlaces& places) {
                  const std::uint8_t* const bytes = run.out - n;
                  run.sum += byte_sum({bytes, n});
                  const std::uint8_t* p = marker < 0 ? run.out : bytes;
                  while ((p = static_cast<const std::uint8_t*>(
                              std::memchr(p, marker, static_cast<std::size_t>(run.out - p))))) {
                    const auto at = static_cast<std::size_t>(p - bytes);
                    places.push_back(static_cast<std::uint32_t>(begin + at));
                    ++p;
                  }
                });
}

std::uint32_t byte_sum(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  std::size_t i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    const RansBackend* const simd = backend(kMaxLanes);
    const auto sum_up = simd == nullptr ? &sum_columns<16> : simd->sum_columns;
    std::uint16_t columns[kSumPeriod / 2];
    sum_up(bytes.data(), bytes.size() / kSumPeriod, columns);
    for (; i < kSumPeriod; i += 2) sum += sum_weight(i) * columns[i / 2];
    i = bytes.size() / kSumPeriod * kSumPeriod;
  }
  for (; i < bytes.size(); ++i) {
    sum += sum_weight(i) * (static_cast<std::uint32_t>(bytes[i]) << 8 * (i % 2));
  }
  return sum & 0xFFFFU;
}

EscapePlaces find_bytes(std::span<const std::uint8_t> data, const ByteSet& set) {
  const RansBackend* const simd = backend(kMaxLanes);
  EscapePlaces places;
  for (std::size_t i = 0; i < data.size();) {
    if (simd != nullptr) i += simd->skip_others(&data[i], data.size() - i, &set);
    for (const std::size_t end = std::min(i + kMemberBlock, data.size()); i < end; ++i) {
      if (set.has[data[i]] != 0) places.push_back(static_cast<std::uint32_t>(i));
    }
  }
  return places;
}

}  // namespace glc::rans

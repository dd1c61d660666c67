// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/cpu_features.h"
#include "rans/rans_backend.h"
#include "rans/rans_kernels.h"
#include "rans/rans_scalar.h"
#include "rans/rows_visit.h"
#include "rans/stream_check.h"
#include "rans/sum_columns.h"

namespace glc::rans {
namespace {

// With fewer symbols to a byte, the guess at the likeliest symbol of a row is wrong too often: for
// a state at a time, and for a vector of them.
constexpr std::size_t kSkewedScalar = 16;
constexpr std::size_t kSkewedVector = 28;
// From here on the first bin of a bucket is so often the right one that a state at a time, which
// guesses it, is faster than a vector of 8 lanes alone, which waits for itself.
constexpr std::size_t kSureBins = 8;
// With fewer, bins are narrow, and the first one of a bucket is wrong too often.
constexpr std::size_t kNarrowBins = 2;
// From here on few bytes need a word, and a branch tells which.
constexpr std::size_t kRareWords = 4;

/// The kernels in force that take this many lanes, or none.
const RansBackend* backend([[maybe_unused]] int lanes) {
#if defined(GLC_X86_SIMD)
  static const RansBackend avx2 = rans_backend_avx2();
  static const RansBackend avx512 = rans_backend_avx512();
  const Simd simd = simd_in_force();
  if (simd == Simd::kAvx512 && lanes >= 16) return &avx512;
  if (simd >= Simd::kAvx2 && lanes >= kMinLanes) return &avx2;
#elif defined(__aarch64__)
  static const RansBackend neon = rans_backend_neon();
  if (simd_in_force() == Simd::kNeon && lanes >= kMinLanes) return &neon;
#endif
  return nullptr;
}

/// How runs are decoded by vectors, if they are.
struct ByVectors {
  const RansBackend* simd = nullptr;
  std::size_t fewest = 0;  // runs that are worth it
};

/// For so many runs, with one vector of 8 lanes alone or with several in flight.
ByVectors by_vectors(int lanes, std::size_t n_runs, bool alone) {
  const bool one = alone || lanes > kMinLanes;
  const std::size_t fewest = one ? 1 : static_cast<std::size_t>(few_runs_at_once(lanes));
  return n_runs < fewest ? ByVectors{} : ByVectors{.simd = backend(lanes), .fewest = fewest};
}

template <class Index>
void encode(const EncodeEntry* entries,
            int bits,
            int lanes,
            std::span<EncodeRun<Index>> runs,
            RansBackend::Encode<Index> RansBackend::* kernel) {
  for (EncodeRun<Index>& run : runs) encode_last(entries, bits, lanes, run);
  if (const RansBackend* simd = backend(lanes)) {
    (simd->*kernel)(entries, bits, lanes, runs.data(), static_cast<int>(runs.size()));
    for (EncodeRun<Index>& run : runs) (simd->*kernel)(entries, bits, lanes, &run, 1);
  }
  for (EncodeRun<Index>& run : runs) {
    with_lanes(lanes, [&]<int kLanes> { encode_steps<kLanes>(entries, bits, run); });
  }
}

/// Decodes by vectors as long as enough runs have the symbols and the words of a step.
template <class Tables, class Run>
void decode_steps(Tables tables,
                  int lanes,
                  std::span<Run> runs,
                  std::size_t fewest,
                  RansBackend::Decode<Tables, Run> kernel) {
  for (;;) {
    std::array<Run, kMaxRuns> going;
    std::array<Run*, kMaxRuns> from;
    std::size_t n = 0;
    for (Run& run : runs) {
      if (run.n < static_cast<std::size_t>(lanes) || run.end - run.next < 2 * lanes) continue;
      going[n] = run;
      from[n++] = &run;
    }
    if (n < fewest) return;
    kernel(tables, lanes, going.data(), static_cast<int>(n));
    for (std::size_t r = 0; r < n; ++r) *from[r] = going[r];
  }
}

template <class Tables, class Run, class MakeLookup>
void decode(Tables tables,
            int lanes,
            std::span<Run> runs,
            const ByVectors& by,
            RansBackend::Decode<Tables, Run> RansBackend::* kernel,
            MakeLookup make_lookup) {
  if (by.simd != nullptr) decode_steps(tables, lanes, runs, by.fewest, by.simd->*kernel);
  for (Run& run : runs) {
    if (run.n == 0) continue;
    with_lanes(lanes, [&]<int kLanes> { decode_rest<kLanes>(make_lookup(run), run); });
  }
}

template <class Index>
constexpr auto kEncodeKernel = &RansBackend::encode_u32;
template <>
constexpr auto kEncodeKernel<std::uint16_t> = &RansBackend::encode_u16;
template <>
constexpr auto kEncodeKernel<std::uint8_t> = &RansBackend::encode_bytes;

/// The kernels for rows of a type.
template <class Row>
struct KernelsOf;
template <>
struct KernelsOf<std::uint8_t> {
  static constexpr auto kDecode = &RansBackend::decode_u8;
  static constexpr auto kPairs = &RansBackend::pairs_u8;
  static constexpr auto kSkewed = &RansBackend::skewed_u8;
  static constexpr auto kFind = &RansBackend::find_u8;
};
template <>
struct KernelsOf<std::uint16_t> {
  static constexpr auto kDecode = &RansBackend::decode_u16;
  static constexpr auto kPairs = &RansBackend::pairs_u16;
  static constexpr auto kSkewed = &RansBackend::skewed_u16;
  static constexpr auto kFind = &RansBackend::find_u16;
};
template <>
struct KernelsOf<std::int32_t> {
  static constexpr auto kDecode = &RansBackend::decode_i32;
  static constexpr auto kPairs = &RansBackend::pairs_i32;
  static constexpr auto kSkewed = &RansBackend::skewed_i32;
  static constexpr auto kFind = &RansBackend::find_i32;
};
template <>
struct KernelsOf<OneRow> {
  static constexpr auto kDecode = &RansBackend::decode_one_row;
  static constexpr auto kPairs = &RansBackend::pairs_one_row;
  static constexpr auto kSkewed = &RansBackend::skewed_one_row;
  static constexpr auto kFind = &RansBackend::find_one_row;
};

}  // namespace

template <class Row>
FoundBins find_bins(const BinTables& tables,
                    std::span<const std::int32_t> symbols,
                    const Row* rows,
                    std::uint32_t* bins) {
  FoundBins found{};
  if (const RansBackend* simd = backend(kMaxLanes)) {
    found = (simd->*KernelsOf<Row>::kFind)(tables, symbols.data(), rows, symbols.size(), bins);
  }
  for (; found.n < symbols.size(); ++found.n) {
    const RowInfo& row = tables.rows[row_at(rows, found.n)];
    const std::uint32_t place = std::min(
        static_cast<std::uint32_t>(symbols[found.n]) - static_cast<std::uint32_t>(row.offset),
        row.n_direct);
    bins[found.n] = row.encode_base + place;
    const std::uint32_t cost = tables.costs[bins[found.n]];
    found.cost += cost;
    found.sum = found.sum * kSumFactor + static_cast<std::uint32_t>(symbols[found.n]);
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

/// How many symbols of late came to how many bytes of words: pieces count half as much with each
/// one after them.
class Density {
 public:
  void add(std::size_t symbols, std::size_t bytes) {
    symbols_ = symbols_ / 2 + symbols;
    bytes_ = bytes_ / 2 + bytes;
  }
  [[nodiscard]] bool known() const { return symbols_ != 0; }
  [[nodiscard]] bool reaches(std::size_t symbols_per_byte) const {
    return symbols_ / symbols_per_byte >= bytes_;
  }

 private:
  std::size_t symbols_ = 0;
  std::size_t bytes_ = 0;
};

/// Decodes the runs piece by piece, so that a piece with escapes is searched while it is in the
/// cache. decode_piece(density), told how dense the pieces before were, moves every run on;
/// find(run, begin, n, places) searches the n symbols that a run has just decoded, the first of
/// which is number begin, a multiple of kSumPeriod.
template <class Row, class Value, class Decode, class Find>
void decode_pieces(std::span<DecodeRun<Row, Value>> runs,
                   std::span<EscapePlaces> escapes,
                   Decode decode_piece,
                   Find find) {
  constexpr std::size_t kPiece = (sizeof(Value) == 1 ? 32768 : 16384) / sizeof(Value);
  static_assert(kPiece % kSumPeriod == 0);
  struct Progress {
    std::size_t done = 0;
    std::size_t left = 0;
    bool words_ended = false;
  };
  Progress progress[kMaxRuns] = {};
  for (std::size_t r = 0; r < runs.size(); ++r) progress[r].left = runs[r].n;
  Density density;
  for (bool more = true; more;) {
    std::size_t piece[kMaxRuns] = {};
    const std::uint8_t* words[kMaxRuns] = {};
    for (std::size_t r = 0; r < runs.size(); ++r) {
      piece[r] = progress[r].words_ended ? 0 : std::min(kPiece, progress[r].left);
      runs[r].n = piece[r];
      words[r] = runs[r].next;
    }
    decode_piece(std::as_const(density));
    more = false;
    std::size_t n_symbols = 0;
    std::size_t n_bytes = 0;
    for (std::size_t r = 0; r < runs.size(); ++r) {
      Progress& at = progress[r];
      const std::size_t n_done = piece[r] - runs[r].n;
      // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): at most kMaxRuns runs, all set above
      find(runs[r], at.done, n_done, escapes[r]);
      at.done += n_done;
      at.left -= n_done;
      at.words_ended |= runs[r].n != 0;
      more |= at.left != 0 && !at.words_ended;
      n_symbols += n_done;
      // NOLINTNEXTLINE(clang-analyzer-core.NullPointerArithm): as above
      n_bytes += static_cast<std::size_t>(runs[r].next - words[r]);
    }
    density.add(n_symbols, n_bytes);
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
  const ByVectors by_any = by_vectors(lanes, runs.size(), true);
  const ByVectors by_several = by_vectors(lanes, runs.size(), false);
  const auto decode_by_guess = [&](const ByVectors& by) {
    decode(tables, lanes, runs, by, KernelsOf<Row>::kSkewed, [&](auto& run) {
      return SkewedLookup<Row>{{tables, run.rows}, &run.escapes};
    });
  };
  decode_pieces(
      runs,
      escapes,
      [&](const Density& density) {
        // What a pull leaves of its words is another's, which may be of other symbols: what the
        // runs say of themselves goes for their first piece.
        const auto reaches = [&](std::size_t symbols_per_byte) {
          if (density.known()) return density.reaches(symbols_per_byte);
          return std::ranges::all_of(
              runs, [&](const auto& run) { return run.symbols_per_byte >= symbols_per_byte; });
        };
        if (tables.likeliest != nullptr) {
          if (by_any.simd != nullptr && reaches(kSkewedVector)) return decode_by_guess(by_any);
          if (by_several.simd == nullptr && reaches(kSkewedScalar)) return decode_by_guess({});
        }
        const bool narrow = tables.pairs != nullptr && !reaches(kNarrowBins);
        const auto kernel = narrow ? KernelsOf<Row>::kPairs : KernelsOf<Row>::kDecode;
        const ByVectors& by = reaches(kSureBins) ? by_several : by_any;
        decode(tables, lanes, runs, by, kernel, [&](const auto& run) {
          return TableLookup<Row>{tables, run.rows};
        });
      },
      [&](auto& run, std::size_t begin, std::size_t n, EscapePlaces& places) {
        const std::int32_t* const symbols = run.out - n;
        run.sum = symbol_sum({symbols, n}, run.sum);
        if (!std::exchange(run.escapes, false) || !tables.escape) return;
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
  const ByVectors by = by_vectors(lanes, runs.size(), true);
  const auto decode_by = [&](auto lookup) {
    decode(slots, lanes, runs, by, &RansBackend::decode_bytes, [&](const auto&) { return lookup; });
  };
  const bool rarely =
      std::ranges::all_of(runs, [](const auto& run) { return run.symbols_per_byte >= kRareWords; });
  const auto decode_all = [&](const Density&) {
    rarely ? decode_by(ByteLookup<Renorm::kBranch>{slots})
           : decode_by(ByteLookup<Renorm::kSelect>{slots});
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

std::uint32_t symbol_sum(std::span<const std::int32_t> symbols, std::uint32_t before) {
  static constexpr auto kWeights = [] {
    std::array<std::uint32_t, kSumRow> weights{};
    for (std::size_t c = 0; c < kSumRow; ++c) weights[c] = sum_power(kSumRow - 1 - c);
    return weights;
  }();
  static constexpr std::uint32_t kRowFactor = sum_power(kSumRow);
  std::uint32_t sum = before;
  if (const std::size_t n_rows = symbols.size() / kSumRow; n_rows != 0) {
    const RansBackend* const simd = backend(kMaxLanes);
    const auto sum_up = simd == nullptr ? &sum_symbols<16> : simd->sum_symbols;
    sum = sum_up(sum, symbols.data(), n_rows, kRowFactor, kWeights.data());
    symbols = symbols.subspan(n_rows * kSumRow);
  }
  for (const std::int32_t symbol : symbols) {
    sum = sum * kSumFactor + static_cast<std::uint32_t>(symbol);
  }
  return sum;
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

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "rans/entries.h"

namespace glc::rans {

template <class Row>
inline constexpr bool kIsOneRow = std::is_same_v<Row, OneRow>;

/// Lanes of a run from which on kernels take it.
inline constexpr int kMinLanes = 8;
/// Runs that a kernel keeps in flight at once: with fewer lanes more of them, to fill the time that
/// a state waits for its symbol.
constexpr int runs_at_once(int lanes) { return lanes < kMinLanes ? 2 : 64 / lanes; }
/// The same of the last runs, where fewer are left.
constexpr int few_runs_at_once(int lanes) { return lanes <= kMinLanes ? 4 : 2; }
inline constexpr int kMaxRuns = 8;
/// Bytes that are looked at together for members of a set.
inline constexpr std::size_t kMemberBlock = 64;

/// The kernels of one instruction set: each moves n_runs runs of `lanes` lanes forward (or, the
/// encoder, back) by the whole steps that they all have symbols and words for.
struct RansBackend {
  template <class Tables, class Run>
  using Decode = void (*)(Tables, int lanes, Run* runs, int n_runs);
  template <class Index>
  using Encode =
      void (*)(const EncodeEntry* entries, int bits, int lanes, EncodeRun<Index>* runs, int n_runs);

  /// Finds bins as find_bins(), rans_kernels.h, for the symbols that fill whole vectors.
  template <class Row>
  using Find = FoundBins (*)(BinTables tables,
                             const std::int32_t* symbols,
                             const Row* rows,
                             std::size_t n,
                             std::uint32_t* bins);

  /// Bytes at the front of data, a multiple of kMemberBlock, of which none is a member of the set.
  using SkipOthers = std::size_t (*)(const std::uint8_t* data, std::size_t n, const ByteSet* set);

  /// sum_columns(), sum_columns.h.
  using SumColumns = void (*)(const std::uint8_t* bytes,
                              std::size_t n_periods,
                              std::uint16_t* columns);
  /// sum_symbols(), sum_columns.h.
  using SumSymbols = std::uint32_t (*)(std::uint32_t before,
                                       const std::int32_t* symbols,
                                       std::size_t n_rows,
                                       std::uint32_t factor,
                                       const std::uint32_t* weights);

  Decode<DecodeTables, DecodeRun<std::uint8_t, std::int32_t>> decode_u8;
  Decode<DecodeTables, DecodeRun<std::uint16_t, std::int32_t>> decode_u16;
  Decode<DecodeTables, DecodeRun<std::int32_t, std::int32_t>> decode_i32;
  Decode<DecodeTables, DecodeRun<OneRow, std::int32_t>> decode_one_row;
  Decode<DecodeTables, DecodeRun<std::uint8_t, std::int32_t>> pairs_u8;
  Decode<DecodeTables, DecodeRun<std::uint16_t, std::int32_t>> pairs_u16;
  Decode<DecodeTables, DecodeRun<std::int32_t, std::int32_t>> pairs_i32;
  Decode<DecodeTables, DecodeRun<OneRow, std::int32_t>> pairs_one_row;
  Decode<DecodeTables, DecodeRun<std::uint8_t, std::int32_t>> skewed_u8;
  Decode<DecodeTables, DecodeRun<std::uint16_t, std::int32_t>> skewed_u16;
  Decode<DecodeTables, DecodeRun<std::int32_t, std::int32_t>> skewed_i32;
  Decode<DecodeTables, DecodeRun<OneRow, std::int32_t>> skewed_one_row;
  Decode<const std::uint32_t*, DecodeRun<OneRow, std::uint8_t>> decode_bytes;
  Encode<std::uint16_t> encode_u16;
  Encode<std::uint32_t> encode_u32;
  Encode<std::uint8_t> encode_bytes;
  Find<std::uint8_t> find_u8;
  Find<std::uint16_t> find_u16;
  Find<std::int32_t> find_i32;
  Find<OneRow> find_one_row;
  SkipOthers skip_others;
  SumColumns sum_columns;
  SumSymbols sum_symbols;
};

[[nodiscard]] RansBackend rans_backend_avx2();
[[nodiscard]] RansBackend rans_backend_avx512();
[[nodiscard]] RansBackend rans_backend_neon();

}  // namespace glc::rans

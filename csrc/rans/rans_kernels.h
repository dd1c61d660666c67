// SPDX-License-Identifier: Apache-2.0
//
// The inner loops: the instruction set in force for whole steps, scalar code for the rest. Kernels
// assume what their callers have checked: rows inside the tables, entries of present symbols,
// buffer sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rans/entries.h"

namespace glc::rans {

/// bins[i] = the index among the entries of symbols[i] in rows[i], that of the row's escape bin for
/// a symbol outside it. Row: std::uint8_t, std::uint16_t, std::int32_t or OneRow, inside the
/// tables.
template <class Row>
FoundBins find_bins(const BinTables& tables,
                    std::span<const std::int32_t> symbols,
                    const Row* rows,
                    std::uint32_t* bins);

/// Codes each run to its first symbol, symbol i in lane i mod lanes, writing words downwards. A
/// run of n symbols needs room for n words and kWordSlack more below them. At most kMaxRuns runs.
/// Index: std::uint8_t, std::uint16_t or std::uint32_t.
template <class Index>
void encode_runs(const EncodeEntry* entries, int bits, int lanes, std::span<EncodeRun<Index>> runs);

/// Places of a run's escapes, counted from its first symbol, in ascending order.
using EscapePlaces = std::vector<std::uint32_t>;

/// Decodes each run as far as its words last: n is then what is missing. A state that lacks its
/// word at the end of the stream is left below 2^16; needing such a state ends the run. At most
/// kMaxRuns runs, of fewer than 2^32 symbols; with escape, escapes[r] is filled for run r.
/// Row: std::uint8_t, std::uint16_t, std::int32_t or OneRow.
template <class Row>
void decode_runs(const DecodeTables& tables,
                 int lanes,
                 std::span<DecodeRun<Row, std::int32_t>> runs,
                 std::span<EscapePlaces> escapes);
/// The same for bytes, from a table of 4096 slots (entries.h); escapes are where the marker stands,
/// which is -1 where there are none.
void decode_runs(const std::uint32_t* slots,
                 int marker,
                 int lanes,
                 std::span<DecodeRun<OneRow, std::uint8_t>> runs,
                 std::span<EscapePlaces> escapes);

/// Places of the members of a set, ascending; fewer than 2^32 bytes of data.
[[nodiscard]] EscapePlaces find_bytes(std::span<const std::uint8_t> data, const ByteSet& set);

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
//
// Memory layout of a TableSet, as the kernels read it.
//
//   encode  row r, bin b  ->  encode[rows[r].encode_base + b]              (8 bytes per bin)
//   decode  row r, slot s ->  bucket = r << coarse_bits | s >> (bits - coarse_bits)
//                             buckets[bucket] is the bin of the bucket's first slot, mostly the
//                             one; else walk on from decode[decode_base[r] + coarse[bucket]]
//                             pairs[r << pair_bits | s >> (bits - pair_bits)] has the next bin too
//
// Bins of frequency 0 have no decode entry, so a walk always ends inside its own row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rans/rans_state.h"

namespace glc::rans {

struct TableData {
  int bits = 0;
  int coarse_bits = 0;
  int pair_bits = 0;
  bool escape = false;
  std::vector<std::int32_t> n_bins;        // [rows]
  std::vector<std::int32_t> offsets;       // [rows]
  std::vector<RowInfo> rows;               // [rows]
  std::vector<EncodeEntry> encode;         // [bins]
  std::vector<std::uint32_t> cost;         // [bins + 1], units of 2^-16 bit
  std::vector<DecodeEntry> decode;         // [present bins]
  std::vector<std::uint32_t> decode_base;  // [rows]
  std::vector<std::uint16_t> coarse;       // [rows << coarse_bits]
  std::vector<DecodeEntry> buckets;        // [rows << coarse_bits]
  std::vector<DecodePair> pairs;           // [rows << pair_bits], or none
  std::vector<DecodeEntry> likeliest;      // [rows], the bin of most slots
  bool likeliest_escapes = false;          // one of them is an escape bin

  [[nodiscard]] BinTables bin_tables() const { return {rows.data(), cost.data()}; }
  [[nodiscard]] DecodeTables decode_tables() const {
    return {buckets.data(),
            pairs.empty() ? nullptr : pairs.data(),
            coarse.data(),
            decode.data(),
            decode_base.data(),
            likeliest_escapes ? nullptr : likeliest.data(),
            rows.data(),
            bits,
            coarse_bits,
            pair_bits,
            escape};
  }
};

/// Throws InvalidArgument unless tables can have so many rows, as many offsets and these bits.
void check_shape(std::size_t n_rows, std::size_t n_offsets, int bits);

}  // namespace glc::rans

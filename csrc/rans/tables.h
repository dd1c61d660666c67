// SPDX-License-Identifier: Apache-2.0
//
// Memory layout of a TableSet, as the kernels read it.
//
//   encode  row r, bin b  ->  encode[rows[r].encode_base + b]              (8 bytes per bin)
//   decode  row r, slot s ->  first = coarse[r << coarse_bits | s >> (bits - coarse_bits)]
//                             walk decode[decode_base[r] + first ...] until the slot is inside
//
// Bins of frequency 0 have no decode entry, so a walk always ends inside its own row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rans/rans_state.h"

namespace glc::rans {

inline constexpr std::uint32_t kNoCost = 0xFFFFFFFFU;  ///< cost of a bin of frequency 0

struct RowInfo {
  std::uint32_t encode_base;
  std::uint32_t n_direct;  ///< bins that stand for a symbol, i.e. without the escape bin
  std::int32_t offset;
};

struct TableData {
  int bits = 0;
  int coarse_bits = 0;
  bool escape = false;
  std::vector<std::int32_t> n_bins;        // [rows]
  std::vector<std::int32_t> offsets;       // [rows]
  std::vector<RowInfo> rows;               // [rows]
  std::vector<EncodeEntry> encode;         // [bins]
  std::vector<std::uint32_t> cost;         // [bins], units of 2^-16 bit
  std::vector<DecodeEntry> decode;         // [present bins]
  std::vector<std::uint32_t> decode_base;  // [rows]
  std::vector<std::uint16_t> coarse;       // [rows << coarse_bits]
};

}  // namespace glc::rans

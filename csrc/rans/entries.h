// SPDX-License-Identifier: Apache-2.0
//
// What the kernels of every instruction set share: plain data and no functions, so that a file
// compiled for one instruction set can include it (see cmake/GlcSimd.cmake).
#pragma once

#include <cstddef>
#include <cstdint>

namespace glc::rans {

/// What the encoder needs of one symbol. freq is stored less one, so that freq = 2^16 fits.
struct EncodeEntry {
  std::uint32_t reciprocal;  ///< reciprocal_of(freq)
  std::uint16_t freq_minus_1;
  std::uint16_t start;
};

/// What the decoder needs of one present symbol.
struct DecodeEntry {
  std::uint16_t start;
  std::uint16_t freq_minus_1;
  std::int32_t value;  ///< decoded symbol, or kEscapeValue
};

/// The bin of a bucket's first slot and the one after it: the same one after a row's last.
struct DecodePair {
  DecodeEntry first;
  DecodeEntry next;
};

/// Decoded value of an escape bin until the escape section replaces it. Tables with escape have it
/// for no symbol of their own; for those without, it is a symbol like any other.
inline constexpr std::int32_t kEscapeValue = INT32_MIN;

/// Decode table of a byte alphabet at 12 bits: one entry per slot, freq - 1 in bits 0..11,
/// slot - start in bits 12..23, the byte in bits 24..31.
inline constexpr int kByteBits = 12;

/// A set of byte values. Bit j of low[i] stands for the value 16 j + i, of high[i] for 128 more.
struct ByteSet {
  alignas(16) std::uint8_t low[16];
  alignas(16) std::uint8_t high[16];
  std::uint8_t has[256];  ///< 1 for a member
};

/// Where a row's bins are and which symbols they stand for.
struct RowInfo {
  std::uint32_t encode_base;
  std::uint32_t n_direct;  ///< bins that stand for a symbol, i.e. without the escape bin
  std::int32_t offset;
  std::uint32_t likeliest;  ///< where the bin of most slots is among the decode entries
};

inline constexpr std::uint32_t kNoCost = 0xFFFFFFFFU;  ///< cost of a bin of frequency 0

/// The arrays of a TableData that finding bins reads.
struct BinTables {
  const RowInfo* rows;
  const std::uint32_t* costs;
};

/// What finding the bins of a run of symbols came to.
struct FoundBins {
  std::size_t n;       ///< symbols done
  std::uint64_t cost;  ///< of their bins, units of 2^-16 bit; only meaningful without no_cost
  std::uint32_t sum;   ///< of the symbols: symbol_sum(), stream_check.h
  bool escapes;        ///< a symbol was outside its row: its bin is the one after the row's last
  bool no_cost;        ///< a bin has frequency 0
};

/// The arrays of a TableData that decoding reads; tables.h draws them.
struct DecodeTables {
  const DecodeEntry* buckets;
  const DecodePair* pairs;  ///< null where buckets are as good
  const std::uint16_t* coarse;
  const DecodeEntry* entries;
  const std::uint32_t* bases;
  const DecodeEntry* likeliest;  ///< null where it may be an escape
  const RowInfo* rows;
  int bits;
  int coarse_bits;
  int pair_bits;
  bool escape;
};

/// A run of symbols of one state set, as far as it is decoded. Kernels move it forward by whole
/// steps of `lanes` symbols.
template <class Row, class Value>
struct DecodeRun {
  const Row* rows;           ///< of the next symbols; one for all when Row is OneRow
  std::size_t n;             ///< symbols left
  std::uint32_t* states;     ///< [lanes]
  const std::uint8_t* next;  ///< unread words: little-endian pairs of bytes, of any alignment
  const std::uint8_t* end;   ///< of the words; an odd last byte is not a word
  Value* out;                ///< the next symbols
  std::size_t symbols_per_byte = 0;  ///< of all words left: where many, few are not the likeliest
  std::uint32_t sum = 0;  ///< of what is decoded, escapes being kEscapeValue or the marker:
                          ///< symbol_sum(), stream_check.h, of what it was before and of symbols,
                          ///< or byte_sum() and perhaps a multiple of 2^16
  bool escapes = false;   ///< a symbol was kEscapeValue
};

/// The row of every symbol of a run.
struct OneRow {
  std::uint32_t row;
};

/// A run of symbols of one state set, as far as it is coded: from the last symbol to the first.
/// Index is the type of the symbol's place among the entries.
template <class Index>
struct EncodeRun {
  const Index* indices;   ///< [n]
  std::size_t n;          ///< symbols left
  std::uint32_t* states;  ///< [lanes]
  std::uint8_t* words;    ///< the lowest word written; words go down from here
};
/// Bytes below the lowest word that the encoder may write over.
inline constexpr std::size_t kWordSlack = 32;

}  // namespace glc::rans

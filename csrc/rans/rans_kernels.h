// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of one back end. Kernels assume what the callers in encoder.cpp, decoder.cpp and
// rans_bytes.cpp have checked: rows inside the tables, entries of present symbols, buffer sizes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "glc/rans.h"
#include "rans/rans_state.h"

namespace glc::rans {

/// Codes entries[n - 1] .. entries[0], entry i in lane i mod lanes, writing words downwards from
/// words_end. Returns the new lowest word. One word of slack below the last is written over, so
/// the buffer needs n + 1 words.
std::uint16_t* encode_run(const EncodeEntry* entries,
                          std::size_t n,
                          int bits,
                          int lanes,
                          std::uint32_t* states,
                          std::uint16_t* words_end);

/// The same for bytes, each with the entry of its value in entries[256].
std::uint16_t* encode_run_bytes(const EncodeEntry* entries,
                                const std::uint8_t* data,
                                std::size_t n,
                                int bits,
                                int lanes,
                                std::uint32_t* states,
                                std::uint16_t* words_end);

/// Unread words: little-endian pairs of bytes, of any alignment; an odd last byte is not a word.
struct WordSource {
  const std::uint8_t* next;
  const std::uint8_t* end;
  [[nodiscard]] std::size_t n_words() const { return static_cast<std::size_t>(end - next) / 2; }
};

struct TableData;

/// Decodes n symbols. A state that lacks its word at the end of the stream is left below
/// kStateLow; needing such a state ends the run. Returns the number of symbols decoded.
std::size_t decode_run(const TableData& tables,
                       const Rows& rows,
                       std::size_t n,
                       int lanes,
                       std::uint32_t* states,
                       WordSource& words,
                       std::int32_t* out);

/// Decode table of a byte alphabet at 12 bits: one entry per slot, freq - 1 in bits 0..11,
/// slot - start in bits 12..23, the byte in bits 24..31.
inline constexpr int kByteBits = 12;
std::size_t decode_run_bytes(const std::uint32_t* slots,
                             std::size_t n,
                             int lanes,
                             std::uint32_t* states,
                             WordSource& words,
                             std::uint8_t* out);

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "glc/compressai_ans.h"
#include "glc/rans.h"
#include "rans/bit_io.h"

namespace glc::compressai {

/// Reads a stream of glc::rans in other pieces than it was pushed in, as CompressAI's decode_stream
/// has to: glc::rans::Decoder begins each pull at lane 0, this one where the last piece ended. For
/// streams of one push, or of one lane. One thread at a time.
class PieceDecoder {
 public:
  /// Borrows data, which must outlive the decoder. Throws BitstreamError on a bad head, or when the
  /// stream is one of segments, whose escapes lie after their words.
  explicit PieceDecoder(std::span<const std::uint8_t> data);

  /// Writes out.size() symbols, coded with rows [out.size()] of tables of so many bits.
  /// Throws as AnsDecoder::pull.
  void pull(std::span<const std::int32_t> rows,
            const AnsTables& tables,
            int bits,
            std::span<std::int32_t> out);

 private:
  std::uint32_t next_word();
  std::int64_t escape(std::uint32_t n_direct);
  [[noreturn]] static void fail(const char* what, std::size_t offset);

  std::span<const std::uint8_t> data_;
  std::size_t next_ = 0;  // byte offset of the next word
  std::uint32_t states_[rans::kMaxLanes] = {};
  std::uint32_t n_lanes_ = 1;
  std::uint32_t lane_ = 0;
  rans::BitReader escapes_;
  std::size_t escapes_begin_ = 0;
  bool failed_ = false;
};

}  // namespace glc::compressai

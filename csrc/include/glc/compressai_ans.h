// SPDX-License-Identifier: Apache-2.0
/// Streams of CompressAI's coder (`compressai.ans`), byte for byte: rANS with one 64-bit state,
/// 32-bit words and 16-bit frequencies. docs/compressai.md describes the format. For new streams
/// prefer glc/rans.h: it takes the same tables and is several times faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace glc::compressai {

struct AnsTableData;

/// CompressAI's cdf tables, checked and prepared once; immutable, so copies share their memory.
class AnsTables {
 public:
  /// cdfs [rows, width], of which row r uses sizes[r] entries (2..width): from 0, never
  /// decreasing, to at most 65536. The last bin of a row is its escape bin. offsets[r] is the
  /// symbol of the first bin. Throws InvalidArgument.
  AnsTables(std::span<const std::int32_t> cdfs,
            std::size_t width,
            std::span<const std::int32_t> sizes,
            std::span<const std::int32_t> offsets);

  [[nodiscard]] std::size_t rows() const;
  [[nodiscard]] const AnsTableData& data() const { return *data_; }

 private:
  std::shared_ptr<const AnsTableData> data_;
};

/// Buffers pushes and codes them at finish(), last symbol first. One thread at a time.
class AnsEncoder {
 public:
  /// Appends symbols [n], coded with rows [n] of the tables.
  /// Throws InvalidArgument: a row outside the tables; a symbol of frequency 0; one so far outside
  /// its row that its escape needs more than 28 bits, which CompressAI's coder cannot write either.
  /// When it throws, also for want of memory, it leaves the encoder as it was.
  void push(std::span<const std::int32_t> symbols,
            std::span<const std::int32_t> rows,
            const AnsTables& tables);

  /// Returns the stream (8 bytes for no symbols) and empties the encoder.
  [[nodiscard]] std::vector<std::uint8_t> finish();

 private:
  struct Push {
    AnsTables tables;
    std::size_t end;  // of its symbols in bins_
  };
  std::vector<Push> pushes_;
  std::vector<std::uint32_t> bins_;     // entry of each symbol in its table
  std::vector<std::uint32_t> escapes_;  // number of each escaped symbol
};

/// Reads such a stream in pieces of any size. Any bytes give symbols or a BitstreamError naming the
/// byte offset; the format cannot tell a wrong symbol from a right one. One thread at a time.
class AnsDecoder {
 public:
  /// Borrows data, which must outlive the decoder. Throws BitstreamError on a bad head.
  explicit AnsDecoder(std::span<const std::uint8_t> data);
  // a temporary would be gone before the first pull
  explicit AnsDecoder(const std::vector<std::uint8_t>&& data) = delete;

  /// Writes out.size() symbols, coded with rows [out.size()] of the tables.
  /// Throws InvalidArgument (a row outside the tables, sizes that differ, an out that shares memory
  /// with rows or the stream) or BitstreamError; after a BitstreamError out is unspecified and the
  /// decoder refuses further pulls.
  void pull(std::span<const std::int32_t> rows,
            const AnsTables& tables,
            std::span<std::int32_t> out);

 private:
  std::span<const std::uint8_t> data_;
  std::size_t next_ = 0;  // byte offset of the next word
  std::uint64_t state_ = 0;
  bool failed_ = false;
};

}  // namespace glc::compressai

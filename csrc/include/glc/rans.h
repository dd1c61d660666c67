// SPDX-License-Identifier: Apache-2.0
//
// rANS entropy coder with static tables: one table row per symbol, 1..32 interleaved lanes,
// escapes for symbols outside a row. The stream is specified in docs/format.md.
//
//   auto tables = glc::rans::TableSet::from_freqs(freqs, n_bins, offsets, 14, true);
//   glc::rans::Encoder encoder;
//   encoder.push(symbols, rows, tables);
//   std::vector<std::uint8_t> stream = encoder.finish();
//
//   glc::rans::Decoder decoder(stream);
//   decoder.pull(rows, tables, symbols_out);
//   decoder.finish();
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "glc/error.h"

namespace glc::rans {

inline constexpr int kMinBits = 8;
inline constexpr int kMaxBits = 16;
inline constexpr int kMaxLanes = 32;
inline constexpr std::size_t kMaxRows = 65536;
/// Bins in all rows of one TableSet together; bounds its memory.
inline constexpr std::size_t kMaxBins = std::size_t{1} << 24;

/// Symbols of one push or pull, at most.
inline constexpr std::size_t kMaxPush = (std::size_t{1} << 31) - 1;
/// segment_symbols of an Encoder that never cuts a push into segments.
inline constexpr std::size_t kNoSegments = 0;

/// Descriptor byte: bits 0-2 log2(lanes), bit 3 an escape section follows; or bit 4 alone, a stream
/// of segments. Bits 5-7 zero.
inline constexpr std::uint8_t kDescriptorLanesMask = 0x07;
inline constexpr std::uint8_t kDescriptorEscape = 0x08;
inline constexpr std::uint8_t kDescriptorSegments = 0x10;

/// A number that can be a row: an integer, neither a truth value nor a character.
template <class N>
concept RowNumber = std::integral<N> && !std::same_as<N, bool> && !std::same_as<N, char> &&
                    !std::same_as<N, wchar_t> && !std::same_as<N, char8_t> &&
                    !std::same_as<N, char16_t> && !std::same_as<N, char32_t>;

/// Contiguous uint8, uint16 or int32 rows: a vector, an array, a span.
template <class Range>
concept RowRange = std::ranges::contiguous_range<Range> && std::ranges::sized_range<Range> &&
                   (std::same_as<std::ranges::range_value_t<Range>, std::uint8_t> ||
                    std::same_as<std::ranges::range_value_t<Range>, std::uint16_t> ||
                    std::same_as<std::ranges::range_value_t<Range>, std::int32_t>);

/// Borrowed table rows of a run of symbols: one row per symbol, or one row for all.
class Rows {
 public:
  enum class Type : std::uint8_t { kScalar, kUint8, kUint16, kInt32 };

  // Conversions are implicit so that a vector, a span or a number can be passed where rows are
  // wanted.
  /// One row for all. Throws InvalidArgument when it is outside int32.
  template <RowNumber N>
  Rows(N row) : scalar_(static_cast<std::int32_t>(row)) {
    if (!std::in_range<std::int32_t>(row)) {
      throw InvalidArgument("rans: rows: expected a table row, got " + std::to_string(row));
    }
  }
  /// A row per symbol.
  template <class Range>
    requires RowRange<const Range>
  Rows(const Range& rows)
      : type_(type_of<std::ranges::range_value_t<const Range>>()),
        data_(std::ranges::data(rows)),
        size_(std::ranges::size(rows)) {}

  [[nodiscard]] Type type() const { return type_; }
  [[nodiscard]] bool is_scalar() const { return type_ == Type::kScalar; }
  /// The row of every symbol; only meaningful when is_scalar().
  [[nodiscard]] std::int32_t scalar() const { return scalar_; }
  /// Number of rows; only meaningful when not is_scalar().
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const void* data() const { return data_; }

 private:
  template <class T>
  static constexpr Type type_of() {
    if constexpr (std::same_as<T, std::uint8_t>) return Type::kUint8;
    if constexpr (std::same_as<T, std::uint16_t>) return Type::kUint16;
    return Type::kInt32;
  }

  Type type_ = Type::kScalar;
  const void* data_ = nullptr;
  std::size_t size_ = 0;
  std::int32_t scalar_ = 0;
};

struct TableData;

/// Immutable set of integer cdfs, validated once. Copies share the same memory. What was moved from
/// may only be destroyed or assigned to, as with the classes below.
class TableSet {
 public:
  /// Rows of frequencies, concatenated: row r has n_bins[r] entries of freqs that sum to
  /// 1 << bits, and codes the symbols offsets[r] + 0 .. offsets[r] + n_bins[r] - 1.
  /// With escape, the last bin of each row is the escape bin (any other int32 goes there), every
  /// frequency must be >= 1, and no symbol of a row may be INT32_MIN.
  /// Without it a frequency may be 0; such a symbol cannot be encoded.
  /// Throws InvalidArgument.
  static TableSet from_freqs(std::span<const std::uint32_t> freqs,
                             std::span<const std::int32_t> n_bins,
                             std::span<const std::int32_t> offsets,
                             int bits,
                             bool escape);

  /// CompressAI's layout: cdfs [rows, width], of which row r uses sizes[r] entries from 0 to
  /// 1 << bits, strictly increasing; its last bin is the escape bin.
  /// Throws InvalidArgument.
  static TableSet from_cdfs(std::span<const std::int32_t> cdfs,
                            std::size_t width,
                            std::span<const std::int32_t> sizes,
                            std::span<const std::int32_t> offsets,
                            int bits);

  [[nodiscard]] std::size_t rows() const;
  [[nodiscard]] int bits() const;
  [[nodiscard]] bool escape() const;
  /// Memory of the coding tables, in bytes.
  [[nodiscard]] std::size_t nbytes() const;

  /// The frequencies as from_freqs takes them.
  [[nodiscard]] std::vector<std::uint32_t> freqs() const;
  [[nodiscard]] std::span<const std::int32_t> n_bins() const;
  [[nodiscard]] std::span<const std::int32_t> offsets() const;

  /// Sum of the fixed-point costs of the symbols, escape bits included, in units of 2^-16 bit.
  /// Integer arithmetic only, so equal on every machine. Throws InvalidArgument like push().
  [[nodiscard]] std::uint64_t cost(std::span<const std::int32_t> symbols, Rows rows) const;

  /// For the back ends.
  [[nodiscard]] const TableData& data() const { return *data_; }

 private:
  explicit TableSet(std::shared_ptr<const TableData> data) : data_(std::move(data)) {}
  std::shared_ptr<const TableData> data_;
};

/// Fixed-point cost of a symbol, -log2(freq / 2^bits), in units of 2^-16 bit. freq >= 1.
[[nodiscard]] std::uint32_t symbol_cost(std::uint32_t freq, int bits);

/// The lane rule: the largest power of two L <= 32 with 512 * L <= cost in whole bytes, else 1.
[[nodiscard]] int lanes_for_cost(std::uint64_t cost);

/// Buffers pushes and codes them at finish(), last push first. One thread at a time.
class Encoder {
 public:
  /// lanes: 1, 2, 4, 8, 16 or 32; none lets lanes_for_cost() decide at finish().
  /// segment_symbols: a multiple of 32 in 32..2^30, into runs of which each push is cut, so that
  /// threads can share the work; kNoSegments for one set of states in all; none lets the rule of
  /// the format decide: segments of about 64 KiB once there are 96 KiB. Throws InvalidArgument.
  explicit Encoder(std::optional<int> lanes = std::nullopt,
                   std::optional<std::size_t> segment_symbols = std::nullopt);
  ~Encoder();
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// Appends symbols [n]; rows is [n] or one number. Borrows its arguments for the call only.
  /// Throws InvalidArgument: a row outside the tables; a symbol of frequency 0, or outside its row
  /// when the tables have no escape; after finish(). Any exception, std::bad_alloc too, leaves the
  /// encoder as it was.
  void push(std::span<const std::int32_t> symbols, Rows rows, const TableSet& tables);

  /// Upper bound of the stream's size for what has been pushed so far.
  [[nodiscard]] std::size_t encoded_bound() const;

  /// Writes the stream to out and returns its size. The encoder cannot be used afterwards.
  /// Throws InvalidArgument when out is smaller than encoded_bound(), or when called twice; when
  /// escapes take 4 GiB in one piece, or a push 16 GiB in segments. After any exception out is
  /// unspecified and the encoder as it was.
  std::size_t finish(std::span<std::uint8_t> out);
  /// The same, allocating.
  [[nodiscard]] std::vector<std::uint8_t> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads a stream; pull() must follow the pushes, with the same rows and tables. Any bytes give
/// symbols or a BitstreamError naming the byte offset. One thread at a time.
class Decoder {
 public:
  /// Borrows data, which must outlive the decoder. Throws BitstreamError on a bad head.
  explicit Decoder(std::span<const std::uint8_t> data);
  /// The same for a stream whose descriptor byte is kept elsewhere.
  Decoder(std::uint8_t descriptor, std::span<const std::uint8_t> data);
  // a temporary would be gone before the first pull
  explicit Decoder(const std::vector<std::uint8_t>&& data) = delete;
  Decoder(std::uint8_t descriptor, const std::vector<std::uint8_t>&& data) = delete;
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Writes out.size() symbols; rows is that many or one number.
  /// A stream cut after the last word these symbols need still gives them.
  /// Throws InvalidArgument (a row outside the tables, sizes that differ, an out that shares memory
  /// with rows or the stream) and then leaves the decoder as it was; or BitstreamError. After that
  /// and after any other exception, std::bad_alloc for one, out is unspecified and the decoder
  /// answers nothing but BitstreamError.
  void pull(Rows rows, const TableSet& tables, std::span<std::int32_t> out);

  /// Verifies that every lane is back at its start and every word and escape bit was used.
  /// Throws BitstreamError.
  void finish();

  /// Number of interleaved states; of a stream of segments, of which each has its own, 0.
  [[nodiscard]] int lanes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Order-0 coding of bytes, self-describing: method, size, frequencies, rANS stream or segments;
/// stored when that is shorter. segment_bytes as an Encoder's segment_symbols, lanes as an
/// Encoder's, of each segment. Throws InvalidArgument.
[[nodiscard]] std::vector<std::uint8_t> encode_bytes(
    std::span<const std::uint8_t> data,
    std::optional<std::size_t> segment_bytes = std::nullopt,
    std::optional<int> lanes = std::nullopt);

/// The same into out, which must have encoded_bytes_bound() bytes, apart from data's; returns the
/// size.
std::size_t encode_bytes(std::span<const std::uint8_t> data,
                         std::span<std::uint8_t> out,
                         std::optional<std::size_t> segment_bytes = std::nullopt,
                         std::optional<int> lanes = std::nullopt);

/// Bytes that encoding n bytes needs room for; what it writes is at most n + 11 of them.
[[nodiscard]] std::size_t encoded_bytes_bound(
    std::size_t n, std::optional<std::size_t> segment_bytes = std::nullopt);

/// Size of what encode_bytes() coded. Throws BitstreamError on a bad head or above max_size. The
/// first 11 bytes suffice; where data is whole, stored bytes that are not all there are refused
/// too.
[[nodiscard]] std::size_t decoded_bytes_size(std::span<const std::uint8_t> data,
                                             std::size_t max_size,
                                             bool whole = false);

/// Inverse of encode_bytes(); out.size() must be decoded_bytes_size().
/// Throws BitstreamError, or InvalidArgument when out has another size or shares memory with data.
void decode_bytes(std::span<const std::uint8_t> data, std::span<std::uint8_t> out);

}  // namespace glc::rans

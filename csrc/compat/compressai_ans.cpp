// SPDX-License-Identifier: Apache-2.0
//
// The algebra is J. Duda's range ANS in the 64-bit form that F. Giesen placed in the public domain
// (rans64): state in [2^31, 2^63), words of 32 bits. Escapes go through the same state as digits
// of 4 bits at uniform probability.
#include "glc/compressai_ans.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <string>

#include "compat/compressai_tables.h"
#include "core/little_endian.h"
#include "core/overlap.h"
#include "glc/error.h"

namespace glc::compressai {
namespace {

constexpr std::uint64_t kStateLow = std::uint64_t{1} << 31;
constexpr std::uint64_t kStateHigh = std::uint64_t{1} << 63;
constexpr int kDigitBits = 4;
constexpr std::uint32_t kDigitMask = (1U << kDigitBits) - 1;
// Larger numbers hang CompressAI's encoder: it shifts a 32-bit number by 32.
constexpr std::uint32_t kMaxDigits = 7;
constexpr std::int64_t kMaxNumber = (std::int64_t{1} << (kDigitBits * kMaxDigits)) - 1;
constexpr std::size_t kWordBytes = 4;
constexpr std::size_t kHeadBytes = 8;

// The number coded for v, the distance of an escaped symbol from its row's offset.
std::int64_t escape_number(std::int64_t v, std::int64_t n_direct) {
  return v < 0 ? -2 * v - 1 : 2 * (v - n_direct);
}

std::uint32_t digits_of(std::uint32_t number) {
  return (static_cast<std::uint32_t>(std::bit_width(number)) + kDigitBits - 1) / kDigitBits;
}

// Writes words from the end of a buffer towards its front, as the encoder runs backwards.
struct WordSink {
  std::uint64_t state;
  std::uint32_t* words;

  void make_room(std::uint64_t limit) {
    if (state >= limit) {
      *--words = static_cast<std::uint32_t>(state);
      state >>= 32;
    }
  }
  void digit(std::uint32_t value) {
    make_room(kStateHigh >> kDigitBits);
    state = state << kDigitBits | value;
  }
  void number(std::uint32_t value) {
    const std::uint32_t n_digits = digits_of(value);
    for (std::uint32_t d = n_digits; d-- > 0;) digit(value >> (kDigitBits * d) & kDigitMask);
    digit(n_digits);
  }
  void bin(const EncodeBin& bin) {
    make_room((std::uint64_t{bin.freq_minus_1} + 1) * (kStateHigh >> kBits));
    state = encode_step(state, bin);
  }
};

}  // namespace

void AnsEncoder::push(std::span<const std::int32_t> symbols,
                      std::span<const std::int32_t> rows,
                      const AnsTables& tables) {
  const AnsTableData& data = tables.data();
  check_rows(rows, symbols.size(), tables.rows());
  const std::size_t n_bins = bins_.size();
  const std::size_t n_escapes = escapes_.size();
  const auto fail = [&](std::size_t i, const std::string& what) {
    throw InvalidArgument("compressai: symbols: expected " + what + ", got " +
                          std::to_string(symbols[i]) + " at symbol " + std::to_string(i));
  };
  try {
    bins_.resize(n_bins + symbols.size());
    std::uint32_t* const bins = bins_.data() + n_bins;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const AnsRow& row = data.rows[static_cast<std::size_t>(rows[i])];
      const std::int64_t v = std::int64_t{symbols[i]} - row.offset;
      const bool direct = static_cast<std::uint64_t>(v) < row.n_direct;
      bins[i] = row.encode_base + (direct ? static_cast<std::uint32_t>(v) : row.n_direct);
      if (data.encode[bins[i]].kind == kDirect) [[likely]]
        continue;
      if (data.encode[bins[i]].kind == kAbsent) fail(i, "a symbol of frequency >= 1");
      const std::int64_t number = escape_number(v, row.n_direct);
      if (number > kMaxNumber) fail(i, "an escape of at most 28 bits");
      escapes_.push_back(static_cast<std::uint32_t>(number));
    }
    pushes_.push_back({tables, bins_.size()});
  } catch (...) {
    bins_.resize(n_bins);
    escapes_.resize(n_escapes);
    throw;
  }
}

std::vector<std::uint8_t> AnsEncoder::finish() {
  std::size_t capacity = bins_.size() + kHeadBytes / kWordBytes;
  for (const std::uint32_t number : escapes_) capacity += digits_of(number) + 1;
  const auto buffer = std::make_unique_for_overwrite<std::uint32_t[]>(capacity);
  std::uint32_t* const end = buffer.get() + capacity;
  WordSink sink{kStateLow, end};
  std::size_t escape = escapes_.size();
  for (std::size_t p = pushes_.size(); p-- > 0;) {
    const EncodeBin* const encode = pushes_[p].tables.data().encode.data();
    const std::size_t begin = p == 0 ? 0 : pushes_[p - 1].end;
    for (std::size_t i = pushes_[p].end; i-- > begin;) {
      const EncodeBin& bin = encode[bins_[i]];
      if (bin.kind == kEscape) [[unlikely]]
        sink.number(escapes_[--escape]);
      sink.bin(bin);
    }
  }
  *--sink.words = static_cast<std::uint32_t>(sink.state >> 32);
  *--sink.words = static_cast<std::uint32_t>(sink.state);

  std::vector<std::uint8_t> stream(static_cast<std::size_t>(end - sink.words) * kWordBytes);
  std::uint8_t* out = stream.data();
  for (const std::uint32_t* word = sink.words; word != end; ++word, out += kWordBytes) {
    store_u32(out, *word);
  }
  pushes_.clear();
  bins_.clear();
  escapes_.clear();
  return stream;
}

namespace {

[[noreturn]] void fail_stream(const std::string& what, std::size_t offset) {
  throw BitstreamError("compressai: " + what + " (at byte " + std::to_string(offset) + ")");
}

// The decoder's state in registers for the time of one pull.
struct WordSource {
  std::uint64_t state;
  const std::uint8_t* next;
  const std::uint8_t* end;
  const std::uint8_t* begin;

  [[nodiscard]] std::size_t offset() const { return static_cast<std::size_t>(next - begin); }

  void refill() {
    if (state >= kStateLow) return;
    if (static_cast<std::size_t>(end - next) < kWordBytes) {
      fail_stream("words: the data is truncated", offset());
    }
    state = state << 32 | load_u32(next);
    next += kWordBytes;
  }
  std::uint32_t digit() {
    const auto value = static_cast<std::uint32_t>(state) & kDigitMask;
    state >>= kDigitBits;
    refill();
    return value;
  }
  // The distance of an escaped symbol from its row's offset.
  std::int64_t escape(std::int64_t n_direct) {
    const std::size_t at = offset();
    const std::uint32_t n_digits = digit();
    if (n_digits > kMaxDigits) {
      fail_stream("escape: expected at most 7 digits, got " + std::to_string(n_digits), at);
    }
    std::uint32_t number = 0;
    for (std::uint32_t d = 0; d < n_digits; ++d) number |= digit() << (kDigitBits * d);
    const std::int64_t half = number >> 1;
    return (number & 1) != 0 ? -half - 1 : half + n_direct;
  }
};

}  // namespace

AnsDecoder::AnsDecoder(std::span<const std::uint8_t> data) : data_(data) {
  if (data.size() < kHeadBytes) {
    fail_stream("state: expected 8 bytes, got " + std::to_string(data.size()), 0);
  }
  state_ = std::uint64_t{load_u32(data.data() + kWordBytes)} << 32 | load_u32(data.data());
  if (state_ < kStateLow || state_ >= kStateHigh) fail_stream("state: out of range", 0);
  next_ = kHeadBytes;
}

void AnsDecoder::pull(std::span<const std::int32_t> rows,
                      const AnsTables& tables,
                      std::span<std::int32_t> out) {
  const AnsTableData& data = tables.data();
  check_rows(rows, out.size(), tables.rows());
  require_apart(rows, out, "compressai: out: expected memory apart from the indexes'");
  require_apart(data_, out, "compressai: out: expected memory apart from the stream's");
  if (failed_) fail_stream("pull: an earlier pull failed", next_);
  failed_ = true;  // until every symbol is there
  WordSource source{state_, data_.data() + next_, data_.data() + data_.size(), data_.data()};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto r = static_cast<std::size_t>(rows[i]);
    const AnsRow& row = data.rows[r];
    const std::uint32_t slot = static_cast<std::uint32_t>(source.state) & (kTotal - 1);
    const FoundBin bin = find_bin(data, r, slot);
    if (bin.number > row.n_direct) [[unlikely]]
      fail_stream("words: no symbol of the row has this slot", source.offset());
    source.state = bin.freq * (source.state >> kBits) + (slot - bin.start);
    source.refill();
    std::int64_t symbol = bin.number;
    if (bin.number == row.n_direct) [[unlikely]]
      symbol = source.escape(row.n_direct);
    symbol += row.offset;
    if (symbol < INT32_MIN || symbol > INT32_MAX) [[unlikely]]
      fail_stream("escape: the symbol leaves the int32 range", source.offset());
    out[i] = static_cast<std::int32_t>(symbol);
  }
  state_ = source.state;
  next_ = source.offset();
  failed_ = false;
}

}  // namespace glc::compressai

// SPDX-License-Identifier: Apache-2.0
//
// The host's side of the CUDA coder: tables as the kernels read them, and errors as exceptions.
//
//   decode   entries   SlotEntry [bins]
//            buckets   u16 or u32 [rows << bucket_bits]   bin of the bucket's first slot
//   encode   entries   EncodeEntry [bins + 1]
//            rows      RowInfo [rows]
//
// Bins of frequency 0 have a decode entry too; it is one that no slot matches.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "glc/cuda/rans.h"
#include "glc/error.h"
#include "rans/rans_cuda_error.h"
#include "rans/tables.h"

namespace glc::cuda {
namespace {

// Two blocks of 512 threads share the 227 KiB of a Hopper processor, 1 KiB of each its own.
constexpr std::size_t kGoodDecodeBytes = (112 << 10) - kRansWindowsBytes;
constexpr int kMostBucketBits = 10;
constexpr int kFewestBucketBits = 6;
constexpr std::size_t kNarrowBins = 65536;

std::uint32_t aligned(std::size_t bytes) {
  return static_cast<std::uint32_t>((bytes + kRansAlign - 1) / kRansAlign * kRansAlign);
}

/// What the decoder needs of one bin.
struct SlotEntry {
  std::uint16_t start;
  std::uint16_t freq;  ///< less RansTablesLayout::freq_less
  std::int32_t value;  ///< decoded symbol, or kEscapeValue
};

/// Whether a bin has all slots of 16 bits.
bool has_certain_bin(const rans::TableData& data) {
  return std::any_of(data.encode.begin(), data.encode.end(), [](const rans::EncodeEntry& entry) {
    return entry.reciprocal != 0 && entry.freq_minus_1 == 0xFFFFU;
  });
}

std::vector<SlotEntry> slot_entries(const rans::TableData& data, std::uint32_t freq_less) {
  std::vector<SlotEntry> entries(data.encode.size());
  for (std::size_t row = 0; row < data.rows.size(); ++row) {
    std::uint32_t next_start = 0;
    const rans::RowInfo& info = data.rows[row];
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(data.n_bins[row]); ++i) {
      const rans::EncodeEntry& entry = data.encode[info.encode_base + i];
      SlotEntry& bin = entries[info.encode_base + i];
      if (entry.reciprocal == 0) {  // no slot, or the one before, which is some other bin's
        bin = {.start = static_cast<std::uint16_t>(next_start - freq_less), .freq = 0, .value = 0};
        continue;
      }
      const std::uint32_t freq = std::uint32_t{entry.freq_minus_1} + 1U;
      bin = {.start = entry.start,
             .freq = static_cast<std::uint16_t>(freq - freq_less),
             .value = i < info.n_direct ? static_cast<std::int32_t>(info.offset + std::int64_t{i})
                                        : rans::kEscapeValue};
      next_start = std::uint32_t{entry.start} + freq;
    }
  }
  return entries;
}

/// Bin of each bucket's first slot.
template <class Bucket>
std::vector<Bucket> decode_buckets(const rans::TableData& data, int bucket_bits) {
  const int shift = data.bits - bucket_bits;
  std::vector<Bucket> buckets;
  buckets.reserve(data.rows.size() << bucket_bits);
  for (std::size_t row = 0; row < data.rows.size(); ++row) {
    std::size_t bin = data.rows[row].encode_base;
    for (std::uint32_t bucket = 0; bucket < 1U << bucket_bits; ++bucket) {
      const std::uint32_t slot = bucket << shift;
      while (data.encode[bin].reciprocal == 0 ||
             slot - data.encode[bin].start > data.encode[bin].freq_minus_1) {
        ++bin;
      }
      buckets.push_back(static_cast<Bucket>(bin));
    }
  }
  return buckets;
}

std::size_t decode_bytes(const rans::TableData& data, int bucket_bits, bool wide) {
  return sizeof(SlotEntry) * data.encode.size() + 2 * kRansAlign +
         ((wide ? 4 : 2) * data.rows.size() << bucket_bits);
}

struct Message {
  RansError error;
  const char* text;
};
constexpr std::array<Message, static_cast<std::size_t>(RansError::kLast) + 1> kMessages = {{
    {RansError::kNoSegments, "descriptor: expected a stream of segments"},
    {RansError::kOneStream, "method: expected one with segments"},
    {RansError::kDescriptor, "descriptor: reserved bits are set"},
    {RansError::kRecordCut, "record: truncated"},
    {RansError::kRecordDescriptor,
     "record descriptor: more than 32 lanes, or reserved bits are set"},
    {RansError::kSegmentSymbols, "segment symbols: expected a multiple of 32 in 32..2^30"},
    {RansError::kSegments, "segments: not as many as the symbols need"},
    {RansError::kEnds, "segment ends: expected ascending ends inside the data"},
    {RansError::kStatesCut, "states: truncated"},
    {RansError::kState, "states: expected at least 65536"},
    {RansError::kWordsCut, "words: the data is truncated"},
    {RansError::kEscapeUnannounced, "words: an escape in a record without"},
    {RansError::kEscapeNumber, "escape section: truncated, or a number too large"},
    {RansError::kEscapeRange, "escape section: a symbol leaves the int32 range"},
    {RansError::kEscapePadding, "escape section: padding bits are set"},
    {RansError::kFinalState, "words: a lane does not end in its initial state"},
    {RansError::kWordsLeft, "words: bytes are left over"},
    {RansError::kPadding, "padding: expected zero bytes"},
    {RansError::kStreamLeft, "bytes are left over"},
    {RansError::kMethod, "method: expected 0..4"},
    {RansError::kSize, "size: not that of out"},
    {RansError::kFrequencies, "frequencies: truncated, or of another sum than 4096"},
    {RansError::kDataCut, "data: truncated, or bytes are left over"},
    {RansError::kRow, "rows: expected a row of the tables"},
    {RansError::kSymbol, "symbols: expected a symbol that its row can code"},
    {RansError::kCapacity, "out: expected room for"},
    {RansError::kTooLarge, "push: expected at most 16 GiB of words; use several pushes"},
}};

}  // namespace

RansTables::RansTables(const rans::TableSet& tables) {
  const rans::TableData& data = tables.data();
  const bool wide = data.encode.size() > kNarrowBins;
  int bucket_bits = std::min(data.bits, kMostBucketBits);
  while (bucket_bits > kFewestBucketBits &&
         decode_bytes(data, bucket_bits, wide) > kGoodDecodeBytes) {
    --bucket_bits;
  }
  const auto n_bins = static_cast<std::uint32_t>(data.encode.size());
  const auto n_rows = static_cast<std::uint32_t>(data.rows.size());
  layout_ = {.n_rows = n_rows,
             .n_bins = n_bins,
             .buckets_at = aligned(sizeof(SlotEntry) * std::size_t{n_bins}),
             .rows_at = aligned(sizeof(rans::EncodeEntry) * (std::size_t{n_bins} + 1)),
             .bits = static_cast<std::uint8_t>(data.bits),
             .bucket_bits = static_cast<std::uint8_t>(bucket_bits),
             .escape = data.escape,
             .wide_buckets = wide,
             .freq_less = static_cast<std::uint8_t>(has_certain_bin(data) ? 1 : 0)};
  const std::size_t n_buckets = std::size_t{n_rows} << bucket_bits;
  layout_.encode_at = layout_.decode_bytes =
      aligned(layout_.buckets_at + (wide ? 4 : 2) * n_buckets);
  layout_.encode_bytes = aligned(layout_.rows_at + sizeof(rans::RowInfo) * std::size_t{n_rows});
  blob_.resize(std::size_t{layout_.encode_at} + layout_.encode_bytes);

  const auto put = [this](std::size_t at, const auto& items) {
    std::memcpy(&blob_[at], items.data(), items.size() * sizeof(items[0]));
  };
  put(0, slot_entries(data, layout_.freq_less));
  if (wide) {
    put(layout_.buckets_at, decode_buckets<std::uint32_t>(data, bucket_bits));
  } else {
    put(layout_.buckets_at, decode_buckets<std::uint16_t>(data, bucket_bits));
  }
  put(layout_.encode_at, data.encode);
  put(std::size_t{layout_.encode_at} + layout_.rows_at, data.rows);
}

void rans_check(const RansProgress& progress) {
  if (progress.error == kRansNoError) return;
  const auto code = static_cast<RansError>(progress.error & 0xFFU);
  const std::uint64_t place = progress.error >> 8;
  const auto* const message = std::find_if(
      kMessages.begin(), kMessages.end(), [&](const Message& m) { return m.error == code; });
  if (message == kMessages.end()) throw CudaError("rans: progress: not written by this library");
  const std::string text = std::string("rans: ") + message->text;
  if (code == RansError::kRow || code == RansError::kSymbol) {
    throw InvalidArgument(text + ", got another at symbol " + std::to_string(place));
  }
  if (code == RansError::kCapacity) {
    throw InvalidArgument(text + " " + std::to_string(place) + " bytes");
  }
  if (code == RansError::kTooLarge) throw InvalidArgument(text);
  if (code == RansError::kNoSegments || code == RansError::kOneStream) {
    throw Unsupported(text + "; others are for the CPU (at byte " + std::to_string(place) + ")");
  }
  throw BitstreamError(text + " (in what begins at byte " + std::to_string(place) + ")");
}

}  // namespace glc::cuda

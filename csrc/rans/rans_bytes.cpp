// SPDX-License-Identifier: Apache-2.0
//
//   method u8 | size varint | method 0: the bytes as they are
//                           | method 1: frequencies, then a rANS stream without escapes
//                           | method 2: frequencies, zeros to a multiple of 4 bytes, a record of
//                             segments (segments.h)
//
// Frequencies sum to 4096 and are written as Elias-gamma numbers of freq + 1, byte values
// ascending; a zero is followed by the gamma number of the zeros that follow it, plus 1. The list
// ends when the sum is reached and is padded to a whole byte.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/thread_pool.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_kernels.h"
#include "rans/segments.h"
#include "rans/stream.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "bytes";
constexpr std::uint8_t kStored = 0;
constexpr std::uint8_t kRans = 1;
constexpr std::uint8_t kSegments = 2;
constexpr std::uint32_t kTotal = 1U << kByteBits;

// Method, size, and frequencies: at most 256 numbers of 25 bits.
constexpr std::size_t kMaxHeadBytes = 1 + 10 + 256 * 25 / 8 + kRecordAlign;

using ByteFreqs = std::array<std::uint32_t, 256>;

std::vector<std::uint8_t> write_freqs(const ByteFreqs& freqs) {
  BitWriter bits;
  std::uint32_t sum = 0;
  for (std::size_t value = 0; sum < kTotal; ++value) {
    bits.gamma(freqs[value] + 1U);
    sum += freqs[value];
    if (freqs[value] != 0) continue;
    std::size_t last = value;
    while (freqs[last + 1] == 0) ++last;
    bits.gamma(last - value + 1);
    value = last;
  }
  return bits.take();
}

ByteFreqs read_freqs(ByteReader& reader) {
  const std::size_t start = reader.position();
  // Longest list: 256 numbers of at most 25 bits.
  const std::size_t n_peek = std::min<std::size_t>(reader.remaining(), 1024);
  ByteReader peek = reader;
  BitReader bits(peek.bytes(n_peek, "frequencies"));
  const auto next = [&](std::uint64_t max) {
    const auto number = bits.gamma(kByteBits + 1);
    if (!number || *number > max) {
      reader.fail("frequencies", "truncated, or a number too large", start + bits.byte_position());
    }
    return static_cast<std::uint32_t>(*number);
  };
  ByteFreqs freqs{};
  std::uint32_t sum = 0;
  std::size_t value = 0;
  while (sum < kTotal) {
    if (value >= freqs.size()) reader.fail("frequencies", "expected a sum of 4096", start);
    freqs[value] = next(kTotal - sum + 1) - 1;
    sum += freqs[value];
    value += freqs[value] == 0 ? next(freqs.size()) : 1;
  }
  if (!bits.skip_padding()) {
    reader.fail("frequencies", "padding bits are set", start + bits.byte_position());
  }
  reader.bytes(bits.bytes_used(), "frequencies");
  return freqs;
}

std::array<EncodeEntry, 256> entries_of(const ByteFreqs& freqs) {
  std::array<EncodeEntry, 256> entries{};
  std::uint32_t start = 0;
  for (std::size_t value = 0; value < freqs.size(); ++value) {
    if (freqs[value] == 0) continue;
    entries[value] = {reciprocal_of(freqs[value]),
                      static_cast<std::uint16_t>(freqs[value] - 1),
                      static_cast<std::uint16_t>(start)};
    start += freqs[value];
  }
  return entries;
}

std::size_t store(std::span<const std::uint8_t> data, std::span<std::uint8_t> out) {
  ByteWriter head;
  head.u8(kStored);
  head.varint(data.size());
  std::copy_n(head.view().data(), head.size(), out.data());
  std::copy(data.begin(), data.end(), out.data() + head.size());
  return head.size() + data.size();
}

using Counts = std::array<std::uint64_t, 256>;

/// Four histograms, so that a run of one value does not wait for its own last increment.
void count_chunk(std::span<const std::uint8_t> data, Counts& counts) {
  std::array<std::array<std::uint32_t, 256>, 4> quarter{};
  std::size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, &data[i], sizeof(eight));
    for (unsigned j = 0; j < 8; ++j) ++quarter[j % 4][eight >> (8 * j) & 0xFFU];
  }
  for (; i < data.size(); ++i) ++quarter[0][data[i]];
  for (std::size_t value = 0; value < counts.size(); ++value) {
    counts[value] = std::uint64_t{quarter[0][value]} + quarter[1][value] + quarter[2][value] +
                    quarter[3][value];
  }
}

Counts count(std::span<const std::uint8_t> data) {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  std::vector<Counts> chunks((data.size() + kChunk - 1) / kChunk);
  parallel_for(chunks.size(), [&](std::size_t i) {
    count_chunk(data.subspan(i * kChunk, std::min(kChunk, data.size() - i * kChunk)), chunks[i]);
  });
  Counts total{};
  for (const Counts& chunk : chunks) {
    for (std::size_t value = 0; value < total.size(); ++value) total[value] += chunk[value];
  }
  return total;
}

/// The decode table of entries.h.
std::array<std::uint32_t, kTotal> slots_of(const ByteFreqs& freqs) {
  std::array<std::uint32_t, kTotal> slots;
  std::uint32_t slot = 0;
  for (std::uint32_t value = 0; value < freqs.size(); ++value) {
    for (std::uint32_t i = 0; i < freqs[value]; ++i) {
      slots[slot++] = value << 24 | i << 12 | (freqs[value] - 1U);
    }
  }
  return slots;
}

/// Writes method 1 after the head; returns the size of the whole.
std::size_t code_stream(std::span<const std::uint8_t> data,
                        const EncodeEntry* entries,
                        int lanes,
                        std::size_t head,
                        std::span<std::uint8_t> out) {
  std::uint32_t states[kMaxLanes];
  std::fill_n(states, lanes, kStateLow);
  std::uint8_t* const words_end = out.data() + out.size();
  EncodeRun<std::uint8_t> run{
      .indices = data.data(), .n = data.size(), .states = states, .words = words_end};
  encode_runs(entries, kByteBits, lanes, std::span(&run, 1));
  std::uint8_t* const body = out.data() + head;
  const auto n_bytes = static_cast<std::size_t>(words_end - run.words);
  std::memmove(body + kStateBytes * lanes, run.words, n_bytes);
  store_states(states, lanes, body);
  return head + static_cast<std::size_t>(kStateBytes * lanes) + n_bytes;
}

/// Reads what code_stream wrote.
void decode_stream(std::span<const std::uint8_t> data,
                   const std::uint32_t* slots,
                   ByteReader& reader,
                   std::span<std::uint8_t> out) {
  const std::size_t at = reader.position();
  const std::uint8_t descriptor = reader.u8("descriptor");
  if (descriptor > 5) reader.fail("descriptor", "expected log2 of the lanes, 0..5", at);
  const int lanes = 1 << descriptor;
  std::uint32_t states[kMaxLanes] = {};
  load_states(reader, lanes, states);
  static constexpr OneRow kRow{0};
  DecodeRun<OneRow, std::uint8_t> run{.rows = &kRow,
                                      .n = out.size(),
                                      .states = states,
                                      .next = data.data() + reader.position(),
                                      .end = data.data() + data.size(),
                                      .out = out.data()};
  decode_runs(slots, lanes, std::span(&run, 1));
  const auto offset = static_cast<std::size_t>(run.next - data.data());
  if (run.n != 0) reader.fail("words", "the data is truncated", offset);
  if (run.next != run.end) reader.fail("words", "bytes are left over", offset);
  if (std::any_of(states, states + lanes, [](std::uint32_t x) { return x != kStateLow; })) {
    reader.fail("words", "a lane does not end in its initial state", offset);
  }
}

}  // namespace

std::size_t encoded_bytes_bound(std::size_t n, std::optional<std::size_t> segment_bytes) {
  // Without segment_bytes, segments of bytes that cost 8 bits each are the most there can be.
  const Segmentation cut =
      segmentation(n,
                   std::uint64_t{n} << 19,
                   kMaxLanes,
                   segment_bytes.value_or(kNoSegments) == 0 ? std::nullopt : segment_bytes);
  return kMaxHeadBytes + record_bound(n, 0, cut);
}

std::size_t encode_bytes(std::span<const std::uint8_t> data,
                         std::span<std::uint8_t> out,
                         std::optional<std::size_t> segment_bytes) {
  if (segment_bytes && *segment_bytes != kNoSegments) check_segment_symbols(*segment_bytes);
  const std::size_t bound = encoded_bytes_bound(data.size(), segment_bytes);
  if (out.size() < bound) {
    throw InvalidArgument("bytes: out: expected at least " + std::to_string(bound) +
                          " bytes, got " + std::to_string(out.size()));
  }
  if (data.empty()) return store(data, out);
  const Counts counts = count(data);
  ByteFreqs freqs{};
  cdf::normalise(counts, kByteBits, freqs);
  std::uint64_t cost = 0;
  for (std::size_t value = 0; value < freqs.size(); ++value) {
    if (freqs[value] != 0) cost += counts[value] * symbol_cost(freqs[value], kByteBits);
  }
  const bool segmented = segment_bytes ? *segment_bytes != kNoSegments : worth_segments(cost);
  const int lanes = lanes_for_cost(cost);
  const Segmentation cut =
      segmented ? segmentation(data.size(), cost, std::nullopt, segment_bytes) : Segmentation{};

  ByteWriter head;
  head.u8(segmented ? kSegments : kRans);
  head.varint(data.size());
  head.bytes(write_freqs(freqs));
  if (segmented) {
    while (head.size() % kRecordAlign != 0) head.u8(0);
  } else {
    head.u8(descriptor_of(lanes, false));
  }
  const std::size_t size =
      segmented
          ? head.size() +
                write_record<std::uint8_t>(
                    entries_of(freqs).data(), kByteBits, data, {}, cut, out.subspan(head.size()))
          : code_stream(data, entries_of(freqs).data(), lanes, head.size(), out);
  if (size >= 1 + varint_bytes(data.size()) + data.size()) return store(data, out);
  std::copy_n(head.view().data(), head.size(), out.data());
  return size;
}

std::vector<std::uint8_t> encode_bytes(std::span<const std::uint8_t> data,
                                       std::optional<std::size_t> segment_bytes) {
  const std::size_t bound = encoded_bytes_bound(data.size(), segment_bytes);
  const auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(bound);
  const std::size_t size = encode_bytes(data, {buffer.get(), bound}, segment_bytes);
  return {buffer.get(), buffer.get() + size};
}

std::size_t decoded_bytes_size(std::span<const std::uint8_t> data, std::size_t max_size) {
  ByteReader reader(data, kContext);
  const std::uint8_t method = reader.u8("method");
  if (method > kSegments) {
    reader.fail("method", "expected 0, 1 or 2, got " + std::to_string(method), 0);
  }
  return static_cast<std::size_t>(reader.varint("size", max_size));
}

void decode_bytes(std::span<const std::uint8_t> data, std::span<std::uint8_t> out) {
  const std::size_t n = decoded_bytes_size(data, SIZE_MAX);
  if (out.size() != n) {
    throw InvalidArgument("bytes: out: expected " + std::to_string(n) + " bytes, got " +
                          std::to_string(out.size()));
  }
  ByteReader reader(data, kContext);
  const std::uint8_t method = reader.u8("method");
  reader.varint("size", SIZE_MAX);
  if (method == kStored) {
    const auto bytes = reader.bytes(n, "data");
    reader.finish();
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return;
  }

  const auto slots = slots_of(read_freqs(reader));
  if (method == kRans) return decode_stream(data, slots.data(), reader, out);
  while (reader.position() % kRecordAlign != 0) {
    const std::size_t at = reader.position();
    if (reader.u8("padding") != 0) reader.fail("padding", "expected a zero byte", at);
  }
  const std::size_t end = read_record(data, reader.position(), slots.data(), out);
  if (end != data.size()) reader.fail("record", "bytes are left over", end);
}

}  // namespace glc::rans

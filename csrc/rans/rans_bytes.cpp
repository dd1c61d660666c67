// SPDX-License-Identifier: Apache-2.0
//
// Order-0 coding of bytes; docs/format.md, "Order-0 bytes", is the specification. A message is a
// method, its size, a table (byte_tables.h) and a coder stream or a record of segments.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "core/big_array.h"
#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/overlap.h"
#include "core/thread_pool.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/byte_tables.h"
#include "rans/rans_kernels.h"
#include "rans/segments.h"
#include "rans/stream.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "bytes";
/// What follows the size; those with rare values have a list of them and escapes.
enum class Method : std::uint8_t { kStored, kRans, kSegments, kRareRans, kRareSegments };

constexpr bool in_segments(Method m) {
  return m == Method::kSegments || m == Method::kRareSegments;
}
constexpr bool has_rare_values(Method m) {
  return m == Method::kRareRans || m == Method::kRareSegments;
}
constexpr Method method_of(bool segments, bool rare_values) {
  if (rare_values) return segments ? Method::kRareSegments : Method::kRareRans;
  return segments ? Method::kSegments : Method::kRans;
}

constexpr std::size_t kMaxHeadBytes = 1 + 10 + kMaxByteTableBytes + kRecordAlign;

std::size_t store(std::span<const std::uint8_t> data, std::span<std::uint8_t> out) {
  ByteWriter head;
  head.u8(static_cast<std::uint8_t>(Method::kStored));
  head.varint(data.size());
  std::copy_n(head.view().data(), head.size(), out.data());
  std::copy(data.begin(), data.end(), out.data() + head.size());
  return head.size() + data.size();
}

/// Four histograms, so that a run of one value does not wait for its own last increment.
void count_chunk(std::span<const std::uint8_t> data, ByteCounts& counts) {
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

ByteCounts count(std::span<const std::uint8_t> data) {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  std::vector<ByteCounts> chunks((data.size() + kChunk - 1) / kChunk);
  parallel_for(chunks.size(), [&](std::size_t i) {
    count_chunk(data.subspan(i * kChunk, std::min(kChunk, data.size() - i * kChunk)), chunks[i]);
  });
  ByteCounts total{};
  for (const ByteCounts& chunk : chunks) {
    for (std::size_t value = 0; value < total.size(); ++value) total[value] += chunk[value];
  }
  return total;
}

/// Writes a stream after the head, numbers being its escape section; returns the size of the whole.
/// Lane 0 vouches for all of it.
std::size_t code_stream(std::span<const std::uint8_t> data,
                        const EncodeEntry* entries,
                        std::span<const std::uint8_t> numbers,
                        int lanes,
                        ByteWriter& head,
                        std::span<std::uint8_t> out) {
  std::uint32_t states[kMaxLanes];
  const std::uint32_t check = check_of(numbers, check_of(head.view()));
  start_states(states, lanes, check_with_sum<std::uint8_t>(check, byte_sum(data)));
  write_stream_head(lanes, numbers, head);
  std::uint8_t* const words_end = out.data() + out.size();
  EncodeRun<std::uint8_t> run{
      .indices = data.data(), .n = data.size(), .states = states, .words = words_end};
  encode_runs(entries, kByteBits, lanes, std::span(&run, 1));
  std::uint8_t* const body = out.data() + head.size();
  const auto n_bytes = static_cast<std::size_t>(words_end - run.words);
  std::memmove(body + kStateBytes * lanes, run.words, n_bytes);
  store_states(states, lanes, body);
  return head.size() + static_cast<std::size_t>(kStateBytes * lanes) + n_bytes;
}

/// Decodes out block by block, the escapes of each from the same numbers; run has the states and
/// the words.
void decode_blocks(const ByteDecoder& bytes,
                   const ByteReader& reader,
                   const StreamHead& head,
                   std::span<const std::uint8_t> data,
                   std::span<std::uint8_t> out,
                   BitReader& numbers,
                   DecodeRun<OneRow, std::uint8_t>& run) {
  static_assert(kByteBlock % kSumPeriod == 0 && kByteBlock % kMaxLanes == 0);
  for (EscapePlaces places; !out.empty(); places.clear()) {
    const auto block = out.first(std::min(kByteBlock, out.size()));
    run.n = block.size();
    run.out = block.data();
    decode_runs(
        bytes.slots.data(), bytes.marker(), head.lanes, std::span(&run, 1), std::span(&places, 1));
    if (run.n != 0) {
      reader.fail(
          "words", "the data is truncated", static_cast<std::size_t>(run.next - data.data()));
    }
    if (const char* what = bytes.read_escapes(numbers, places, block.data(), run.sum)) {
      reader.fail("escapes", what, head.escapes_begin + numbers.byte_position());
    }
    out = out.subspan(block.size());
  }
}

/// Reads what code_stream wrote.
void decode_stream(std::span<const std::uint8_t> data,
                   const ByteDecoder& bytes,
                   ByteReader& reader,
                   std::span<std::uint8_t> out) {
  std::uint32_t check = check_of(data.first(reader.position()));
  const StreamHead head = read_stream_head(reader.u8("descriptor"), reader);
  std::uint32_t states[kMaxLanes] = {};
  load_states(reader, head.lanes, states);
  static constexpr OneRow kRow{0};
  DecodeRun<OneRow, std::uint8_t> run{.rows = &kRow,
                                      .n = 0,
                                      .states = states,
                                      .next = data.data() + reader.position(),
                                      .end = data.data() + data.size(),
                                      .out = nullptr};
  BitReader numbers(head.escapes);
  decode_blocks(bytes, reader, head, data, out, numbers, run);
  const auto offset = static_cast<std::size_t>(run.next - data.data());
  if (run.next != run.end) reader.fail("words", "bytes are left over", offset);
  check = check_with_sum<std::uint8_t>(check_of(head.escapes, check), run.sum);
  if (lane_astray(states, head.lanes, check) != head.lanes) {
    reader.fail("words", "a lane does not end in its initial state", offset);
  }
  if (!numbers.only_padding_left()) {
    reader.fail("escapes", "bits are left over", head.escapes_begin + numbers.byte_position());
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
                         std::optional<std::size_t> segment_bytes,
                         std::optional<int> lanes) {
  if (lanes) check_lanes(*lanes);
  if (segment_bytes && *segment_bytes != kNoSegments) check_segment_symbols(*segment_bytes);
  const std::size_t bound = encoded_bytes_bound(data.size(), segment_bytes);
  if (out.size() < bound) {
    throw InvalidArgument("bytes: out: expected at least " + std::to_string(bound) +
                          " bytes, got " + std::to_string(out.size()));
  }
  require_apart(data, out, "bytes: out: expected memory apart from the data's");
  if (data.empty()) return store(data, out);
  const ByteCounts counts = count(data);
  const ByteTable table = byte_table_for(counts);
  const std::array<EncodeEntry, 256> entries = byte_entries(table);
  const bool rare = !table.rare.empty();
  const std::uint64_t cost = byte_cost(table, counts);
  const bool segmented = segment_bytes ? *segment_bytes != kNoSegments : worth_segments(cost);

  const std::size_t stored_size = 1 + varint_bytes(data.size()) + data.size();
  ByteWriter head;
  head.u8(static_cast<std::uint8_t>(method_of(segmented, rare)));
  head.varint(data.size());
  head.bytes(write_byte_table(table));
  std::size_t size = 0;
  const RareValues rare_values(table.rare);
  if (segmented) {
    while (head.size() % kRecordAlign != 0) head.u8(0);
    const Segmentation cut = segmentation(data.size(), cost, lanes, segment_bytes);
    const EscapesOf escapes_of = [&](std::size_t begin, std::size_t end) {
      return rare_values.numbers_of(data.subspan(begin, end - begin));
    };
    // what would be longer than stored has no room, nor has what no record can hold
    const auto room = out.first(std::max(stored_size, head.size())).subspan(head.size());
    const std::size_t record_size = write_record<std::uint8_t>(entries.data(),
                                                               kByteBits,
                                                               data,
                                                               rare ? &escapes_of : nullptr,
                                                               cut,
                                                               check_of(head.view()),
                                                               {},
                                                               room);
    size = record_size == 0 ? stored_size : head.size() + record_size;
  } else {
    const auto numbers = rare ? rare_values.numbers_of(data) : std::vector<std::uint8_t>{};
    const int n_lanes = lanes.value_or(lanes_for_cost(cost));
    size = code_stream(data, entries.data(), numbers, n_lanes, head, out);
  }
  if (size >= stored_size) return store(data, out);
  std::copy_n(head.view().data(), head.size(), out.data());
  return size;
}

std::vector<std::uint8_t> encode_bytes(std::span<const std::uint8_t> data,
                                       std::optional<std::size_t> segment_bytes,
                                       std::optional<int> lanes) {
  const std::size_t bound = encoded_bytes_bound(data.size(), segment_bytes);
  const auto buffer = big_array<std::uint8_t>(bound);
  const std::size_t size = encode_bytes(data, {buffer.get(), bound}, segment_bytes, lanes);
  return {buffer.get(), buffer.get() + size};
}

std::size_t decoded_bytes_size(std::span<const std::uint8_t> data,
                               std::size_t max_size,
                               bool whole) {
  ByteReader reader(data, kContext);
  const std::uint8_t method = reader.u8("method");
  if (method > static_cast<std::uint8_t>(Method::kRareSegments)) {
    reader.fail("method", "expected 0..4, got " + std::to_string(method), 0);
  }
  const auto n = static_cast<std::size_t>(reader.varint("size", max_size));
  if (whole && static_cast<Method>(method) == Method::kStored) reader.bytes(n, "data");
  return n;
}

void decode_bytes(std::span<const std::uint8_t> data, std::span<std::uint8_t> out) {
  const std::size_t n = decoded_bytes_size(data, SIZE_MAX);
  if (out.size() != n) {
    throw InvalidArgument("bytes: out: expected " + std::to_string(n) + " bytes, got " +
                          std::to_string(out.size()));
  }
  require_apart(data, out, "bytes: out: expected memory apart from the data's");
  ByteReader reader(data, kContext);
  const auto method = static_cast<Method>(reader.u8("method"));
  reader.varint("size", SIZE_MAX);
  if (method == Method::kStored) {
    const auto bytes = reader.bytes(n, "data");
    reader.finish();
    std::copy(bytes.begin(), bytes.end(), out.begin());
    return;
  }

  const ByteTable table = read_byte_table(reader, has_rare_values(method));
  const ByteDecoder decoder(table);
  if (!in_segments(method)) return decode_stream(data, decoder, reader, out);
  while (reader.position() % kRecordAlign != 0) {
    const std::size_t at = reader.position();
    if (reader.u8("padding") != 0) reader.fail("padding", "expected a zero byte", at);
  }
  const std::size_t begin = reader.position();
  const std::size_t end = read_record(data, begin, decoder, check_of(data.first(begin)), out);
  if (end != data.size()) reader.fail("record", "bytes are left over", end);
}

}  // namespace glc::rans

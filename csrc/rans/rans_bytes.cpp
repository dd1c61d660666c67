// SPDX-License-Identifier: Apache-2.0
//
//   method u8 | size varint | method 0: the bytes as they are
//                           | method 1: frequencies, then a rANS stream without escapes
//
// Frequencies sum to 4096 and are written as Elias-gamma numbers of freq + 1, byte values
// ascending; a zero is followed by the gamma number of the zeros that follow it, plus 1. The list
// ends when the sum is reached and is padded to a whole byte.
#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_kernels.h"
#include "rans/stream.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "bytes";
constexpr std::uint8_t kStored = 0;
constexpr std::uint8_t kRans = 1;
constexpr std::uint32_t kTotal = 1U << kByteBits;

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

std::array<EncodeEntry, 256> encode_entries(const ByteFreqs& freqs) {
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

std::vector<std::uint8_t> stored(std::span<const std::uint8_t> data) {
  ByteWriter out;
  out.u8(kStored);
  out.varint(data.size());
  out.bytes(data);
  return out.take();
}

}  // namespace

std::vector<std::uint8_t> encode_bytes(std::span<const std::uint8_t> data) {
  if (data.empty()) return stored(data);
  // Four histograms, so that a run of one value does not wait for its own last increment.
  std::array<std::array<std::uint64_t, 256>, 4> counts{};
  for (std::size_t i = 0; i < data.size(); ++i) ++counts[i % 4][data[i]];
  for (std::size_t value = 0; value < 256; ++value) {
    counts[0][value] += counts[1][value] + counts[2][value] + counts[3][value];
  }
  ByteFreqs freqs{};
  cdf::normalise(counts[0], kByteBits, freqs);

  std::uint64_t cost = 0;
  for (std::size_t value = 0; value < freqs.size(); ++value) {
    if (freqs[value] != 0) cost += counts[0][value] * symbol_cost(freqs[value], kByteBits);
  }
  const int lanes = lanes_for_cost(cost);
  ByteWriter head;
  head.u8(kRans);
  head.varint(data.size());
  head.bytes(write_freqs(freqs));
  head.u8(descriptor_of(lanes, false));

  const std::size_t capacity = data.size() + 2 * static_cast<std::size_t>(lanes) + 1;
  const auto buffer = std::make_unique_for_overwrite<std::uint16_t[]>(capacity);
  std::uint16_t* const words_end = buffer.get() + capacity;
  std::uint32_t states[kMaxLanes];
  std::fill_n(states, lanes, kStateLow);
  const auto entries = encode_entries(freqs);
  std::uint16_t* words = encode_run_bytes(
      entries.data(), data.data(), data.size(), kByteBits, lanes, states, words_end);
  words = store_states(states, lanes, words);
  const auto n_words = static_cast<std::size_t>(words_end - words);
  if (head.size() + 2 * n_words >= 1 + varint_bytes(data.size()) + data.size()) {
    return stored(data);
  }
  std::vector<std::uint8_t> out(head.size() + 2 * n_words);
  std::copy_n(head.view().data(), head.size(), out.data());
  store_words(words, n_words, out.data() + head.size());
  return out;
}

std::size_t decoded_bytes_size(std::span<const std::uint8_t> data, std::size_t max_size) {
  ByteReader reader(data, kContext);
  const std::uint8_t method = reader.u8("method");
  if (method > kRans) reader.fail("method", "expected 0 or 1, got " + std::to_string(method), 0);
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

  const ByteFreqs freqs = read_freqs(reader);
  std::array<std::uint32_t, kTotal> slots;
  std::uint32_t slot = 0;
  for (std::uint32_t value = 0; value < freqs.size(); ++value) {
    for (std::uint32_t i = 0; i < freqs[value]; ++i) {
      slots[slot++] = value << 24 | i << 12 | (freqs[value] - 1U);
    }
  }
  const std::size_t at = reader.position();
  const std::uint8_t descriptor = reader.u8("descriptor");
  if (descriptor > 5) reader.fail("descriptor", "expected log2 of the lanes, 0..5", at);
  const int lanes = 1 << descriptor;
  std::uint32_t states[kMaxLanes] = {};
  load_states(reader, lanes, states);
  WordSource words{data.data() + reader.position(), data.data() + data.size()};
  const std::size_t n_decoded = decode_run_bytes(slots.data(), n, lanes, states, words, out.data());
  const std::size_t offset = data.size() - static_cast<std::size_t>(words.end - words.next);
  if (n_decoded != n) reader.fail("words", "the data is truncated", offset);
  if (words.next != words.end) reader.fail("words", "bytes are left over", offset);
  if (std::any_of(states, states + lanes, [](std::uint32_t x) { return x != kStateLow; })) {
    reader.fail("words", "a lane does not end in its initial state", offset);
  }
}

}  // namespace glc::rans

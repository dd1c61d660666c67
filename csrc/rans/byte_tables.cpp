// SPDX-License-Identifier: Apache-2.0
#include "rans/byte_tables.h"

#include <algorithm>
#include <string>
#include <utility>

#include "glc/cdf.h"
#include "glc/rans.h"
#include "rans/rans_kernels.h"
#include "rans/rans_state.h"
#include "rans/rare_choice.h"
#include "rans/stream_check.h"

namespace glc::rans {
namespace {

constexpr int kMaxRareBits = 9;  // of a number up to 256

/// Values that occur, but less than once in 4096 bytes; the rarest first, then the lower value.
std::vector<std::uint8_t> candidates_for_escape(const ByteCounts& counts, std::uint64_t n) {
  std::vector<std::uint8_t> values;
  for (std::size_t value = 0; value < counts.size(); ++value) {
    if (counts[value] != 0 && counts[value] * kByteTotal < n) {
      values.push_back(static_cast<std::uint8_t>(value));
    }
  }
  // not stable_sort: GCC 12's calls what it has itself deprecated, and clang says so
  std::ranges::sort(
      values, {}, [&](std::uint8_t value) { return std::pair(counts[value], value); });
  return values;
}

}  // namespace

ByteTable byte_table_for(const ByteCounts& counts) {
  std::uint64_t n = 0;
  for (const std::uint64_t count : counts) n += count;
  const std::vector<std::uint8_t> candidates = candidates_for_escape(counts, n);
  const std::size_t n_rare = choose_rare(counts.data(), candidates.data(), candidates.size(), n);

  ByteTable table;
  std::array<std::uint64_t, kByteEscape + 1> bins{};
  std::ranges::copy(counts, bins.begin());
  for (std::size_t k = n_rare; k-- > 0;) {
    table.rare.push_back(candidates[k]);
    bins[kByteEscape] += std::exchange(bins[candidates[k]], 0);
  }
  cdf::normalise(bins, kByteBits, table.freqs);
  return table;
}

std::uint64_t byte_cost(const ByteTable& table, const ByteCounts& counts) {
  std::uint64_t cost = 0;
  for (std::size_t value = 0; value < counts.size(); ++value) {
    if (table.freqs[value] != 0) {
      cost += counts[value] * symbol_cost(table.freqs[value], kByteBits);
    }
  }
  for (std::size_t place = 0; place < table.rare.size(); ++place) {
    const std::uint64_t number_bits = static_cast<unsigned>(gamma_bits(place + 1));
    cost += counts[table.rare[place]] *
            (symbol_cost(table.freqs[kByteEscape], kByteBits) + (number_bits << 16));
  }
  return cost;
}

std::vector<std::uint8_t> write_byte_table(const ByteTable& table) {
  BitWriter bits;
  if (!table.rare.empty()) {
    bits.gamma(table.rare.size());
    for (const std::uint8_t value : table.rare) bits.byte(value);
    bits.gamma(table.freqs[kByteEscape]);
  }
  std::uint32_t sum = table.freqs[kByteEscape];
  for (std::size_t value = 0; sum < kByteTotal; ++value) {
    bits.gamma(table.freqs[value] + 1U);
    sum += table.freqs[value];
    if (table.freqs[value] != 0) continue;
    std::size_t last = value;
    while (table.freqs[last + 1] == 0) ++last;
    bits.gamma(last - value + 1);
    value = last;
  }
  return bits.take();
}

ByteTable read_byte_table(ByteReader& reader, bool rare_values) {
  const std::size_t start = reader.position();
  ByteReader peek = reader;
  BitReader bits(peek.bytes(std::min(reader.remaining(), kMaxByteTableBytes), "frequencies"));
  const auto fail = [&](const char* what) {
    reader.fail("frequencies", what, start + bits.byte_position());
  };
  const auto next = [&](std::uint64_t most) {
    const auto number = bits.gamma(kByteBits + 1);
    if (!number || *number > most) fail("truncated, or a number too large");
    return static_cast<std::uint32_t>(*number);
  };
  ByteTable table;
  std::uint32_t sum = 0;
  if (rare_values) {
    table.rare.resize(next(kByteEscape));
    for (std::uint8_t& value : table.rare) {
      const auto byte = bits.byte();
      if (!byte) fail("truncated");
      value = byte.value_or(0);
    }
    sum = table.freqs[kByteEscape] = next(kByteTotal);
  }
  std::size_t value = 0;
  while (sum < kByteTotal) {
    if (value >= kByteEscape) reader.fail("frequencies", "expected a sum of 4096", start);
    table.freqs[value] = next(kByteTotal - sum + 1) - 1;
    sum += table.freqs[value];
    value += table.freqs[value] == 0 ? next(kByteEscape) : 1;
  }
  if (!bits.skip_padding()) fail("padding bits are set");
  std::array<bool, 256> seen{};
  for (const std::uint8_t rare : table.rare) {
    if (table.freqs[rare] != 0 || std::exchange(seen[rare], true)) {
      fail("expected different rare values without a frequency");
    }
  }
  reader.bytes(bits.bytes_used(), "frequencies");
  return table;
}

std::array<EncodeEntry, 256> byte_entries(const ByteTable& table) {
  std::array<EncodeEntry, 256> entries{};
  std::uint32_t start = 0;
  const auto next_bin = [&](std::uint32_t freq) {
    const EncodeEntry entry{reciprocal_of(freq),
                            static_cast<std::uint16_t>(freq - 1),
                            static_cast<std::uint16_t>(start)};
    start += freq;
    return entry;
  };
  for (std::size_t value = 0; value < entries.size(); ++value) {
    if (table.freqs[value] != 0) entries[value] = next_bin(table.freqs[value]);
  }
  if (table.rare.empty()) return entries;
  const EncodeEntry escape = next_bin(table.freqs[kByteEscape]);
  for (const std::uint8_t value : table.rare) entries[value] = escape;
  return entries;
}

ByteDecoder::ByteDecoder(const ByteTable& table) : rare(table.rare) {
  std::uint32_t slot = 0;
  for (std::size_t bin = 0; bin < table.freqs.size(); ++bin) {
    if (table.freqs[bin] == 0) continue;
    const auto value = static_cast<std::uint32_t>(bin == kByteEscape ? table.rare.front() : bin);
    for (std::uint32_t i = 0; i < table.freqs[bin]; ++i) {
      slots[slot++] = value << 24 | i << 12 | (table.freqs[bin] - 1U);
    }
  }
}

const char* ByteDecoder::read_escapes(BitReader& numbers,
                                      std::span<const std::uint32_t> places,
                                      std::uint8_t* bytes,
                                      std::uint32_t& sum) const {
  for (const std::uint32_t place : places) {
    const auto number = numbers.gamma(kMaxRareBits);
    if (!number) return "escape section: truncated, or a number too large";
    if (*number > rare.size()) return "escape section: a number beyond the rare values";
    const std::uint8_t value = rare[static_cast<std::size_t>(*number - 1)];
    const std::uint32_t change = std::uint32_t{value} - std::exchange(bytes[place], value);
    sum += sum_weight(place) * (change << 8 * (place % 2));
  }
  return nullptr;
}

RareValues::RareValues(std::span<const std::uint8_t> rare) {
  for (std::size_t place = 0; place < rare.size(); ++place) {
    const std::uint8_t value = rare[place];
    place_[value] = static_cast<std::uint8_t>(place);
    set_.has[value] = 1;
    std::uint8_t& eight = (value < 128 ? set_.low : set_.high)[value % 16];
    eight = static_cast<std::uint8_t>(eight | 1U << value / 16 % 8);
  }
}

std::vector<std::uint8_t> RareValues::numbers_of(std::span<const std::uint8_t> data) const {
  BitWriter bits;
  while (!data.empty()) {
    const auto piece = data.first(std::min(kByteBlock, data.size()));
    for (const std::uint32_t i : find_bytes(piece, set_)) bits.gamma(place_[piece[i]] + 1U);
    data = data.subspan(piece.size());
  }
  return bits.take();
}

}  // namespace glc::rans

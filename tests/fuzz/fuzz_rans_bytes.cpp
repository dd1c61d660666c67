// SPDX-License-Identifier: Apache-2.0
//
// The order-0 coder and the makers of tables against hostile input, on every back end (see
// fuzz_rans.cpp). The first byte of the input chooses what the others are:
//
//   0  a file as it stands                     3  cdfs as CompressAI has them
//   1  the table and what follows              4  frequencies
//   2  bytes to code, then damage              5  counts
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "everywhere.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "input.h"

namespace {

using Bytes = std::vector<std::uint8_t>;
using BytesView = std::span<const std::uint8_t>;
using Ints = std::vector<std::int32_t>;
using glc::fuzz::expect;
using glc::fuzz::Input;
using glc::fuzz::on_every_back_end;
using glc::rans::TableSet;

constexpr std::size_t kMaxBytes = std::size_t{1} << 16;

// ---------------------------------------------------------------------------------------- files

struct Outcome {
  Bytes bytes;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome read(BytesView file) {
  try {
    Bytes out(glc::rans::decoded_bytes_size(file, kMaxBytes));
    glc::rans::decode_bytes(file, out);
    return {.bytes = std::move(out), .error = {}};
  } catch (const glc::BitstreamError& error) {
    return {.bytes = {}, .error = error.what()};
  }
}

Outcome read_everywhere(BytesView file) {
  return on_every_back_end([&] { return read(file); });
}

void put_u32(std::size_t value, Bytes& file) {
  for (int i = 0; i < 4; ++i) file.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// The frequencies and data as they stand, between heads that let the reader get to the words.
Bytes file_with_heads(Input& input) {
  const auto method = static_cast<std::uint8_t>(1 + input.below(4));
  const bool segmented = method % 2 == 0;
  const std::size_t n = 128 + input.u16() % 2000;
  const BytesView freqs = input.take(1 + input.below(32));
  Bytes file;
  file.push_back(method);
  file.push_back(static_cast<std::uint8_t>(n | 0x80U));
  file.push_back(static_cast<std::uint8_t>(n >> 7));
  file.insert(file.end(), freqs.begin(), freqs.end());
  const std::uint8_t descriptor = input.u8() & (method > 2 ? 0x0DU : 5U);  // lanes, escapes
  if (!segmented) {
    file.push_back(descriptor);
  } else {
    file.resize((file.size() + 3) / 4 * 4);
    put_u32(descriptor, file);
    put_u32(1U << 11, file);
    put_u32((n + 2047) / 2048, file);
    const std::size_t n_words = (input.size() + 3) / 4;
    if (n > 2048) put_u32(n_words / 2, file);
    put_u32(n_words, file);
  }
  const BytesView rest = input.rest();
  file.insert(file.end(), rest.begin(), rest.end());
  if (segmented) file.resize((file.size() + 3) / 4 * 4);
  return file;
}

void write_damage_read(Input input) {
  const std::size_t cuts[] = {0, 0, 32, 64, 96, 256, 1024};
  const std::size_t cut = input.one_of(cuts);
  Input edits(input.take(32));
  const std::size_t n_times = 1 + input.below(8);
  const BytesView once = input.rest();
  Bytes data;
  for (std::size_t i = 0; i < n_times; ++i) data.insert(data.end(), once.begin(), once.end());
  data.resize(std::min(data.size(), kMaxBytes));
  Bytes file = on_every_back_end([&] { return glc::rans::encode_bytes(data, cut); });
  expect(file.size() <= data.size() + 11);
  const Outcome good = read_everywhere(file);
  expect(good.error.empty() && good.bytes == data);
  glc::fuzz::damage(edits, file);
  read_everywhere(file);
}

// --------------------------------------------------------------------------------------- tables

Ints take_ints(Input& input, std::size_t n, std::int32_t below) {
  Ints out(n);
  for (auto& value : out) {
    value = static_cast<std::int32_t>(input.u32());
    if (below != 0) value %= below;
  }
  return out;
}

/// Tables that were accepted code every symbol that they hold.
void use(const TableSet& tables) {
  const std::vector<std::uint32_t> freqs = tables.freqs();
  Ints symbols;
  Ints rows;
  std::size_t bin = 0;
  for (std::size_t row = 0; row < tables.rows(); ++row) {
    const auto n_bins = static_cast<std::size_t>(tables.n_bins()[row]);
    expect(std::accumulate(freqs.begin() + static_cast<std::ptrdiff_t>(bin),
                           freqs.begin() + static_cast<std::ptrdiff_t>(bin + n_bins),
                           std::uint64_t{0}) == std::uint64_t{1} << tables.bits());
    for (std::size_t i = 0; i < n_bins; ++i, ++bin) {
      if (freqs[bin] == 0) continue;
      symbols.push_back(static_cast<std::int32_t>(
          static_cast<std::uint32_t>(tables.offsets()[row]) + static_cast<std::uint32_t>(i)));
      rows.push_back(static_cast<std::int32_t>(row));
    }
  }
  const Bytes stream = on_every_back_end([&] {
    glc::rans::Encoder encoder;
    encoder.push(symbols, std::span<const std::int32_t>(rows), tables);
    return encoder.finish();
  });
  const Ints out = on_every_back_end([&] {
    Ints back(symbols.size());
    glc::rans::Decoder decoder(stream);
    decoder.pull(std::span<const std::int32_t>(rows), tables, back);
    decoder.finish();
    return back;
  });
  expect(out == symbols);
}

void cdfs(Input input) {
  const int bits = 7 + static_cast<int>(input.below(11));
  const bool sorted = input.below(2) == 1;
  const Ints sizes = take_ints(input, 2, input.below(2) == 1 ? 8 : 0);
  const Ints offsets = take_ints(input, 2, 0);
  const std::size_t width = 1 + input.below(40);
  Ints values = take_ints(input, 2 * width, sorted ? 65536 : 0);
  for (std::size_t r = 0; sorted && r < 2; ++r) {
    const auto row = std::span(values).subspan(r * width, width);
    for (auto& value : row) value &= (1 << bits) - 1;
    std::sort(row.begin(), row.end());
    row[0] = 0;
    const auto last = static_cast<std::size_t>(sizes[r]) - 1;
    if (last < width) row[last] = 1 << bits;
  }
  use(TableSet::from_cdfs(values, width, sizes, offsets, bits));
}

void freqs(Input input) {
  const int bits = 7 + static_cast<int>(input.below(11));
  const bool escape = input.below(2) == 1;
  const Ints n_bins = take_ints(input, 2, input.below(2) == 1 ? 40 : 0);
  const Ints offsets = take_ints(input, 2, 0);
  std::vector<std::uint32_t> values;
  while (input.size() != 0 && values.size() < 100) values.push_back(input.u16());
  const auto split = static_cast<std::size_t>(n_bins[0]);
  if (input.below(2) == 0 && split < values.size() && split != 0) {  // let the sums be right
    const auto settle = [&](std::size_t first, std::size_t last) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end = values.begin() + static_cast<std::ptrdiff_t>(last) - 1;
      *end = (1U << bits) - std::accumulate(begin, end, 0U);
    };
    settle(0, split);
    settle(split, values.size());
  }
  use(TableSet::from_freqs(values, n_bins, offsets, bits, escape));
}

void counts(Input input) {
  const int bits = 7 + static_cast<int>(input.below(11));
  const bool escape = input.below(2) == 1;
  const int shift = static_cast<int>(input.below(40));
  std::vector<std::uint64_t> values;
  while (input.size() != 0 && values.size() < 300) {
    values.push_back(std::uint64_t{input.u16()} << shift);
  }
  const Ints n_bins = {static_cast<std::int32_t>(values.size())};
  use(glc::cdf::count_tables(values, n_bins, Ints{-3}, bits, escape));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Input input({bytes, size});
  const std::size_t kind = input.below(6);
  if (kind == 0) read_everywhere(input.rest());
  if (kind == 1) read_everywhere(file_with_heads(input));
  if (kind == 2) write_damage_read(input);
  try {
    if (kind == 3) cdfs(input);
    if (kind == 4) freqs(input);
    if (kind == 5) counts(input);
  } catch (const glc::InvalidArgument&) {  // NOLINT(bugprone-empty-catch)
  }
  return 0;
}

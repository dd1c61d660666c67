// SPDX-License-Identifier: Apache-2.0
//
// The coder against hostile input, and its back ends against each other: scalar code and every
// instruction set of this CPU must give the same symbols or the same error, and the same bytes.
// The first byte of the input chooses what the others are:
//
//   0  a stream as it stands
//   1  what follows the head of a stream in one piece, 2 of one in segments
//   3  symbols to code, then damage
//
// A stream that reads without an error is what the encoder writes for these symbols: no other
// bytes mean the same, and what damage leaves readable is another message's own stream.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
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
using Symbols = std::vector<std::int32_t>;
using glc::fuzz::expect;
using glc::fuzz::Input;
using glc::fuzz::on_every_back_end;
using glc::rans::Rows;
using glc::rans::TableSet;

constexpr std::size_t kMaxSymbols = 1000;
// Some parts are longer, so that many symbols of few bytes fill whole steps of 32 lanes.
constexpr std::uint32_t kLong = 65000;
constexpr std::size_t kTimesLonger = 16;
constexpr int kTableRows = 3;

// --------------------------------------------------------------------------------------- tables

std::vector<TableSet> make_tables() {
  std::vector<TableSet> out;
  // sixteen equal bins; a sure symbol and the escape; skewed
  std::vector<std::uint32_t> freqs(16, 16);
  freqs.insert(freqs.end(), {255, 1, 10, 60, 120, 60, 6});
  out.push_back(TableSet::from_freqs(freqs, Symbols{16, 2, 5}, Symbols{0, 0, -2}, 8, true));
  // a symbol without a bit; two extremes; bins of frequency 0
  freqs = {65536, 1, 65535, 0, 1, 0, 65534, 0, 1};
  out.push_back(
      TableSet::from_freqs(freqs, Symbols{1, 2, 6}, Symbols{7, INT32_MIN, -1}, 16, false));
  const std::vector<double> scales = {0.05, 1.0, 30.0};
  out.push_back(glc::cdf::gaussian_tables(scales, 12));
  out.push_back(glc::cdf::gaussian_tables(scales, 16));
  return out;
}

const std::vector<TableSet>& tables() {
  static const std::vector<TableSet> all = make_tables();
  return all;
}

// --------------------------------------------------------------------------------------- pushes

/// One push or pull: its table, and the rows in each of the four shapes.
struct Part {
  const TableSet* table;
  std::size_t n;
  Rows::Type type;
  std::vector<std::uint8_t> rows8;
  std::vector<std::uint16_t> rows16;
  Symbols rows32;

  [[nodiscard]] Rows rows() const {
    switch (type) {
      case Rows::Type::kUint8:
        return {std::span(rows8)};
      case Rows::Type::kUint16:
        return {std::span(rows16)};
      case Rows::Type::kInt32:
        return {std::span(rows32)};
      case Rows::Type::kScalar:
        break;
    }
    return {static_cast<std::int32_t>(n % kTableRows)};
  }
};

std::size_t length_of(std::uint32_t drawn) {
  return drawn % kMaxSymbols * (drawn < kLong ? 1 : kTimesLonger);
}

Part make_part(Input& input) {
  Part part{.table = &tables()[input.below(tables().size())],
            .n = length_of(input.u16()),
            .type = static_cast<Rows::Type>(input.below(4)),
            .rows8 = {},
            .rows16 = {},
            .rows32 = {}};
  std::uint32_t random = input.u8();
  for (std::size_t i = 0; i < part.n; ++i) {
    random = random * 1664525U + 1013904223U;
    const std::uint32_t row = (random >> 24) % kTableRows;
    part.rows8.push_back(static_cast<std::uint8_t>(row));
    part.rows16.push_back(static_cast<std::uint16_t>(row));
    part.rows32.push_back(static_cast<std::int32_t>(row));
  }
  return part;
}

std::vector<Part> make_parts(Input& input) {
  std::vector<Part> parts;
  for (std::size_t n = 1 + input.below(3); n > 0; --n) parts.push_back(make_part(input));
  return parts;
}

// -------------------------------------------------------------------------------------- reading

struct Outcome {
  std::vector<Symbols> symbols;  ///< of the parts that were good
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome read(BytesView stream, const std::vector<Part>& parts) {
  Outcome out;
  try {
    glc::rans::Decoder decoder(stream);
    for (const Part& part : parts) {
      Symbols symbols(part.n);
      decoder.pull(part.rows(), *part.table, symbols);
      out.symbols.push_back(std::move(symbols));
    }
    decoder.finish();
  } catch (const glc::BitstreamError& error) {
    out.error = error.what();
  }
  return out;
}

struct Written {
  Bytes stream;
  std::string error;
  bool operator==(const Written&) const = default;
};

Written write(const std::vector<Symbols>& symbols,
              const std::vector<Part>& parts,
              int lanes,
              std::size_t segment_symbols) {
  glc::rans::Encoder encoder(lanes, segment_symbols);
  try {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      encoder.push(symbols[p], parts[p].rows(), *parts[p].table);
    }
  } catch (const glc::InvalidArgument& error) {
    return {.stream = {}, .error = error.what()};
  }
  const std::size_t bound = encoder.encoded_bound();
  Bytes stream = encoder.finish();
  expect(stream.size() <= bound);
  return {.stream = std::move(stream), .error = {}};
}

/// Reads on every back end; what is readable must be what the encoder writes for it.
void read_and_write(BytesView stream, const std::vector<Part>& parts) {
  const Outcome outcome = on_every_back_end([&] { return read(stream, parts); });
  if (!outcome.error.empty()) return;
  const bool segmented = stream[0] == glc::rans::kDescriptorSegments;
  if (segmented && parts.size() != 1) return;  // each record may be cut in its own way
  const std::uint8_t descriptor = stream[segmented ? 4 : 0];
  const int lanes = 1 << (descriptor & glc::rans::kDescriptorLanesMask);
  const std::size_t cut = segmented ? Input(stream.subspan(8)).u32() : glc::rans::kNoSegments;
  Written again = write(outcome.symbols, parts, lanes, cut);
  expect(again.error.empty());
  if (segmented) again.stream[4] = descriptor;  // may announce escapes and have none
  expect(std::equal(again.stream.begin(), again.stream.end(), stream.begin(), stream.end()));
}

// ---------------------------------------------------------------------------------------- heads

void put_u32(std::size_t value, Bytes& stream) {
  for (int i = 0; i < 4; ++i) stream.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// States that are good, then up to n bytes of words.
void put_body(Input& input, std::uint8_t descriptor, std::size_t n, Bytes& stream) {
  for (int lane = 0; lane < 1 << (descriptor & glc::rans::kDescriptorLanesMask); ++lane) {
    put_u32(input.u32() | 1U, stream);  // high word first: not below 2^16
  }
  const BytesView words = input.take(n);
  stream.insert(stream.end(), words.begin(), words.end());
}

std::uint8_t make_descriptor(Input& input) {
  return input.u8() & 0x0DU;  // 1, 2, 16 or 32 lanes, with escapes or not
}

Bytes stream_in_one_piece(Input& input) {
  const std::uint8_t descriptor = make_descriptor(input);
  Bytes stream = {descriptor};
  if ((descriptor & glc::rans::kDescriptorEscape) != 0) {
    const BytesView escapes = input.take(1 + input.below(100));
    stream.push_back(static_cast<std::uint8_t>(escapes.size()));
    stream.insert(stream.end(), escapes.begin(), escapes.end());
  }
  put_body(input, descriptor, input.size(), stream);
  return stream;
}

Bytes stream_of_segments(Input& input, const std::vector<Part>& parts) {
  Bytes stream;
  put_u32(glc::rans::kDescriptorSegments, stream);
  for (const Part& part : parts) {
    const std::uint8_t descriptor = make_descriptor(input);
    const std::size_t segment_symbols = 32 * (1 + input.below(16));
    const std::size_t n_segments = (part.n + segment_symbols - 1) / segment_symbols;
    put_u32(descriptor, stream);
    put_u32(segment_symbols, stream);
    put_u32(n_segments, stream);
    Bytes ends;
    Bytes segments;
    for (std::size_t s = 0; s < n_segments; ++s) {
      put_body(input, descriptor, 2 * input.u8(), segments);
      segments.resize((segments.size() + 3) / 4 * 4);
      put_u32(segments.size() / 4, ends);
    }
    stream.insert(stream.end(), ends.begin(), ends.end());
    stream.insert(stream.end(), segments.begin(), segments.end());
  }
  return stream;
}

// -------------------------------------------------------------------------------------- writing

Symbols make_symbols(Input& input, const Part& part) {
  Symbols symbols(part.n);
  const bool wild = input.below(4) == 0;
  const std::span<const std::int32_t> offsets = part.table->offsets();
  for (std::size_t i = 0; i < part.n; ++i) {
    const std::size_t row = part.type == Rows::Type::kScalar ? part.n % kTableRows : part.rows8[i];
    const auto n_bins = static_cast<std::uint32_t>(part.table->n_bins()[row]);
    const std::uint32_t drawn = wild ? input.u32() : input.u8();
    symbols[i] =
        part.table->escape() && (wild || drawn == 255)
            ? static_cast<std::int32_t>(drawn * 0x01000193U)
            : static_cast<std::int32_t>(static_cast<std::uint32_t>(offsets[row]) + drawn % n_bins);
  }
  return symbols;
}

void write_damage_read(Input input) {
  const std::vector<Part> parts = make_parts(input);
  const int lanes[] = {1, 2, 4, 8, 16, 32, 32, 16};
  const std::size_t cuts[] = {0, 0, 32, 64, 96, 256, 1024};
  const int n_lanes = input.one_of(lanes);
  const std::size_t cut = input.one_of(cuts);
  std::vector<Symbols> symbols;
  symbols.reserve(parts.size());
  Input edits(input.take(32));
  for (const Part& part : parts) symbols.push_back(make_symbols(input, part));
  const Written written = on_every_back_end([&] { return write(symbols, parts, n_lanes, cut); });
  if (!written.error.empty()) return;  // a symbol of frequency 0
  Bytes stream = written.stream;
  const Outcome good = on_every_back_end([&] { return read(stream, parts); });
  expect(good.error.empty() && good.symbols == symbols);
  glc::fuzz::damage(edits, stream);
  read_and_write(stream, parts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  Input input({bytes, size});
  const std::size_t kind = input.below(4);
  if (kind == 3) {
    write_damage_read(input);
    return 0;
  }
  const std::vector<Part> parts = make_parts(input);
  if (kind == 0) read_and_write(input.rest(), parts);
  if (kind == 1) read_and_write(stream_in_one_piece(input), parts);
  if (kind == 2) read_and_write(stream_of_segments(input, parts), parts);
  return 0;
}

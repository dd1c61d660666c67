// SPDX-License-Identifier: Apache-2.0
//
// Any bytes, given to the CPU's coder and to the CUDA kernels (on the CPU): as a stream, as order-0
// bytes and as symbols to code. Both must come to the same: symbols, or a refusal; and the same
// bytes. The CPU's side is the instruction set in force: GLC_SIMD=scalar compares the scalar one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "glc/error.h"
#include "glc/rans.h"
#include "rans_cuda_harness.h"

namespace {

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;
using glc::rans::Rows;
using glc::rans::TableSet;
using glc::test::CudaPush;

void expect(bool condition) {
  if (!condition) {
    __builtin_trap();
  }
}

/// What f returns, or nothing when it refuses its input.
template <class F>
auto outcome(F f) -> std::optional<decltype(f())> {
  try {
    return f();
  } catch (const glc::BitstreamError&) {
    return std::nullopt;
  } catch (const glc::Unsupported&) {
    return std::nullopt;
  }
}

// 0: sixteen equal bins; 1: one sure symbol and the escape; 2: skewed, with escape
TableSet make_tables() {
  const std::vector<std::int32_t> n_bins = {16, 2, 5};
  const std::vector<std::int32_t> offsets = {0, 0, -2};
  std::vector<std::uint32_t> freqs(16, 16);
  freqs.insert(freqs.end(), {255, 1, 10, 60, 120, 60, 6});
  return TableSet::from_freqs(freqs, n_bins, offsets, 8, true);
}

Bytes rows_for(std::size_t n) {
  Bytes rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = static_cast<std::uint8_t>((i + n) % 3);
  return rows;
}

CudaPush push_of(const Symbols& symbols, const Bytes& rows, const TableSet& tables) {
  return {symbols, Rows(std::span<const std::uint8_t>(rows)), tables};
}

// The body of a segmented stream: its descriptor is put in front, for most inputs to get further.
void read_stream(std::span<const std::uint8_t> data, const TableSet& tables) {
  Bytes stream = {glc::rans::kDescriptorSegments, 0, 0, 0};
  stream.insert(stream.end(), data.begin(), data.end());
  const Symbols symbols(1 + data.size() % 97);
  const Bytes rows = rows_for(symbols.size());
  const std::vector<CudaPush> pushes = {push_of(symbols, rows, tables)};
  const auto theirs = outcome([&] {
    glc::rans::Decoder decoder(stream);
    std::vector<Symbols> out = {Symbols(symbols.size())};
    decoder.pull(pushes[0].rows, tables, out[0]);
    decoder.finish();
    return out;
  });
  expect(theirs == outcome([&] { return glc::test::cuda_decode(stream, pushes); }));
  expect(theirs == outcome([&] { return glc::test::cuda_decode_only(stream, pushes[0]); }));
}

void code_symbols(std::span<const std::uint8_t> data, const TableSet& tables) {
  if (data.size() < 2) return;
  Symbols symbols;
  for (std::size_t i = 2; i < data.size(); ++i) {
    const bool wild = data[i] == 0xFF && i + 4 < data.size();
    std::int32_t symbol = data[i] % 16;
    if (wild) std::memcpy(&symbol, &data[i + 1], sizeof(symbol));
    symbols.push_back(symbol);
  }
  const Bytes rows = rows_for(symbols.size());
  const std::vector<CudaPush> pushes = {push_of(symbols, rows, tables)};
  const int lanes = 1 << data[0] % 6;
  const std::size_t segment = 32 * (1 + std::size_t{data[1]} % 5);
  glc::rans::Encoder encoder(lanes, segment);
  encoder.push(symbols, pushes[0].rows, tables);
  const Bytes stream = encoder.finish();
  expect(glc::test::cuda_encode(pushes, lanes, segment) == stream);
  expect(glc::test::cuda_decode(stream, pushes)[0] == symbols);
}

void read_bytes(std::span<const std::uint8_t> data) {
  constexpr std::size_t kMost = 1 << 12;
  const auto size = outcome([&] { return glc::rans::decoded_bytes_size(data, kMost); });
  if (!size || data[0] % 2 == 1) return;  // in one piece: for the CPU
  const auto theirs = outcome([&] {
    Bytes out(*size);
    glc::rans::decode_bytes(data, out);
    return out;
  });
  expect(theirs == outcome([&] { return glc::test::cuda_decode_bytes(data, *size); }));
}

void code_bytes(std::span<const std::uint8_t> data) {
  const Bytes coded = glc::rans::encode_bytes(data, 96);
  expect(glc::test::cuda_encode_bytes(data, 96) == coded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const TableSet tables = make_tables();
  const std::span data(bytes, size);
  read_stream(data, tables);
  code_symbols(data, tables);
  read_bytes(data);
  code_bytes(data);
  return 0;
}

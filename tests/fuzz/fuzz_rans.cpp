// SPDX-License-Identifier: Apache-2.0
// Any bytes, read as a coder stream and as an order-0 file: symbols or BitstreamError, nothing
// else.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/error.h"
#include "glc/rans.h"

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 16;

// 0: sixteen equal bins; 1: one sure symbol and the escape; 2: skewed, with escape
glc::rans::TableSet make_tables() {
  const std::vector<std::int32_t> n_bins = {16, 2, 5};
  const std::vector<std::int32_t> offsets = {0, 0, -2};
  std::vector<std::uint32_t> freqs(16, 16);
  freqs.insert(freqs.end(), {255, 1, 10, 60, 120, 60, 6});
  return glc::rans::TableSet::from_freqs(freqs, n_bins, offsets, 8, true);
}

void read_stream(std::span<const std::uint8_t> data, const glc::rans::TableSet& tables) {
  std::vector<std::uint8_t> rows(1 + data.size() % 97);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::uint8_t>((i + data.size()) % 3);
  }
  std::vector<std::int32_t> symbols(rows.size());
  const std::span<const std::uint8_t> row_span(rows);
  glc::rans::Decoder decoder(data);
  decoder.pull(row_span, tables, symbols);
  decoder.pull(1, tables, std::span<std::int32_t>(symbols).first(symbols.size() / 2));
  decoder.pull(row_span, tables, symbols);
  decoder.finish();
}

// The order-0 coder gives back what it was given.
void round_trip(std::span<const std::uint8_t> data) {
  const std::vector<std::uint8_t> coded = glc::rans::encode_bytes(data);
  std::vector<std::uint8_t> out(glc::rans::decoded_bytes_size(coded, kMaxBytes));
  glc::rans::decode_bytes(coded, out);
  if (!std::equal(out.begin(), out.end(), data.begin(), data.end())) {
    __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static const glc::rans::TableSet tables = make_tables();
  const std::span<const std::uint8_t> data(bytes, size);
  try {
    read_stream(data, tables);
  } catch (const glc::BitstreamError&) {
  }
  try {
    std::vector<std::uint8_t> out(glc::rans::decoded_bytes_size(data, kMaxBytes));
    glc::rans::decode_bytes(data, out);
  } catch (const glc::BitstreamError&) {
  }
  if (size <= kMaxBytes) {
    round_trip(data);
  }
  return 0;
}

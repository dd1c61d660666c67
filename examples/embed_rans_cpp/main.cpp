// SPDX-License-Identifier: Apache-2.0
//
// A codec that owns nothing but symbols: two tables (a narrow and a wide one), a row per symbol,
// one stream. Prints the size beside the entropy, checks the round trip, then damages the stream.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <vector>

#include "glc/error.h"
#include "glc/rans.h"
#include "glc/version.h"

namespace {

constexpr int kBits = 14;
constexpr std::size_t kSymbols = 20000;

// Frequencies of a two-sided geometric law on -reach .. reach, then the escape bin; they sum to
// 1 << kBits because what rounding leaves goes to the most likely symbol, 0.
void append_row(double decay,
                int reach,
                std::vector<std::uint32_t>& freqs,
                std::vector<std::int32_t>& n_bins,
                std::vector<std::int32_t>& offsets) {
  const auto total = std::uint32_t{1} << kBits;
  double norm = 0.0;
  for (int v = -reach; v <= reach; ++v) {
    norm += std::pow(decay, std::abs(v));
  }
  const std::size_t first = freqs.size();
  std::uint32_t used = 0;
  for (int v = -reach; v <= reach; ++v) {
    const double share = std::pow(decay, std::abs(v)) / norm * (total - 4 * reach);
    freqs.push_back(1U + static_cast<std::uint32_t>(share));
    used += freqs.back();
  }
  freqs.push_back(1);  // escape: any other int32 still round-trips
  freqs[first + static_cast<std::size_t>(reach)] += total - used - 1;
  n_bins.push_back(2 * reach + 2);
  offsets.push_back(-reach);
}

}  // namespace

int main() {
  std::vector<std::uint32_t> freqs;
  std::vector<std::int32_t> n_bins;
  std::vector<std::int32_t> offsets;
  append_row(0.2, 6, freqs, n_bins, offsets);
  append_row(0.8, 40, freqs, n_bins, offsets);
  const auto tables = glc::rans::TableSet::from_freqs(freqs, n_bins, offsets, kBits, true);

  std::mt19937 random(7);
  std::geometric_distribution<int> narrow(0.8);
  std::geometric_distribution<int> wide(0.2);
  std::vector<std::int32_t> symbols(kSymbols);
  std::vector<std::uint8_t> rows(kSymbols);
  for (std::size_t i = 0; i < kSymbols; ++i) {
    rows[i] = static_cast<std::uint8_t>(i % 2);
    const int size = rows[i] == 0 ? narrow(random) : wide(random);
    symbols[i] = (random() & 1U) != 0U ? size : -size;
  }
  symbols[5] = 123456;  // far outside its row

  glc::rans::Encoder encoder;  // the lane count follows from the payload
  encoder.push(symbols, std::span<const std::uint8_t>(rows), tables);
  const std::vector<std::uint8_t> stream = encoder.finish();

  std::vector<std::int32_t> decoded(kSymbols);
  glc::rans::Decoder decoder(stream);
  decoder.pull(std::span<const std::uint8_t>(rows), tables, decoded);
  decoder.finish();
  if (decoded != symbols) {
    std::fprintf(stderr, "the round trip changed the symbols\n");
    return 1;
  }
  const double ideal_bytes =
      static_cast<double>(tables.cost(symbols, std::span<const std::uint8_t>(rows))) / 65536.0 / 8;
  std::printf("glc %.*s: %zu symbols in %zu bytes, ideal %.1f (%+.2f %%), %d lanes\n",
              static_cast<int>(glc::kVersion.size()),
              glc::kVersion.data(),
              symbols.size(),
              stream.size(),
              ideal_bytes,
              100.0 * (static_cast<double>(stream.size()) / ideal_bytes - 1.0),
              decoder.lanes());

  // Cut in half: an error, never a crash and never a silent half.
  try {
    glc::rans::Decoder cut(std::span<const std::uint8_t>(stream).first(stream.size() / 2));
    cut.pull(std::span<const std::uint8_t>(rows), tables, decoded);
    cut.finish();
  } catch (const glc::BitstreamError& error) {
    std::printf("half of the stream: %s\n", error.what());
    return 0;
  }
  std::fprintf(stderr, "a cut stream went unnoticed\n");
  return 1;
}

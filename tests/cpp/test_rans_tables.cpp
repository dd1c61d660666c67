// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "flushing.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/byte_tables.h"
#include "rans/rare_choice.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::while_flushing;
using glc::test::while_rounding_up;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;

constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();

std::span<const std::uint8_t> prefix(const Bytes& bytes, std::size_t n) {
  return std::span<const std::uint8_t>(bytes).first(n);
}

void tables_are_validated() {
  using V = std::vector<std::uint32_t>;
  const auto from =
      [](const V& freqs, const Symbols& n_bins, const Symbols& offsets, int bits, bool escape) {
        static_cast<void>(TableSet::from_freqs(freqs, n_bins, offsets, bits, escape));
      };
  from({256}, {1}, {0}, 8, false);
  from({256}, {1}, {0}, 8, true);  // everything escapes
  from({65536}, {1}, {kMax}, 16, false);
  from({128, 128}, {2}, {kMin}, 8, false);
  check_throws<InvalidArgument>([&] { from({255}, {1}, {0}, 8, false); }, "sum");
  check_throws<InvalidArgument>([&] { from({256, 0}, {2}, {0}, 8, true); }, "zero with escape");
  check_throws<InvalidArgument>([&] { from({128, 128}, {2}, {kMax}, 8, false); }, "above int32");
  check_throws<InvalidArgument>([&] { from({128, 128}, {2}, {kMin}, 8, true); }, "INT32_MIN");
  check_throws<InvalidArgument>([&] { from({128}, {1}, {0}, 7, false); }, "bits");
  check_throws<InvalidArgument>([&] { from({131072}, {1}, {0}, 17, false); }, "bits");
  check_throws<InvalidArgument>([&] { from({}, {}, {}, 8, false); }, "no rows");
  check_throws<InvalidArgument>([&] { from({}, {0}, {0}, 8, false); }, "no bins");
  check_throws<InvalidArgument>([&] { from({256}, {1}, {0, 0}, 8, false); }, "offsets");
  check_throws<InvalidArgument>([&] { from({256}, {2}, {0}, 8, false); }, "too few freqs");
  check_throws<InvalidArgument>([&] { from({256, 1}, {1}, {0}, 8, false); }, "too many freqs");

  const auto cdf = [](const Symbols& c, std::size_t width, const Symbols& sizes) {
    static_cast<void>(TableSet::from_cdfs(c, width, sizes, Symbols(sizes.size(), -1), 8));
  };
  cdf({0, 10, 256, 77, 0, 1, 255, 256}, 4, {3, 4});
  check_throws<InvalidArgument>([&] { cdf({1, 10, 256}, 3, {3}); }, "first");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 255}, 3, {3}); }, "last");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 10, 256}, 4, {4}); }, "zero frequency");
  check_throws<InvalidArgument>([&] { cdf({0, kMin, kMax, 256}, 4, {4}); }, "wild entries");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 3, {4}); }, "size over width");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 3, {1}); }, "size");
  check_throws<InvalidArgument>([&] { cdf({0, 10, 256}, 2, {2}); }, "width");
}

/// What would otherwise be found after the work, or make it endless, is refused before it.
void gaussian_tables_are_bounded() {
  const auto from = [](const std::vector<double>& scales, int bits) {
    static_cast<void>(glc::cdf::gaussian_tables(scales, bits));
  };
  from({1024.0, 1e-300, 0.5}, 16);
  from({1024.0}, 8);  // no symbol but 0 is likely enough
  for (const int bits : {kMin, -1, 0, 7, 17, 1000, kMax}) {
    check_throws<InvalidArgument>([&] { from({1024.0}, bits); }, "bits");
  }
  check_throws<InvalidArgument>([&] { from({}, 12); }, "no scales");
  check_throws<InvalidArgument>([&] { from(std::vector<double>(65537, 1024.0), 16); }, "rows");
  std::vector<double> scales(65536, 1024.0);  // the last is looked at before any row is made
  for (const double bad : {0.0, -1.0, 1025.0, std::nan(""), HUGE_VAL}) {
    scales.back() = bad;
    check_throws<InvalidArgument>([&] { from(scales, 16); }, "scale");
  }
}

/// Encoder and decoder may call from threads of other settings.
void tables_are_the_same_in_every_float_mode() {
  const std::vector<double> pmf = {0.7, 1e-310, 0.1, 0.0, 0.3, 4e-320};
  const auto normalised = [&] {
    std::vector<std::uint32_t> freqs(pmf.size());
    glc::cdf::normalise(std::span<const double>(pmf), 16, freqs);
    return freqs;
  };
  const auto expected = normalised();
  check(expected[1] == 1 && expected[5] == 1, "what is positive keeps a frequency");
  check(while_flushing(normalised) == expected, "normalise, denormals flushed");
  check(while_rounding_up(normalised) == expected, "normalise, rounding up");

  std::vector<double> scales = {1e-310};
  for (int i = 0; i < 64; ++i) scales.push_back(0.11 * std::exp(0.1 * i));
  const auto gaussian = [&] { return glc::cdf::gaussian_tables(scales, 16).freqs(); };
  const auto rows = gaussian();
  check(while_flushing(gaussian) == rows, "gaussian_tables, denormals flushed");
  check(while_rounding_up(gaussian) == rows, "gaussian_tables, rounding up");
}

void frequencies_are_exact() {
  std::mt19937 random(10);
  for (int bits = 8; bits <= 16; ++bits) {
    const std::size_t total = std::size_t{1} << bits;
    for (const std::size_t n :
         {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{200}, total - 1, total}) {
      for (int kind = 0; kind < 4; ++kind) {
        std::vector<std::uint64_t> counts(n);
        for (auto& count : counts) {
          count = kind == 0   ? 1
                  : kind == 1 ? random() % 3
                              : 1 + (std::uint64_t{random()} >> (random() % 32));
        }
        counts[n / 2] = kind == 3 ? std::uint64_t{1} << 45 : 1;
        std::vector<std::uint32_t> freqs(n);
        glc::cdf::normalise(counts, bits, freqs);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
          check((freqs[i] != 0) == (counts[i] != 0), "present exactly when counted");
          sum += freqs[i];
        }
        check_equal(sum, std::uint64_t{total}, "sum");
        std::vector<std::uint64_t> again(freqs.begin(), freqs.end());
        std::vector<std::uint32_t> same(n);
        glc::cdf::normalise(again, bits, same);
        check(same == freqs, "exact frequencies stay as they are");
      }
    }
  }
  std::vector<std::uint32_t> out(2);
  const auto refuse = [&](const std::vector<std::uint64_t>& counts, int bits) {
    check_throws<InvalidArgument>([&] { glc::cdf::normalise(counts, bits, out); });
  };
  refuse({0, 0}, 8);
  refuse({1, 1}, 7);
  refuse({1}, 8);
  refuse({std::uint64_t{1} << 46, 1}, 8);
  refuse({~0ULL, ~0ULL}, 8);
}

void histograms_make_tables() {
  const Bytes bytes = {3, 3, 0, 3, 1};
  std::vector<std::uint64_t> counts(5);
  glc::cdf::histogram(bytes, std::span(counts).first(4));
  check(counts == std::vector<std::uint64_t>({1, 1, 0, 3, 0}), "histogram of bytes");
  check_throws<InvalidArgument>([&] { glc::cdf::histogram(bytes, std::span(counts).first(3)); });

  counts = {1, 1, 0, 3, 7};
  const Symbols n_bins = {4, 1};
  const Symbols offsets = {-2, 9};
  for (const bool escape : {false, true}) {
    const TableSet tables = glc::cdf::count_tables(counts, n_bins, offsets, 10, escape);
    const std::vector<std::uint64_t> row = {1, 1, escape ? 1U : 0U, 3};
    std::vector<std::uint32_t> expected(4);
    glc::cdf::normalise(row, 10, expected);
    expected.push_back(1024);
    check(tables.freqs() == expected, "each row is normalised");
    check_equal(tables.escape(), escape, "escape");
    check_equal(tables.offsets()[1], 9, "offsets");
  }
  const auto refuse = [&](const Symbols& bins, int bits) {
    check_throws<InvalidArgument>(
        [&] { static_cast<void>(glc::cdf::count_tables(counts, bins, offsets, bits, false)); });
  };
  refuse({4, 2}, 10);
  refuse({4, 0}, 10);
  refuse({4, -1}, 10);
  refuse({2, 2}, 10);  // one count is left
  refuse({2, 1, 2}, 10);
  refuse({4, 1}, 7);
}

void bytes_round_trip_one(const Bytes& data, std::optional<std::size_t> segment_bytes = {}) {
  const Bytes coded = glc::rans::encode_bytes(data, segment_bytes);
  check(coded.size() <= data.size() + 11, "never much longer");
  Bytes out(glc::rans::decoded_bytes_size(coded, data.size()));
  glc::rans::decode_bytes(coded, out);
  check(out == data, "bytes");
  if (!data.empty()) {
    check_throws<BitstreamError>(
        [&] { static_cast<void>(glc::rans::decoded_bytes_size(coded, data.size() - 1)); }, "max");
  }
  Bytes room(data.size());
  for (std::size_t n = 0; n < coded.size(); n += 1 + coded.size() / 300) {
    check_throws<BitstreamError>(
        [&] {
          static_cast<void>(glc::rans::decoded_bytes_size(prefix(coded, n), 1U << 30));
          glc::rans::decode_bytes(prefix(coded, n), room);
        },
        "cut");
  }
}

void bytes_round_trip() {
  std::mt19937 random(11);
  for (const std::size_t n : std::vector<std::size_t>{0, 1, 2, 3, 31, 33, 255, 5000, 70000}) {
    const Bytes flat(n);
    Bytes skewed(n);
    Bytes noise(n);
    for (std::size_t i = 0; i < n; ++i) {
      skewed[i] = static_cast<std::uint8_t>(std::min<std::uint32_t>(
          255,
          static_cast<std::uint32_t>(random()) % 16 * (static_cast<std::uint32_t>(random()) % 16)));
      noise[i] = static_cast<std::uint8_t>(random());
    }
    bytes_round_trip_one(flat);
    bytes_round_trip_one(skewed);
    bytes_round_trip_one(noise);
    if (n < 2) continue;
    for (const std::size_t segment :
         {std::size_t{32}, std::size_t{4096}}) {  // no room for a record
      check_equal(int{glc::rans::encode_bytes(noise, segment)[0]}, 0, "noise is stored");
      bytes_round_trip_one(noise, segment);
    }
  }
}

/// Mostly 0 and 1, with any of n_values once in one_in bytes.
Bytes bytes_with_rare_values(std::size_t n, std::uint32_t n_values, std::uint32_t one_in) {
  std::mt19937 random(12);
  Bytes data(n);
  for (std::uint8_t& byte : data) {
    const auto r = static_cast<std::uint32_t>(random());
    byte = static_cast<std::uint8_t>(r % one_in == 0 ? r / one_in % n_values : r >> 31);
  }
  return data;
}

void rare_bytes_share_an_escape() {
  for (const std::uint32_t n_values : {20U, 256U}) {
    for (const std::size_t n : {std::size_t{100001}, std::size_t{300000}}) {
      const Bytes data = bytes_with_rare_values(n, n_values, 5000);
      for (const std::size_t segment : {glc::rans::kNoSegments, std::size_t{4096}}) {
        check_equal(int{glc::rans::encode_bytes(data, segment)[0]},
                    segment == glc::rans::kNoSegments ? 3 : 4,
                    "method with rare values");
        bytes_round_trip_one(data, segment);
      }
    }
  }
  check_equal(int{glc::rans::encode_bytes(bytes_with_rare_values(20001, 3, 4), 0)[0]}, 1, "none");
}

/// Data in one piece is searched, and its escapes resolved, block by block: places have 32 bits,
/// sizes more.
void rare_bytes_are_found_in_every_block() {
  constexpr std::size_t kBlock = glc::rans::kByteBlock;
  const Bytes rare = {7, 200, 9};
  for (const std::size_t n : {kBlock - 1, kBlock, kBlock + 1, 3 * kBlock + 77}) {
    Bytes data(n);
    for (std::size_t i = 0; i < n; ++i) data[i] = static_cast<std::uint8_t>(i * i % 5 % 2);
    for (std::size_t edge = 0; edge < n; edge += kBlock) {
      for (const std::size_t at : {edge, edge + 62, edge + kBlock / 2 + 1, edge + kBlock - 1}) {
        if (at < n) data[at] = rare[at % 64 % rare.size()];
      }
    }
    glc::rans::BitWriter numbers;
    for (const std::uint8_t value : data) {
      const auto place = std::ranges::find(rare, value) - rare.begin();
      if (value > 1) numbers.gamma(static_cast<std::uint64_t>(place) + 1);
    }
    check(glc::rans::RareValues(rare).numbers_of(data) == numbers.take(), "numbers in order");

    for (const int lanes : {1, 32}) {
      const Bytes coded = glc::rans::encode_bytes(data, glc::rans::kNoSegments, lanes);
      check_equal(int{coded[0]}, 3, "one piece with rare values");
      Bytes out(n);
      glc::rans::decode_bytes(coded, out);
      check(out == data, "bytes");
    }
  }
}

void rare_bytes_that_are_wrong_are_refused() {
  const Bytes data = bytes_with_rare_values(100001, 20, 5000);
  const Bytes coded = glc::rans::encode_bytes(data, glc::rans::kNoSegments);
  Bytes out(data.size());
  constexpr std::size_t kTableBits = 8 * 60;
  for (std::size_t bit = 32; bit < 8 * coded.size(); bit += bit < kTableBits ? 1 : 1009) {
    Bytes damaged = coded;
    damaged[bit / 8] = static_cast<std::uint8_t>(damaged[bit / 8] ^ 0x80U >> bit % 8);
    try {
      glc::rans::decode_bytes(damaged, out);
    } catch (const BitstreamError&) {
      continue;
    }
    check(out != data, "a flipped bit goes unseen");  // another rare value under the same number
  }

  // method 3, 8 bytes; two rare values (gamma 010), 5 and 6; the escape bin has 4095 (gamma of 12
  // digits); value 0 has 1 (gamma of 2: 010). One lane, no escapes, a state.
  const auto message = [](std::uint8_t first, std::uint8_t second) {
    std::string bits = "010";
    for (const std::uint8_t value : {first, second}) {
      for (int i = 8; i-- > 0;) bits += (value >> i & 1) != 0 ? '1' : '0';
    }
    bits += std::string(11, '0') + std::string(12, '1') + "010";
    Bytes bytes = {3, 8};
    for (std::size_t i = 0; i < bits.size(); i += 8) {
      bits.resize(std::max(bits.size(), i + 8), '0');
      bytes.push_back(static_cast<std::uint8_t>(std::stoi(bits.substr(i, 8), nullptr, 2)));
    }
    for (const int byte : {0, 1, 0, 0, 0}) bytes.push_back(static_cast<std::uint8_t>(byte));
    return bytes;
  };
  const auto error_of = [](const Bytes& bytes) -> std::string {
    Bytes room(8);
    try {
      glc::rans::decode_bytes(bytes, room);
    } catch (const BitstreamError& error) {
      return error.what();
    }
    return "";
  };
  check(error_of(message(5, 6)).find("different rare values") == std::string::npos, "a fair list");
  check(error_of(message(5, 5)).find("different rare values") != std::string::npos, "twice");
  check(error_of(message(5, 0)).find("different rare values") != std::string::npos, "has a bin");
}

/// What rare_choice.h says, for each number of candidates anew.
std::size_t literal_rare(const std::array<std::uint64_t, 256>& counts,
                         std::span<const std::uint8_t> candidates,
                         std::uint64_t n) {
  using glc::rans::fixed_point_cost;
  std::uint64_t least = UINT64_MAX;
  std::size_t n_rare = 0;
  for (std::size_t k = 0; k <= candidates.size(); ++k) {
    std::vector<std::uint64_t> bins(counts.begin(), counts.end());
    bins.push_back(0);
    std::uint64_t cost = std::uint64_t{8 * k} << 16;
    for (std::size_t i = 0; i < k; ++i) {
      const std::uint64_t count = std::exchange(bins[candidates[i]], 0);
      bins.back() += count;
      cost += count * static_cast<std::uint64_t>(glc::rans::gamma_bits(k - i)) << 16;
    }
    std::uint64_t total = 0;
    for (const std::uint64_t count : bins) {
      if (count == 0) continue;
      const std::uint64_t slots = std::max<std::uint64_t>(count * 65536 / n, 16);
      total += slots;
      cost += count * fixed_point_cost(static_cast<std::uint32_t>(slots), 16);
    }
    const auto shrunk = static_cast<std::uint32_t>(
        std::min<std::uint64_t>((std::uint64_t{1} << 32) / total, 65536));
    cost += n * fixed_point_cost(shrunk, 16);
    if (cost < least) {
      least = cost;
      n_rare = k;
    }
  }
  return n_rare;
}

void the_rare_are_those_that_cost_least() {
  std::mt19937 random(6);
  std::size_t n_some = 0;
  std::size_t n_all = 0;
  for (int trial = 0; trial < 100; ++trial) {
    std::array<std::uint64_t, 256> counts{};
    std::vector<std::uint8_t> candidates;
    const std::size_t n_rare = random() % (trial % 2 == 0 ? 40 : 6);
    const std::size_t most = 1 + random() % 5;
    const std::size_t common = std::size_t{1000} << random() % 10;
    for (std::size_t value = 0; value < 256; value += 1 + random() % 3) {
      const bool rare = candidates.size() < n_rare && random() % 2 == 0;
      counts[value] = rare ? 1 + random() % most : most * 16 + random() % common;
      if (rare) candidates.push_back(static_cast<std::uint8_t>(value));
    }
    std::ranges::sort(candidates, {}, [&](std::uint8_t value) { return counts[value]; });
    std::uint64_t n = 0;
    for (const std::uint64_t count : counts) n += count;
    const std::size_t chosen =
        glc::rans::choose_rare(counts.data(), candidates.data(), candidates.size(), n);
    check_equal(chosen, literal_rare(counts, candidates, n), "rare values");
    n_some += chosen != 0 && chosen != candidates.size() ? 1 : 0;
    n_all += chosen != 0 && chosen == candidates.size() ? 1 : 0;
  }
  check(n_some > 50 && n_all > 5, "choices to be made");
}

}  // namespace

int main() {
  tables_are_validated();
  gaussian_tables_are_bounded();
  tables_are_the_same_in_every_float_mode();
  frequencies_are_exact();
  histograms_make_tables();
  bytes_round_trip();
  rare_bytes_share_an_escape();
  rare_bytes_are_found_in_every_block();
  rare_bytes_that_are_wrong_are_refused();
  the_rare_are_those_that_cost_least();
  return 0;
}

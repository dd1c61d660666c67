// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "check.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

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

void bytes_round_trip() {
  std::mt19937 random(11);
  const auto test = [](const Bytes& data) {
    const Bytes coded = glc::rans::encode_bytes(data);
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
  };
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
    test(flat);
    test(skewed);
    test(noise);
  }
}

}  // namespace

int main() {
  tables_are_validated();
  frequencies_are_exact();
  histograms_make_tables();
  bytes_round_trip();
  return 0;
}

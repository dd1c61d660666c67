// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "glc/error.h"
#include "rans/bit_io.h"
#include "rans/rans_state.h"
#include "rans/stream.h"

namespace {

using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

using Bytes = std::vector<std::uint8_t>;

void division_is_exact() {
  std::mt19937 random(1);
  for (std::uint32_t freq = 1; freq <= 65536; ++freq) {
    const std::uint32_t reciprocal = glc::rans::reciprocal_of(freq);
    const auto test = [&](std::uint32_t x) {
      const auto d = glc::rans::divide(x, freq, reciprocal);
      if (d.quotient != x / freq || d.remainder != x % freq) {
        check_equal(d.quotient, x / freq, "quotient");
        check_equal(d.remainder, x % freq, "remainder");
      }
    };
    const std::uint32_t last = 0xFFFFFFFFU / freq;  // highest quotient
    for (const std::uint32_t q :
         {0U,
          1U,
          2U,
          last / 2,
          last - 1,
          last,
          0x80000000U / freq,
          0x10000U / freq,
          static_cast<std::uint32_t>(random()) % (last + (last != 0xFFFFFFFFU)),
          static_cast<std::uint32_t>(random()) >> 8}) {
      const std::uint32_t multiple = q * freq;
      test(multiple - 1);
      test(multiple);
      test(multiple + 1);
      test(multiple + freq - 1);
    }
    for (const std::uint32_t x : {0U, 0xFFFFU, 0x10000U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
      test(x);
      test(static_cast<std::uint32_t>(random()));
    }
  }
}

void algebra_inverts() {
  std::mt19937 random(2);
  for (int bits = 8; bits <= 16; ++bits) {
    const std::uint32_t total = 1U << bits;
    for (int trial = 0; trial < 20000; ++trial) {
      const std::uint32_t freq = trial % 16 == 0 ? total
                                 : trial % 16 == 1
                                     ? 1
                                     : 1U + static_cast<std::uint32_t>(random()) % total;
      const std::uint32_t start = static_cast<std::uint32_t>(random()) % (total - freq + 1);
      std::uint32_t x = static_cast<std::uint32_t>(random()) | 0x10000U;
      if (trial % 5 == 0) x = glc::rans::kStateLow;
      if (trial % 5 == 1) x = 0xFFFFFFFFU;
      const glc::rans::EncodeEntry entry{glc::rans::reciprocal_of(freq),
                                         static_cast<std::uint16_t>(freq - 1),
                                         static_cast<std::uint16_t>(start)};
      std::uint32_t reduced = x;
      const bool renorm = glc::rans::encode_needs_renorm(x, freq - 1, bits);
      if (renorm) reduced >>= 16;
      check(!glc::rans::encode_needs_renorm(reduced, freq - 1, bits), "one word is enough");
      const std::uint32_t coded = glc::rans::encode_advance(reduced, entry, bits);
      check(coded >= glc::rans::kStateLow, "state stays normalised");
      const std::uint32_t slot = glc::rans::slot_of(coded, bits);
      check(slot >= start && slot - start < freq, "slot selects the symbol");
      const std::uint32_t back = glc::rans::decode_advance(coded, slot, start, freq - 1, bits);
      check_equal(back, reduced, "state before the symbol");
      check_equal(back < glc::rans::kStateLow, renorm, "both sides move a word, or neither");
    }
  }
}

void gamma_numbers_round_trip() {
  const std::vector<std::uint64_t> numbers = {
      1, 2, 3, 4, 255, 256, 65535, 1ULL << 33, (1ULL << 34) - 1};
  glc::rans::BitWriter writer;
  int n_bits = 0;
  for (const std::uint64_t n : numbers) {
    writer.gamma(n);
    n_bits += glc::rans::gamma_bits(n);
  }
  const Bytes bytes = writer.take();
  check_equal(bytes.size(), static_cast<std::size_t>((n_bits + 7) / 8));
  glc::rans::BitReader reader(bytes);
  for (const std::uint64_t n : numbers) check(reader.gamma(34) == n, "gamma");
  check(reader.only_padding_left(), "padding");

  const Bytes one_and_zeros = {0x80};  // a one, then seven zeros that are no number
  glc::rans::BitReader short_reader(one_and_zeros);
  check(short_reader.gamma(34) == 1U, "one");
  check(!short_reader.gamma(34), "zeros without a one");
  const Bytes wide = {0x00, 0x40};  // ten bits wide
  check(!glc::rans::BitReader(wide).gamma(9), "too wide");
}

/// Readers take no longer ones, so no writer may begin one.
void escape_sections_have_a_limit() {
  glc::rans::check_escape_section(0);
  glc::rans::check_escape_section(UINT32_MAX);
  for (const std::uint64_t n : {std::uint64_t{1} << 32, UINT64_MAX}) {
    check_throws<glc::InvalidArgument>([&] { glc::rans::check_escape_section(n); }, "escapes");
  }
}

}  // namespace

int main() {
  division_is_exact();
  algebra_inverts();
  gamma_numbers_round_trip();
  escape_sections_have_a_limit();
  return 0;
}

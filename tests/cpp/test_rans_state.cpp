// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <tuple>
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
  const Bytes whole = {0x00, 0x40, 0x00};
  check(!glc::rans::BitReader(whole).gamma(9), "too wide, though all of it is there");
  check(glc::rans::BitReader(whole).gamma(10) == 512U, "as wide as it may be");
  check(glc::rans::BitReader(one_and_zeros).byte() == std::uint8_t{0x80}, "eight bits are a byte");

  for (const auto& [some, byte_left, padded] : {std::tuple{Bytes{0x80}, false, true},
                                                {Bytes{0xA0}, false, false},
                                                {Bytes{0x80, 0x00}, true, false}}) {
    glc::rans::BitReader after_one(some);
    check(after_one.gamma(34) == 1U, "one");
    glc::rans::BitReader other = after_one;
    check_equal(other.byte().has_value(), byte_left, "seven bits are none");
    check_equal(after_one.only_padding_left(), padded, "padding is zeros of the last byte");
  }
}

/// The bits as docs/format.md says them, one character each, against the words of writer and
/// reader.
void gamma_numbers_are_their_digits() {
  glc::rans::BitWriter writer;
  std::vector<std::uint64_t> numbers;
  std::string bits;
  for (std::uint64_t n = 1; n < std::uint64_t{1} << 34; n += n / 7 + 1) {
    std::string digits;
    for (std::uint64_t rest = n; rest != 0; rest /= 2) {
      digits.insert(digits.begin(), rest % 2 != 0 ? '1' : '0');
    }
    bits += std::string(digits.size() - 1, '0') + digits;
    numbers.push_back(n);
    writer.gamma(n);
  }
  bits += "10100101";
  writer.byte(0xA5);
  const std::size_t n_bits = bits.size();
  bits.resize((n_bits + 7) / 8 * 8, '0');
  Bytes expected(bits.size() / 8);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (bits[i] == '1')
      expected[i / 8] = static_cast<std::uint8_t>(expected[i / 8] | 0x80U >> i % 8);
  }
  check(writer.take() == expected, "bits");

  for (std::size_t size = 0; size <= expected.size(); ++size) {  // cut anywhere
    glc::rans::BitReader reader({expected.data(), size});
    std::size_t position = 0;
    for (const std::uint64_t n : numbers) {
      const std::size_t end = position + static_cast<std::size_t>(glc::rans::gamma_bits(n));
      const bool whole = end <= 8 * size;
      check(reader.gamma(34) == (whole ? std::optional(n) : std::nullopt), "a number, or none");
      position = std::min(end, 8 * size);
      check_equal(reader.byte_position(), position / 8, "where it ends, or the bits do");
      if (!whole) break;
    }
    if (size == expected.size()) check(reader.byte() == std::uint8_t{0xA5}, "byte");
  }

  const Bytes zeros(12, 0);
  glc::rans::BitReader reader(zeros);
  check(!reader.gamma(34), "no number has as many");
  check_equal(reader.byte_position(), std::size_t{4}, "34 bits were looked at");
  check(!reader.gamma(57), "nor as many");
  check(!reader.gamma(57) && !reader.byte(), "the bits run out");
  check_equal(reader.byte_position(), zeros.size());
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
  gamma_numbers_are_their_digits();
  escape_sections_have_a_limit();
  return 0;
}

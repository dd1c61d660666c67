// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/check.h"
#include "core/cpu_features.h"
#include "core/float_mode.h"
#include "core/fused.h"
#include "glc/error.h"
#include "glc/views.h"

namespace {

using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

void fields_round_trip() {
  glc::ByteWriter writer;
  writer.u8(0xAB);
  writer.u16(0x1234);
  writer.u32(0xDEADBEEF);
  const std::array<std::uint8_t, 3> tail = {1, 2, 3};
  writer.bytes(tail);
  const std::vector<std::uint8_t> expected = {0xAB, 0x34, 0x12, 0xEF, 0xBE, 0xAD, 0xDE, 1, 2, 3};
  check(std::vector<std::uint8_t>(writer.view().begin(), writer.view().end()) == expected,
        "little-endian layout");

  glc::ByteReader reader(writer.view(), "test");
  check_equal(reader.u8("a"), 0xAB);
  check_equal(reader.u16("b"), 0x1234);
  check_equal(reader.u32("c"), 0xDEADBEEFU);
  check_throws<glc::BitstreamError>([&] { reader.finish(); }, "bytes left over");
  check_equal(reader.bytes(3, "d")[2], 3);
  reader.finish();
  check_throws<glc::BitstreamError>([&] { reader.u8("e"); }, "read past the end");
}

void varints_round_trip() {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::uint64_t> values = {0, 1, 127, 128, 300, 16383, 16384, kMax - 1, kMax};
  for (int bit = 0; bit < 64; ++bit) {
    values.push_back(std::uint64_t{1} << bit);
  }
  for (const std::uint64_t value : values) {
    glc::ByteWriter writer;
    writer.varint(value);
    check_equal(writer.size(), glc::varint_bytes(value), "announced size");
    glc::ByteReader reader(writer.view(), "test");
    check_equal(reader.varint("v", kMax), value);
    reader.finish();
    if (value > 0) {
      glc::ByteReader bounded(writer.view(), "test");
      check_throws<glc::BitstreamError>([&] { bounded.varint("v", value - 1); }, "over the bound");
    }
    const std::vector<std::uint8_t> cut(writer.view().begin(), writer.view().end() - 1);
    glc::ByteReader short_reader(cut, "test");
    check_throws<glc::BitstreamError>([&] { short_reader.varint("v", kMax); }, "cut varint");
  }
}

void hostile_varints() {
  const std::vector<std::vector<std::uint8_t>> bad = {
      {0x80, 0x00},                                                        // two spellings of 0
      {0xFF, 0x80, 0x00},                                                  // redundant last byte
      {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02},        // bit 64
      {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},  // eleven bytes
  };
  for (const auto& data : bad) {
    glc::ByteReader reader(data, "test");
    check_throws<glc::BitstreamError>(
        [&] { reader.varint("v", std::numeric_limits<std::uint64_t>::max()); });
  }
}

void messages_name_field_and_offset() {
  const std::vector<std::uint8_t> data = {1, 2};
  glc::ByteReader reader(data, "container");
  reader.u8("magic");
  try {
    reader.u32("crc");
    check(false, "must throw");
  } catch (const glc::BitstreamError& error) {
    const std::string text = error.what();
    check(text.find("container: crc: ") == 0, "context and field first");
    check(text.find("at byte 1") != std::string::npos, "offset");
  }
  try {
    glc::fail_argument("vq", "codebook", "k >= 1", 0);
  } catch (const glc::InvalidArgument& error) {
    check_equal(std::string(error.what()), std::string("vq: codebook: expected k >= 1, got 0"));
  }
  check_throws<glc::InvalidArgument>([] { glc::require(false, "op: x: no"); });
}

void matrix_view() {
  std::array<int, 6> data = {0, 1, 2, 3, 4, 5};
  const glc::MatrixView<int> m(data.data(), 2, 3);
  const glc::MatrixView<const int> c = m;
  check_equal(c.row(1)[2], 5);
  check_equal(m.row_span(0).size(), 3U);
  check_equal(m.size(), 6);
  check(m.contiguous());
  check(!glc::MatrixView<int>(data.data(), 2, 2, 3).contiguous());
}

/// Bits of any kind, numbers near 1, denormals, and powers of two with a single bit more.
float random_float(std::mt19937& random, unsigned kind) {
  const auto bits = static_cast<std::uint32_t>(random());
  const auto spread = static_cast<std::uint32_t>(random()) % (kind % 4 == 1 ? 60 : 4);
  const std::uint32_t exponent = 127 - 2 + spread;
  const std::uint32_t sign = bits & 0x80000000U;
  switch (kind % 4) {
    case 1:
      return std::bit_cast<float>(sign | exponent << 23U | (bits & 0x7FFFFFU));
    case 2:
      return std::bit_cast<float>(bits & 0x80FFFFFFU);
    case 3:
      return std::bit_cast<float>(sign | exponent << 23U | 1U << bits % 23);
    default:
      return std::bit_cast<float>(bits);
  }
}

/// Terms that all but cancel the product or lie halfway between two results are among them.
void fused_rounds_once() {
  const glc::IeeeFloats mode;
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same numbers every time
  for (unsigned n = 0; n < 4'000'000; ++n) {
    const float a = random_float(random, n);
    const float b = random_float(random, n % 4 == 2 ? static_cast<unsigned>(random() % 3) : n);
    float c = random_float(random, n);
    if (n % 3 == 0) {
      const auto steps = static_cast<std::uint32_t>(random() % 3);
      c = std::bit_cast<float>(std::bit_cast<std::uint32_t>(-(a * b)) + steps);
    }
    const float got = glc::fused(a, b, c);
    const float expected = std::fma(a, b, c);
    if (std::isnan(expected)) {
      check(std::isnan(got), "a NaN");
    } else {
      check_equal(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected));
    }
  }
}

void simd_choice_can_be_forced() {
  setenv("GLC_SIMD", "scalar", 1);  // NOLINT(concurrency-mt-unsafe)
  check(glc::simd_in_force() == glc::Simd::kScalar);
  setenv("GLC_SIMD", "mmx", 1);  // NOLINT(concurrency-mt-unsafe)
  check(glc::simd_in_force() == glc::Simd::kScalar, "the environment is read once");
  glc::force_simd("mmx");
  check_throws<glc::Unsupported>([] { static_cast<void>(glc::simd_in_force()); });
  glc::force_simd("");
  check(!glc::simd_name(glc::simd_in_force()).empty());
}

}  // namespace

int main() {
  fields_round_trip();
  varints_round_trip();
  hostile_varints();
  messages_name_field_and_offset();
  matrix_view();
  fused_rounds_once();
  simd_choice_can_be_forced();
  return 0;
}

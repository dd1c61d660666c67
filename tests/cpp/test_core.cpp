// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/byte_reader.h"
#include "core/byte_writer.h"
#include "core/check.h"
#include "core/cpu_features.h"
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
  simd_choice_can_be_forced();
  return 0;
}

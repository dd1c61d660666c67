// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "check.h"
#include "glc/bitstream.h"
#include "glc/error.h"

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::Unsupported;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
namespace bitstream = glc::bitstream;

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint() {
  std::array<std::uint8_t, bitstream::kFingerprintBytes> out{};
  std::uint8_t next = 40;
  std::ranges::generate(out, [&] { return next++; });
  return out;
}

Bytes file(const bitstream::Header& header, const Bytes& payload) {
  Bytes out(bitstream::header_bytes(header) + payload.size());
  bitstream::write(header, payload, fingerprint(), out);
  return out;
}

bitstream::Header photo() {
  return {.width = 768, .height = 512, .level = 21, .coder = 2, .model_id = {40, 41}};
}

Bytes payload() { return Bytes(4 + 16 + 6, 7); }

void crc() {
  constexpr std::string_view kText = "123456789";
  const Bytes data(kText.begin(), kText.end());
  const std::span<const std::uint8_t> view(data);
  check_equal(bitstream::crc32c(view), 0xE3069283U, "check value");
  for (std::size_t cut = 0; cut <= data.size(); ++cut) {
    check_equal(bitstream::crc32c(view.subspan(cut), bitstream::crc32c(view.first(cut))),
                0xE3069283U,
                "continued");
  }
}

void round_trip() {
  for (const std::uint32_t side : {1U, 127U, 128U, 16384U, 0xFFFFFFFFU}) {
    bitstream::Header header = photo();
    header.width = side;
    const Bytes data = file(header, payload());
    const bitstream::Parsed parsed = bitstream::parse(data, kAny);
    check_equal(parsed.header.width, side, "width");
    check_equal(parsed.header.height, 512U, "height");
    check_equal(parsed.payload_offset, data.size() - payload().size(), "payload");
    bitstream::check(data, fingerprint());
  }
  check_equal(bitstream::header_bytes(photo()), std::size_t{16}, "header of a photo");
}

bool refused(const Bytes& data) {
  try {
    bitstream::check(data, fingerprint());
  } catch (const BitstreamError&) {
    return true;
  } catch (const Unsupported&) {
    return true;
  }
  return false;
}

void hostile() {
  const Bytes data = file(photo(), payload());
  for (std::size_t n = 0; n < data.size(); ++n) {
    // a fresh allocation of exactly n bytes, so that a sanitizer sees any read past it
    const Bytes cut(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
    check_throws<BitstreamError>([&] { bitstream::check(cut, fingerprint()); }, "cut");
  }
  for (std::size_t bit = 0; bit < 8 * data.size(); ++bit) {
    Bytes flipped = data;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    check(refused(flipped), "a flipped bit went unnoticed");
  }
  check_throws<BitstreamError>([&] { bitstream::parse(data, 768 * 512 - 1); }, "max_pixels");
  bitstream::parse(data, 768 * 512);
}

void sums_to_the_file() {
  const Bytes data = file(photo(), payload());
  const bitstream::Accounting a = bitstream::accounting(data);
  check_equal(a.magic_bits + a.version_bits + a.model_id_bits + a.level_bits + a.flags_bits +
                  a.size_bits + a.crc_bits + a.threshold_bits + a.escape_bits + a.state_bits +
                  a.word_bits,
              std::uint64_t{8} * data.size(),
              "sum");
  check_equal(a.state_bits, std::uint64_t{128}, "four lanes");
  check_equal(a.word_bits, std::uint64_t{48}, "three words");
}

void writer_refuses() {
  Bytes out(64);
  const auto refused = [&](const bitstream::Header& header, const Bytes& body, std::size_t n) {
    check_throws<InvalidArgument>(
        [&] { bitstream::write(header, body, fingerprint(), std::span(out).first(n)); });
  };
  bitstream::Header header = photo();
  refused(header, payload(), 41);
  refused(header, Bytes(3), 19);
  header.model_id = {0, 0};
  refused(header, payload(), 42);
  header = photo();
  header.level = 64;
  refused(header, payload(), 42);
}

}  // namespace

int main() {
  crc();
  round_trip();
  hostile();
  sums_to_the_file();
  writer_refuses();
  return 0;
}

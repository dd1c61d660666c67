// SPDX-License-Identifier: Apache-2.0
// Any bytes, read as a container: a header, BitstreamError or Unsupported. A header that parses
// must account for every bit, and must write back to the very bytes it was read from.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/bitstream.h"
#include "glc/error.h"

namespace {

void expect(bool condition) {
  if (!condition) {
    __builtin_trap();
  }
}

void account(std::span<const std::uint8_t> data) {
  const glc::bitstream::Accounting a = glc::bitstream::accounting(data);
  expect(a.magic_bits + a.version_bits + a.model_id_bits + a.level_bits + a.flags_bits +
             a.size_bits + a.crc_bits + a.tile_bits + a.threshold_bits + a.escape_bits +
             a.state_bits + a.word_bits + a.segment_bits + a.chunk_bits ==
         8 * data.size());
}

void rewrite(std::span<const std::uint8_t> data, const glc::bitstream::Parsed& parsed) {
  std::array<std::uint8_t, glc::bitstream::kFingerprintBytes> fingerprint{};
  std::copy(parsed.header.model_id.begin(), parsed.header.model_id.end(), fingerprint.begin());
  const auto n_bytes = static_cast<std::size_t>(parsed.payload_bytes);
  const auto payload = data.subspan(parsed.payload_offset, n_bytes);
  const auto chunks = glc::bitstream::chunks(data);
  std::vector<std::uint8_t> out(glc::bitstream::file_bytes(parsed.header, payload.size(), chunks));
  glc::bitstream::write(parsed.header, payload, chunks, fingerprint, out);
  glc::bitstream::check(out, fingerprint);
  expect(out.size() == data.size());
  expect(std::equal(
      out.begin(), out.begin() + static_cast<std::ptrdiff_t>(parsed.crc_offset), data.begin()));
  expect(std::equal(out.begin() + static_cast<std::ptrdiff_t>(parsed.payload_offset),
                    out.end(),
                    data.begin() + static_cast<std::ptrdiff_t>(parsed.payload_offset)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::span<const std::uint8_t> data(bytes, size);
  try {
    account(data);
  } catch (const glc::BitstreamError&) {
  } catch (const glc::Unsupported&) {
  }
  try {
    rewrite(data, glc::bitstream::parse(data, std::uint64_t{1} << 32));
  } catch (const glc::BitstreamError&) {
  } catch (const glc::Unsupported&) {
  }
  return 0;
}

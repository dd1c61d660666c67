// SPDX-License-Identifier: Apache-2.0
/// The `.glc` container: one header, one checksum, one payload. docs/format.md is normative and
/// the parser follows its order.
///
///   offset  bytes  field
///        0      3  magic "GLC"
///        3      1  version << 4 | profile
///        4      2  model id: the first two bytes of the model fingerprint
///        6      1  level 0..63 (21 x quality)
///        7      1  flags: low nibble = coder descriptor, high nibble zero
///        8    1-5  width   canonical LEB128, 1 .. 2^32 - 1
///        .    1-5  height  canonical LEB128, 1 .. 2^32 - 1
///        .      4  CRC-32C, little endian, over fingerprint (32 bytes), header before it, payload
///        .    4+.  payload: 4 skip thresholds, then the coder stream without its descriptor byte
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace glc::bitstream {

inline constexpr std::size_t kFingerprintBytes = 32;
inline constexpr std::size_t kModelIdBytes = 2;
inline constexpr std::size_t kThresholdBytes = 4;  ///< one per part of the context model
inline constexpr std::uint8_t kVersion = 0;
inline constexpr std::uint8_t kProfile = 0;
inline constexpr std::uint8_t kMaxLevel = 63;
inline constexpr std::uint8_t kMaxLog2Lanes = 5;
inline constexpr std::uint8_t kEscapeBit = 0x8;  ///< of the coder descriptor

using Fingerprint = std::span<const std::uint8_t, kFingerprintBytes>;

/// Everything the header says, without magic and checksum.
struct Header {
  std::uint32_t width = 0;   ///< pixels, >= 1
  std::uint32_t height = 0;  ///< pixels, >= 1
  std::uint8_t level = 0;    ///< 0 .. 63
  std::uint8_t coder = 0;    ///< bits 0-2 log2 of the lanes (0 .. 5), bit 3 escapes present
  std::array<std::uint8_t, kModelIdBytes> model_id{};
  std::uint8_t version = kVersion;
  std::uint8_t profile = kProfile;
};

struct Parsed {
  Header header;
  std::uint32_t crc = 0;           ///< as stored; `check` verifies it
  std::size_t crc_offset = 0;      ///< bytes from the start of the file
  std::size_t payload_offset = 0;  ///< bytes; the payload runs to the end of the file
};

/// Where each bit of a file goes. The members sum to 8 * bytes of the file.
struct Accounting {
  std::uint64_t magic_bits = 0;
  std::uint64_t version_bits = 0;
  std::uint64_t model_id_bits = 0;
  std::uint64_t level_bits = 0;
  std::uint64_t flags_bits = 0;
  std::uint64_t size_bits = 0;
  std::uint64_t crc_bits = 0;
  std::uint64_t threshold_bits = 0;
  std::uint64_t escape_bits = 0;  ///< length prefix, payload and padding of the escape section
  std::uint64_t state_bits = 0;   ///< initial lane states
  std::uint64_t word_bits = 0;    ///< renormalisation words
};

/// CRC-32C (Castagnoli, reflected, RFC 3720) of data, continued from the CRC of what came before.
std::uint32_t crc32c(std::span<const std::uint8_t> data, std::uint32_t previous = 0) noexcept;

/// Bytes that `write` needs in front of the payload.
/// Throws InvalidArgument when a field is out of range.
std::size_t header_bytes(const Header& header);

/// Write a whole container. out.size() must be header_bytes(header) + payload.size().
/// Throws InvalidArgument when a field is out of range, the model id is not the fingerprint's
/// beginning, the payload is shorter than the thresholds, or out has another size.
void write(const Header& header,
           std::span<const std::uint8_t> payload,
           Fingerprint fingerprint,
           std::span<std::uint8_t> out);

/// Read the header. The checksum is not verified: that needs the model (`check`).
/// Throws BitstreamError naming field and byte offset, or Unsupported for a newer version or an
/// unknown profile. Allocates nothing.
Parsed parse(std::span<const std::uint8_t> data, std::uint64_t max_pixels);

/// Verify that the file is whole and was made by the model of this fingerprint.
/// Throws BitstreamError naming both model ids, or both checksums, and what `parse` throws.
void check(std::span<const std::uint8_t> data, Fingerprint fingerprint);

/// Say where the bits go. Throws what `parse` throws, and BitstreamError when the payload is too
/// short for what its descriptor announces or holds half a word.
Accounting accounting(std::span<const std::uint8_t> data);

}  // namespace glc::bitstream

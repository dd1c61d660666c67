// SPDX-License-Identifier: Apache-2.0
/// The `.glc` container: one header, one checksum, one payload, and metadata behind a flag.
/// docs/format.md is normative and the parser follows its order.
///
///   offset  bytes  field
///        0      3  magic "GLC"
///        3      1  version << 4 | profile
///        4      2  model id: the first two bytes of the model fingerprint
///        6      1  level 0..63 (21 x quality)
///        7      1  flags: bits 0-4 coder descriptor, bit 5 chunks, bit 6 tiles, bit 7 zero
///        8    1-5  width   canonical LEB128, 1 .. 2^32 - 1
///        .    1-5  height  canonical LEB128, 1 .. 2^32 - 1
///        .    0-4  tile    only with bit 6: side of a tile / 64 pixels, canonical LEB128
///        .   0-10  payload bytes, only with bit 5, canonical LEB128
///        .      4  CRC-32C, little endian, over fingerprint (32 bytes) and all but these four
///        .    4+.  payload: 4 skip thresholds, then the coder stream without its descriptor byte;
///                  or tiles, each: length LEB128, descriptor, thresholds, coder stream
///        .      .  chunks, only with bit 5: tag, length LEB128, content; tags ascend
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace glc::bitstream {

inline constexpr std::size_t kFingerprintBytes = 32;
inline constexpr std::size_t kModelIdBytes = 2;
inline constexpr std::size_t kThresholdBytes = 4;  ///< one per part of the context model
inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::uint8_t kMaxProfile = 1;  ///< 0: of one machine; 1: fixed-order float32
inline constexpr std::uint8_t kMaxLevel = 63;
inline constexpr std::uint8_t kMaxLog2Lanes = 5;
inline constexpr std::uint8_t kEscapeBit = 0x8;     ///< of the coder descriptor
inline constexpr std::uint8_t kSegmentsBit = 0x10;  ///< of the coder descriptor, alone
inline constexpr std::uint8_t kChunksBit = 0x20;    ///< of the flags
inline constexpr std::uint8_t kTilesBit = 0x40;     ///< of the flags
inline constexpr std::uint32_t kTileUnit = 64;      ///< pixels
inline constexpr std::uint32_t kMaxTile = (1U << 26) - 1;
inline constexpr std::uint8_t kFirstEssentialTag = 128;  ///< chunks no reader may pass over

using Fingerprint = std::span<const std::uint8_t, kFingerprintBytes>;

/// Everything the header says, without magic, lengths and checksum.
struct Header {
  std::uint32_t width = 0;   ///< pixels, >= 1
  std::uint32_t height = 0;  ///< pixels, >= 1
  std::uint8_t level = 0;    ///< 0 .. 63
  std::uint8_t coder = 0;    ///< bits 0-2 log2 of the lanes (0 .. 5), bit 3 escapes; or bit 4 alone
  std::array<std::uint8_t, kModelIdBytes> model_id{};
  std::uint8_t version = kVersion;
  std::uint8_t profile = kMaxProfile;
  std::uint32_t tile = 0;  ///< side of a tile in units of 64 pixels; 0: the picture is one piece
};

/// A tagged record beside the picture.
struct Chunk {
  std::uint8_t tag;  ///< 1 .. 255
  std::span<const std::uint8_t> content;
};

struct Parsed {
  Header header;
  std::uint32_t crc = 0;            ///< as stored; `check` verifies it
  std::size_t crc_offset = 0;       ///< bytes from the start of the file
  std::size_t payload_offset = 0;   ///< bytes from the start of the file
  std::uint64_t payload_bytes = 0;  ///< as announced, else all the rest; a cut file has fewer
  bool has_chunks = false;
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
  std::uint64_t tile_bits = 0;  ///< side of the tiles, and length and descriptor of each
  std::uint64_t threshold_bits = 0;
  std::uint64_t escape_bits = 0;   ///< length prefix, payload and padding of the escape section
  std::uint64_t state_bits = 0;    ///< initial lane states
  std::uint64_t word_bits = 0;     ///< renormalisation words
  std::uint64_t segment_bits = 0;  ///< a stream of segments, as one
  std::uint64_t chunk_bits = 0;    ///< chunks, and the payload's length, which only they need
};

/// CRC-32C (Castagnoli, reflected, RFC 3720) of data, continued from the CRC of what came before.
std::uint32_t crc32c(std::span<const std::uint8_t> data, std::uint32_t previous = 0) noexcept;

/// Bytes of the whole file that `write` would write.
/// Throws InvalidArgument when a field is out of range, the payload is shorter than the thresholds,
/// or the tags of the chunks do not ascend from 1.
std::size_t file_bytes(const Header& header,
                       std::size_t payload_bytes,
                       std::span<const Chunk> chunks);

/// Write a whole container. out.size() must be file_bytes(header, payload.size(), chunks).
/// Throws InvalidArgument as file_bytes, and when the model id is not the fingerprint's beginning
/// or out has another size.
void write(const Header& header,
           std::span<const std::uint8_t> payload,
           std::span<const Chunk> chunks,
           Fingerprint fingerprint,
           std::span<std::uint8_t> out);

/// Read the header and the outline of the chunks. The checksum is not verified: that needs the
/// model (`check`). With `cut`, a payload that ends early is no error, and chunks are not looked
/// at. Throws BitstreamError naming field and byte offset, or Unsupported for another version, an
/// unknown profile or a chunk that no reader may pass over. Allocates nothing.
Parsed parse(std::span<const std::uint8_t> data, std::uint64_t max_pixels, bool cut = false);

/// The chunks of a file, borrowed from data. Throws what `parse` throws.
std::vector<Chunk> chunks(std::span<const std::uint8_t> data);

/// Verify that the file is whole and was made by the model of this fingerprint.
/// Throws BitstreamError naming both model ids, or both checksums, and what `parse` throws.
void check(std::span<const std::uint8_t> data, Fingerprint fingerprint);

/// Say where the bits go. Throws what `parse` throws, and BitstreamError when the payload is too
/// short for what its descriptor announces or holds half a word.
Accounting accounting(std::span<const std::uint8_t> data);

}  // namespace glc::bitstream

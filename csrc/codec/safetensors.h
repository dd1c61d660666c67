// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glc::codec {

/// A tensor in a file, its elements little-endian and not aligned.
struct StoredTensor {
  std::string dtype;  // "F32", "F16" or "I32"
  std::vector<std::int64_t> shape;
  std::span<const std::uint8_t> bytes;
};

/// A file in the safetensors format, read from hostile bytes: 8 bytes length of a JSON header, the
/// header, then the data. Borrows the file.
struct Safetensors {
  std::map<std::string, std::string, std::less<>> metadata;
  std::map<std::string, StoredTensor, std::less<>> tensors;
  std::span<const std::uint8_t> data;

  /// Throws BitstreamError naming the byte offset. Names and metadata with escapes in them, or
  /// other than printable ASCII, are refused: what glc writes has none.
  static Safetensors read(std::span<const std::uint8_t> file);
};

}  // namespace glc::codec

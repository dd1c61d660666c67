// SPDX-License-Identifier: Apache-2.0
//
// The golden model and files of the decoder, and what it takes to damage them so that the damage is
// found where it is, not by a checksum.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "codec/safetensors.h"
#include "core/little_endian.h"
#include "glc/bitstream.h"

namespace glc::test {

using Bytes = std::vector<std::uint8_t>;

/// A file of tests/golden/exported.
inline Bytes golden(const std::string& name) {
  std::ifstream file(GLC_GOLDEN "/exported/v1/" + name, std::ios::binary);
  if (!file) stop(name + ": not readable", std::source_location::current());
  const std::vector<char> chars{std::istreambuf_iterator<char>(file), {}};
  return {chars.begin(), chars.end()};
}

/// Makes a `.glc` file whose header can be read one of the model's, with the right checksum.
inline void put_checksum(Bytes& file,
                         std::span<const std::uint8_t, bitstream::kFingerprintBytes> fingerprint) {
  constexpr std::size_t kModelIdAt = 4;
  constexpr std::size_t kCrcBytes = 4;
  const auto parsed = bitstream::parse(file, std::numeric_limits<std::uint64_t>::max(), true);
  std::ranges::copy(fingerprint.first<bitstream::kModelIdBytes>(), file.begin() + kModelIdAt);
  const std::span<const std::uint8_t> data(file);
  std::uint32_t crc = bitstream::crc32c(fingerprint);
  crc = bitstream::crc32c(data.first(parsed.crc_offset), crc);
  crc = bitstream::crc32c(data.subspan(parsed.crc_offset + kCrcBytes), crc);
  store_u32(file.data() + parsed.crc_offset, crc);
}

/// The beginning of a `.glc` file for another size, both sides below 128.
inline Bytes resized(Bytes file, std::uint8_t width, std::uint8_t height) {
  constexpr std::size_t kSizeAt = 8;
  const auto parsed = bitstream::parse(file, std::numeric_limits<std::uint64_t>::max(), true);
  const auto at = file.begin() + kSizeAt;
  file.erase(at, at + static_cast<std::ptrdiff_t>(parsed.crc_offset - kSizeAt));
  const std::uint8_t size[] = {width, height};
  file.insert(file.begin() + kSizeAt, std::begin(size), std::end(size));
  return file;
}

/// A model file in its two parts.
struct ModelParts {
  std::string header;
  Bytes data;

  static ModelParts of(const Bytes& file) {
    const auto data = file.begin() + 8 + load_u32(file.data());
    return {.header = {file.begin() + 8, data}, .data = {data, file.end()}};
  }

  /// The file, its checksum put right if the header has one where golden files have it.
  [[nodiscard]] Bytes join() const {
    constexpr std::string_view kEntry = "\"crc32c\":\"";
    constexpr std::size_t kDigits = 8;
    std::string text = header;
    if (const std::size_t at = text.find(kEntry);
        at != std::string::npos && at + kEntry.size() + kDigits <= text.size()) {
      char digits[kDigits + 1];
      std::snprintf(digits, sizeof(digits), "%08x", bitstream::crc32c(data));
      text.replace(at + kEntry.size(), kDigits, digits);
    }
    constexpr std::size_t kLengthBytes = 8;
    Bytes out(kLengthBytes + text.size() + data.size());
    store_u32(out.data(), static_cast<std::uint32_t>(text.size()));
    const auto after = std::ranges::copy(text, out.begin() + kLengthBytes).out;
    std::ranges::copy(data, after);
    return out;
  }
};

/// A model file taken apart, to be put together otherwise.
struct Model {
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    Bytes bytes;
  };
  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;

  static Model of(const Bytes& file) {
    const auto found = codec::Safetensors::read(file);
    Model out;
    out.metadata.insert(found.metadata.begin(), found.metadata.end());
    for (const auto& [name, tensor] : found.tensors) {
      out.tensors[name] = {tensor.dtype, tensor.shape, {tensor.bytes.begin(), tensor.bytes.end()}};
    }
    return out;
  }

  [[nodiscard]] ModelParts parts() const {
    ModelParts out{.header = R"({"__metadata__":{)", .data = {}};
    const auto put = [&](std::initializer_list<std::string_view> texts) {
      for (const std::string_view text : texts) out.header += text;
    };
    const char* comma = "";
    for (const auto& [key, text] : metadata) {
      put({comma, "\"", key, "\":\"", text, "\""});
      comma = ",";
    }
    put({"}"});
    for (const auto& [name, tensor] : tensors) {
      put({",\"", name, R"(":{"dtype":")", tensor.dtype, R"(","shape":[)"});
      comma = "";
      for (const std::int64_t side : tensor.shape) {
        put({comma, std::to_string(side)});
        comma = ",";
      }
      const std::size_t begin = out.data.size();
      out.data.insert(out.data.end(), tensor.bytes.begin(), tensor.bytes.end());
      put({R"(],"data_offsets":[)", std::to_string(begin), ",", std::to_string(out.data.size())});
      put({"]}"});
    }
    put({"}"});
    return out;
  }
  [[nodiscard]] Bytes join() const { return parts().join(); }
};

}  // namespace glc::test

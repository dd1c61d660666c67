// SPDX-License-Identifier: Apache-2.0
#include "codec/model_file.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "codec/safetensors.h"
#include "core/little_endian.h"
#include "glc/error.h"
#include "glc/float16.h"

namespace glc::codec {
namespace {

constexpr std::string_view kFormat = "1";
constexpr int kTableBits = 14;

[[noreturn]] void fail(std::string_view field, const std::string& what) {
  throw BitstreamError("model: " + std::string(field) + ": " + what);
}

const std::string& text_of(const Safetensors& file, std::string_view key) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) fail(key, "expected a file that glc export wrote, got none");
  return found->second;
}

template <class T>
T number_of(std::string_view field, std::string_view text, int base = 10) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(field, "expected a number, got " + std::string(text));
  }
  return value;
}

/// "96,96": numbers with commas between them.
std::vector<std::int64_t> numbers_of(std::string_view field, std::string_view text) {
  std::vector<std::int64_t> out;
  if (text.empty()) return out;
  for (;;) {
    const std::size_t end = std::min(text.find(','), text.size());
    out.push_back(number_of<std::int64_t>(field, text.substr(0, end)));
    if (end == text.size()) return out;
    text.remove_prefix(end + 1);
  }
}

networks::Fields fields_of(const Safetensors& file) {
  constexpr std::string_view kPrefix = "config.";
  networks::Fields out;
  for (const auto& [key, text] : file.metadata) {
    if (key.starts_with(kPrefix)) out[key.substr(kPrefix.size())] = numbers_of(key, text);
  }
  return out;
}

std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint_of(const Safetensors& file) {
  constexpr std::string_view kField = "fingerprint";
  const std::string_view text = text_of(file, kField);
  std::array<std::uint8_t, bitstream::kFingerprintBytes> out{};
  if (text.size() != 2 * out.size()) fail(kField, "expected 64 digits, got " + std::string(text));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = number_of<std::uint8_t>(kField, text.substr(2 * i, 2), 16);
  }
  return out;
}

std::size_t elements(const StoredTensor& tensor) {
  return tensor.bytes.size() / (tensor.dtype == "F16" ? 2 : 4);
}

/// out has as many elements as the tensor.
void read_floats(const StoredTensor& tensor, std::span<float> out) {
  const std::uint8_t* from = tensor.bytes.data();
  if (tensor.dtype == "F16") {
    for (float& value : out) {
      value = to_float(Float16{static_cast<std::uint16_t>(load_u16(from))});
      from += 2;
    }
  } else {
    for (float& value : out) {
      value = std::bit_cast<float>(load_u32(from));
      from += 4;
    }
  }
}

/// Elements of a tensor of 4 bytes each.
template <class T>
std::vector<T> table_values(const Safetensors& file,
                            std::string_view name,
                            std::string_view dtype) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end() || found->second.dtype != dtype) {
    fail(name, "expected a tensor of " + std::string(dtype));
  }
  std::vector<T> out(elements(found->second));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = std::bit_cast<T>(load_u32(found->second.bytes.data() + 4 * i));
  }
  return out;
}

rans::TableSet gaussian_of(const Safetensors& file) {
  return rans::TableSet::from_freqs(table_values<std::uint32_t>(file, "tables.freqs", "I32"),
                                    table_values<std::int32_t>(file, "tables.n_bins", "I32"),
                                    table_values<std::int32_t>(file, "tables.offsets", "I32"),
                                    kTableBits,
                                    true);
}

}  // namespace

ModelFile ModelFile::read(std::span<const std::uint8_t> bytes) {
  const Safetensors file = Safetensors::read(bytes);
  if (const std::string& format = text_of(file, "format"); format != kFormat) {
    throw Unsupported("model: format: expected 1, got " + format + ": written by a newer glc");
  }
  const std::string& stated = text_of(file, "crc32c");
  if (number_of<std::uint32_t>("crc32c", stated, 16) != bitstream::crc32c(file.data)) {
    fail("crc32c", "expected " + stated + ", got other data: the file is damaged");
  }
  try {
    ModelFile out{.layout = networks::LightLayout::from(fields_of(file)),
                  .fingerprint = fingerprint_of(file),
                  .gaussian = gaussian_of(file),
                  .bounds = table_values<float>(file, "tables.bounds", "F32"),
                  .tensors = {},
                  .values = {}};
    if (out.bounds.size() + 1 != out.gaussian.rows()) {
      fail("tables.bounds",
           "expected one less than rows, got " + std::to_string(out.bounds.size()));
    }
    const auto is_weight = [](const auto& each) { return !each.first.starts_with("tables."); };
    std::size_t n = 0;
    for (const auto& each : file.tensors) n += is_weight(each) ? elements(each.second) : 0;
    out.values = big_array<float>(n);
    float* at = out.values.get();
    for (const auto& each : file.tensors) {
      if (!is_weight(each)) continue;
      const auto& [name, tensor] = each;
      if (tensor.dtype == "I32") fail(name, "expected floats, got I32");
      const std::span values(at, elements(tensor));
      read_floats(tensor, values);
      out.tensors.emplace(name, networks::Tensor{.shape = tensor.shape, .values = values});
      at += values.size();
    }
    return out;
  } catch (const InvalidArgument& error) {  // the file's mistake, not the caller's
    throw BitstreamError(error.what());
  }
}

}  // namespace glc::codec

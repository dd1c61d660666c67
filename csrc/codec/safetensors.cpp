// SPDX-License-Identifier: Apache-2.0
// The header is JSON of one shape:
//   {"__metadata__": {"key": "text", ...}, "name": {"dtype": "F32", "shape": [2, 3],
//    "data_offsets": [begin, end]}, ...}
// Nothing else is accepted, and nothing is nested deeper, so reading needs no recursion.
#include "codec/safetensors.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "glc/error.h"

namespace glc::codec {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 31;  // of a tensor

class Header {
 public:
  explicit Header(std::string_view text) : text_(text) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw BitstreamError("model: header: " + what + " (at byte " +
                         std::to_string(kLengthBytes + at_) + ")");
  }

  void expect(char wanted) {
    if (!take(wanted)) fail(std::string("expected '") + wanted + "'");
  }

  bool take(char wanted) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string string() {
    expect('"');
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      const char c = text_[at_];  // errors repeat it, and terminals obey more than they show
      if (c < ' ' || c > '~' || c == '\\') fail("expected printable ASCII without escapes");
    }
    if (at_ == text_.size()) fail("expected the end of a text");
    return std::string(text_.substr(begin, at_++ - begin));
  }

  std::int64_t number() {
    skip_blanks();
    std::int64_t value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || value < 0) fail("expected a number");
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  /// read() for each member of {...} or [...].
  template <class Read>
  void members(char open, char close, Read read) {
    expect(open);
    if (take(close)) return;
    do {
      read();
    } while (take(','));
    expect(close);
  }

  std::vector<std::int64_t> numbers() {
    std::vector<std::int64_t> out;
    members('[', ']', [&] { out.push_back(number()); });
    return out;
  }

  void finish() {
    skip_blanks();
    if (at_ != text_.size()) fail("expected the end of the header");
  }

 private:
  void skip_blanks() {
    constexpr std::string_view kBlanks = " \t\r\n";
    while (at_ < text_.size() && kBlanks.find(text_[at_]) != kBlanks.npos) ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::int64_t item_bytes(const Header& header, std::string_view dtype) {
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F16") return 2;
  header.fail("expected tensors of F32, F16 or I32, got " + std::string(dtype));
}

StoredTensor read_tensor(Header& header, std::span<const std::uint8_t> data) {
  StoredTensor out;
  std::vector<std::int64_t> offsets;
  header.members('{', '}', [&] {
    const std::string key = header.string();
    header.expect(':');
    if (key == "dtype") {
      out.dtype = header.string();
    } else if (key == "shape") {
      out.shape = header.numbers();
    } else if (key == "data_offsets") {
      offsets = header.numbers();
    } else {
      header.fail("expected dtype, shape or data_offsets, got " + key);
    }
  });
  std::int64_t n_bytes = item_bytes(header, out.dtype);
  for (const std::int64_t side : out.shape) {
    n_bytes *= std::min(side, kMostBytes + 1);
    if (n_bytes > kMostBytes) header.fail("expected a tensor of at most 2 GiB");
  }
  const auto size = static_cast<std::int64_t>(data.size());
  if (offsets.size() != 2 || offsets[1] > size || offsets[1] - offsets[0] != n_bytes) {
    header.fail("expected offsets of " + std::to_string(n_bytes) + " bytes within " +
                std::to_string(size));
  }
  out.bytes = data.subspan(static_cast<std::size_t>(offsets[0]), static_cast<std::size_t>(n_bytes));
  return out;
}

/// Whether the tensors lie one behind the other, from the first byte of the data to its last. The
/// format asks for it, and no file stands for more memory than it takes itself.
bool fill(std::span<const std::uint8_t> data,
          const std::map<std::string, StoredTensor, std::less<>>& tensors) {
  std::vector<std::span<const std::uint8_t>> parts;
  parts.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) parts.push_back(tensor.bytes);
  std::ranges::sort(parts, [](const auto& a, const auto& b) {
    return a.data() != b.data() ? a.data() < b.data() : a.size() < b.size();
  });
  const std::uint8_t* at = data.data();
  for (const auto& part : parts) {
    if (part.data() != at) return false;
    at += part.size();
  }
  return at == data.data() + data.size();
}

}  // namespace

Safetensors Safetensors::read(std::span<const std::uint8_t> file) {
  std::uint64_t length = 0;
  if (file.size() >= kLengthBytes) {
    for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | file[i];
  }
  if (file.size() < kLengthBytes || length > file.size() - kLengthBytes) {
    throw BitstreamError("model: header: truncated (at byte 0)");
  }
  const auto n = static_cast<std::size_t>(length);
  Safetensors out;
  out.data = file.subspan(kLengthBytes + n);
  Header header({reinterpret_cast<const char*>(file.data()) + kLengthBytes, n});
  header.members('{', '}', [&] {
    std::string name = header.string();
    header.expect(':');
    if (name == "__metadata__") {
      header.members('{', '}', [&] {
        std::string key = header.string();
        header.expect(':');
        if (!out.metadata.try_emplace(std::move(key), header.string()).second) {
          header.fail("expected every key once");
        }
      });
    } else {
      if (!out.tensors.try_emplace(std::move(name), read_tensor(header, out.data)).second) {
        header.fail("expected every name once");
      }
    }
  });
  header.finish();
  if (!fill(out.data, out.tensors)) header.fail("expected tensors that fill the data");
  return out;
}

}  // namespace glc::codec

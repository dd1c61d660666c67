// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace glc::fuzz {

/// Takes a fuzzer's bytes apart, front to back; what is missing reads as zero.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> data) : data_(data) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(little_endian(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(little_endian(2)); }
  std::uint32_t u32() { return little_endian(4); }
  /// A number below n, from one byte.
  std::size_t below(std::size_t n) { return u8() % n; }
  template <class T, std::size_t kSize>
  T one_of(const T (&choices)[kSize]) {
    return choices[below(kSize)];
  }
  /// Up to n bytes.
  std::span<const std::uint8_t> take(std::size_t n) {
    const auto out = data_.first(std::min(n, data_.size()));
    data_ = data_.subspan(out.size());
    return out;
  }
  std::span<const std::uint8_t> rest() { return take(data_.size()); }
  [[nodiscard]] std::size_t size() const { return data_.size(); }

 private:
  std::uint32_t little_endian(std::size_t n) {
    std::uint32_t out = 0;
    const auto bytes = take(n);
    for (std::size_t i = bytes.size(); i-- > 0;) out = out << 8 | bytes[i];
    return out;
  }
  std::span<const std::uint8_t> data_;
};

/// Up to seven edits: a byte changed, inserted, or everything after it cut off.
inline void damage(Input& input, std::vector<std::uint8_t>& bytes) {
  for (std::size_t n = input.below(8); n > 0 && !bytes.empty(); --n) {
    const std::size_t at = input.u16() % bytes.size();
    const std::size_t kind = input.below(8);
    if (kind == 0) {
      bytes.resize(at);
    } else if (kind == 1) {
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), input.u8());
    } else {
      bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ input.u8());
    }
  }
}

}  // namespace glc::fuzz

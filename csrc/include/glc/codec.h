// SPDX-License-Identifier: Apache-2.0
//
// Whole pictures: decodes `.glc` files, which docs/format.md specifies, with a model that
// `glc export` wrote. The same picture, bit for bit, on every machine.
//
//   glc::codec::Decoder decoder(model_bytes);
//   const auto size = decoder.size(file_bytes);
//   std::vector<std::uint8_t> pixels(size.bytes());
//   decoder.decode(file_bytes, pixels);
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace glc::codec {

/// Pixels of the largest picture that is decoded unasked.
inline constexpr std::uint64_t kMaxPixels = 178'956'970;

/// Sides of a picture, pixels.
struct Size {
  std::uint32_t width = 0;
  std::uint32_t height = 0;

  /// Of [height, width, 3] uint8. Throws std::bad_alloc where size_t cannot hold it.
  [[nodiscard]] std::size_t bytes() const;
};

struct Options {
  std::uint64_t max_pixels = kMaxPixels;  ///< refuse a file that claims more
  int until = 4;         ///< parts to use behind the hyper indices, 0..4; each makes it better
  bool partial = false;  ///< draw a file that was cut, or whose checksum is wrong, as far as its
                         ///< parts are whole
};

/// How far a picture can be relied upon.
struct Restored {
  int n_parts = 0;        ///< parts that were used, 0..4
  bool verified = false;  ///< whether the checksum was found right
};

/// A model, ready to decode. Never changes: any number of threads may decode with one at once.
class Decoder {
 public:
  /// A file that `glc export` wrote; copied. Throws BitstreamError when it is damaged or is none,
  /// Unsupported when a newer glc wrote it.
  explicit Decoder(std::span<const std::uint8_t> model);
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Of the model: a file names the first two bytes of that which wrote it.
  [[nodiscard]] std::span<const std::uint8_t, 32> fingerprint() const;

  /// Sides of a file's picture. Throws what `decode` throws for its header.
  [[nodiscard]] static Size size(std::span<const std::uint8_t> data, const Options& options = {});

  /// Draws the picture of a file: pixels [height, width, 3] sRGB, of size(data).bytes().
  /// Throws BitstreamError: damaged, truncated, made by another model, too many pixels, or a
  /// picture that is not finite; Unsupported: written by another version; InvalidArgument: `until`
  /// out of range, or pixels of another size. What was drawn before that is unspecified.
  /// Uses glc::threads() threads.
  Restored decode(std::span<const std::uint8_t> data,
                  std::span<std::uint8_t> pixels,
                  const Options& options = {}) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace glc::codec

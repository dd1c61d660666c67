// SPDX-License-Identifier: Apache-2.0
//
// Whole pictures to `.glc` files, which docs/format.md specifies, and back, with a model that
// `glc export` wrote. The same files and pictures, bit for bit, on every machine.
//
//   glc::codec::Encoder encoder(model_bytes);  // of `glc export --encoder`
//   const std::vector<std::uint8_t> file = encoder.encode(pixels, {.width = 768, .height = 512});
//
//   glc::codec::Decoder decoder(model_bytes);
//   const glc::codec::Size size = decoder.size(file);
//   std::vector<std::uint8_t> restored(size.bytes());
//   decoder.decode(file, restored);
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

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

/// Told the fraction of a call's work that is done: 0 first, never less than before, 1 last, unless
/// the call throws. It is called by the thread that made the call, a few dozen times for a picture
/// of up to 8 megapixels. An exception that it throws ends the call and travels to the caller: this
/// is how to cancel. Encoder and decoder stay as they were.
using Progress = std::function<void(double done)>;

/// How to decode.
struct DecodeOptions {
  std::uint64_t max_pixels = kMaxPixels;  ///< refuse a file that claims more
  int until = 4;         ///< parts to use behind the hyper indices, 0..4; each makes it better
  bool partial = false;  ///< draw a file that was cut, or whose checksum is wrong, as far as its
                         ///< parts are whole
  Progress progress = nullptr;  ///< of `decode`; nobody is told unless given
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
  [[nodiscard]] static Size size(std::span<const std::uint8_t> data,
                                 const DecodeOptions& options = {});

  /// Draws the picture of a file: pixels [height, width, 3] sRGB, of size(data).bytes().
  /// Throws BitstreamError: damaged, truncated, made by another model, too many pixels, or a
  /// picture that is not finite; Unsupported: written by another version; InvalidArgument: an
  /// option out of range, or pixels of another size; and what options.progress throws. What was
  /// drawn before that is unspecified.
  /// Uses glc::threads() threads.
  Restored decode(std::span<const std::uint8_t> data,
                  std::span<std::uint8_t> pixels,
                  const DecodeOptions& options = {}) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

/// How to encode.
struct EncodeOptions {
  double quality = 2.0;  ///< 0 (smallest file) to 3, rounded to a 21st
  std::optional<std::size_t> target_bytes = std::nullopt;  ///< instead, the size not to exceed: the
                                                           ///< highest level that is found to fit
  std::uint32_t tile = 0;       ///< code squares of so many pixels independently; 0 codes the whole
  Progress progress = nullptr;  ///< of `encode`; nobody is told unless given
};

/// A model, ready to encode. Never changes: any number of threads may encode with one at once.
class Encoder {
 public:
  /// A file that `glc export --encoder` wrote; copied. Throws as Decoder's.
  explicit Encoder(std::span<const std::uint8_t> model);
  ~Encoder();
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// As Decoder's.
  [[nodiscard]] std::span<const std::uint8_t, 32> fingerprint() const;

  /// The file of a picture: pixels [height, width, 3] uint8, sRGB.
  /// Throws InvalidArgument: sides or pixels that do not fit each other, too thin a picture, a
  /// quality or tile out of range, a target that even quality 0 exceeds, or a picture that the
  /// model cannot code or draw; and what options.progress throws. Uses glc::threads() threads.
  [[nodiscard]] std::vector<std::uint8_t> encode(std::span<const std::uint8_t> pixels,
                                                 Size size,
                                                 const EncodeOptions& options = {}) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace glc::codec

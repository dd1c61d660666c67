// SPDX-License-Identifier: Apache-2.0
//
// The layers that light models are made of, on exact convolutions (glc/exact.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/big_array.h"
#include "glc/exact.h"
#include "networks/map.h"
#include "networks/share.h"
#include "networks/tensors.h"

namespace glc::networks {

inline constexpr float kDepthSlope = 0.01F;  // LeakyReLU of the depthwise part of a block
inline constexpr float kFfnSlope = 0.1F;     // LeakyReLU of its gated feed-forward part

/// Memory that the layers of one call use in turn.
class Scratch {
 public:
  [[nodiscard]] std::span<std::byte> of(std::size_t bytes) {
    if (bytes > bytes_) {
      memory_.reset();
      bytes_ = 0;
      memory_ = big_array<std::byte>(bytes);
      bytes_ = bytes;
    }
    return {memory_.get(), bytes_};
  }

 private:
  BigArray<std::byte> memory_;
  std::size_t bytes_ = 0;
};

/// From a map to a map; a row of the one stands for a fixed number of rows of the other.
class Layer {
 public:
  Layer() = default;
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;
  Layer(Layer&&) = delete;
  Layer& operator=(Layer&&) = delete;

  [[nodiscard]] virtual Map run(const Map& x, Scratch& scratch) const = 0;
  /// How many rows of the input above and below its own an output needs that has so many rows
  /// above and below.
  [[nodiscard]] virtual std::int64_t margin(std::int64_t of_output) const = 0;
  /// Multiply-adds for each position of the input.
  [[nodiscard]] virtual double work() const = 0;
  /// Positions of the output for each of the input.
  [[nodiscard]] virtual double positions() const { return 1.0; }
};

using Layers = std::vector<std::unique_ptr<const Layer>>;

/// How far a chain of layers has come, by their multiply-adds. Its end is the caller's to tell, who
/// has more to do with what the last layer gives.
class ChainProgress {
 public:
  /// Of layers that follow one another.
  ChainProgress(const Share& progress, std::initializer_list<const Layers*> chain);
  /// To be called behind each of them.
  void ran(const Layer& layer);

 private:
  void add(const Layer& layer);

  Share progress_;
  double all_ = 0.0;
  double done_ = 0.0;
  double positions_ = 1.0;  // for each of the first layer's input
};

/// Runs layers in a row.
[[nodiscard]] Map run(const Layers& layers, const Map& x, Scratch& scratch);
[[nodiscard]] Map run(const Layers& layers,
                      Map&& x,
                      Scratch& scratch,
                      ChainProgress* progress = nullptr);
[[nodiscard]] std::int64_t margin(const Layers& layers, std::int64_t of_output);

/// LeakyReLU(conv(x)), 1x1 or 3x3, at a stride, or followed by a pixel shuffle.
class Conv final : public Layer {
 public:
  struct Options {
    std::int64_t kernel = 1;
    std::int64_t stride = 1;
    std::optional<float> slope = std::nullopt;
    std::int64_t shuffle = 1;  // factor; not with a stride
  };

  /// From a to b channels. Throws InvalidArgument when there are no such weights.
  Conv(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b, Options options);
  Conv(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b)
      : Conv(reader, name, a, b, Options{}) {}

  [[nodiscard]] Map run(const Map& x, Scratch& scratch) const override {
    return run(x, scratch, nullptr);
  }
  /// The same plus a residual of the result's shape.
  [[nodiscard]] Map run(const Map& x, Scratch& scratch, const Map* residual) const;
  [[nodiscard]] std::int64_t margin(std::int64_t of_output) const override;
  [[nodiscard]] double work() const override;
  [[nodiscard]] double positions() const override;

 private:
  exact::Conv conv_;
  Options options_;
};

/// The depthwise and gated block that most of a model is made of (facts B4).
class DepthConvBlock final : public Layer {
 public:
  /// As Conv's.
  DepthConvBlock(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b);

  [[nodiscard]] Map run(const Map& x, Scratch& scratch) const override;
  [[nodiscard]] std::int64_t margin(std::int64_t of_output) const override { return of_output + 1; }
  [[nodiscard]] double work() const override;

 private:
  exact::DepthConvBlock block_;
};

/// x + conv3x3(LeakyReLU(conv3x3(x))) through half the channels.
class Bottleneck final : public Layer {
 public:
  /// As Conv's.
  Bottleneck(Reader& reader, const std::string& name, std::int64_t channels);

  [[nodiscard]] Map run(const Map& x, Scratch& scratch) const override;
  [[nodiscard]] std::int64_t margin(std::int64_t of_output) const override { return of_output + 2; }
  [[nodiscard]] double work() const override { return conv1_.work() + conv2_.work(); }

 private:
  Conv conv1_;
  Conv conv2_;
};

/// Doubles the sides: a path of shuffled pixels plus a shuffled 1x1 skip (facts B5).
class Upsample final : public Layer {
 public:
  /// As Conv's.
  Upsample(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b);

  [[nodiscard]] Map run(const Map& x, Scratch& scratch) const override;
  [[nodiscard]] std::int64_t margin(std::int64_t of_output) const override {
    return inner_.margin(conv_.margin(of_output));
  }
  [[nodiscard]] double work() const override {
    return inner_.work() + skip_.work() + positions() * conv_.work();
  }
  [[nodiscard]] double positions() const override { return inner_.positions(); }

 private:
  Conv inner_;
  Conv skip_;
  Conv conv_;
};

/// n DepthConvBlocks of as many channels out as in: name.first, name.(first + 1), ...
void add_blocks(Layers& layers,
                Reader& reader,
                const std::string& name,
                std::int64_t first,
                std::int64_t n,
                std::int64_t channels);

/// A last layer whose outputs are (scale, mean), computed for one context part at a time.
class Heads {
 public:
  enum class Kind : std::uint8_t { kBlock, kConv };

  /// A DepthConvBlock, or a 1x1 convolution, from a to b channels. Throws as Conv's.
  Heads(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b, Kind kind);

  /// [a, h, w], both sides even -> [b, h / 2, w / 2]: scales, then means, at the part's positions.
  [[nodiscard]] Map run(const Map& x, int part, Scratch& scratch) const;
  [[nodiscard]] std::int64_t margin(std::int64_t of_output) const;

 private:
  std::int64_t channels_;
  std::optional<exact::DepthConvBlock> block_;
  std::vector<exact::Conv> convs_;  // of each group of channels, where it is no block
};

}  // namespace glc::networks

// SPDX-License-Identifier: Apache-2.0
//
// Convolutions whose results are the same bits on every machine: the networks that predict symbols
// run again in the decoder. Normative, for every output:
//
//   sum = bias, then sum = fma(x, weight, sum) over (tap row, tap column, input channel), each
//   ascending, in float32; a tap outside x reads 0 and counts; LeakyReLU(v) = v > 0 ? v : v *
//   slope; products and additions round once each. Nothing is flushed to zero, whatever the calling
//   thread's settings. Equal up to the payload and sign of a NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

namespace glc::exact {

struct Backend;
class Workspace;

/// Borrowed feature maps [n, c, h, w], contiguous.
template <class T>
struct MapView {
  T* data = nullptr;
  std::int64_t n = 0;
  std::int64_t c = 0;
  std::int64_t h = 0;
  std::int64_t w = 0;

  [[nodiscard]] constexpr std::int64_t size() const { return n * c * h * w; }
  /// Maps of mutable data are also maps of constant data.
  template <class U>
    requires(!std::is_const_v<T> && std::is_same_v<U, const T>)
  constexpr operator MapView<U>() const {
    return {data, n, c, h, w};
  }
};

/// Every stride-th row and column of a map, from (row, col) on: 0 <= row, col < stride.
struct Sampling {
  std::int64_t stride = 1;
  std::int64_t row = 0;
  std::int64_t col = 0;

  /// How many of n rows (or columns) are taken, from `first` on.
  [[nodiscard]] constexpr std::int64_t count(std::int64_t n, std::int64_t first) const {
    return n > first ? (n - first + stride - 1) / stride : 0;
  }
};

/// Weights in a kernel's own order, packed once.
struct Packed {
  std::vector<float> weights;
  std::vector<float> bias;
  std::int64_t k = 0;
  std::int64_t n_panels = 0;
};

/// A dense convolution, 1x1 or 3x3 with one pixel of zero padding. Copies what it is given.
class Conv {
 public:
  /// weight [out_channels, in_channels, kernel, kernel] · bias [out_channels] · kernel 1 or 3
  /// `use` is for tests: the kernels in force unless given.
  /// Throws InvalidArgument.
  Conv(std::span<const float> weight,
       std::span<const float> bias,
       std::int64_t in_channels,
       std::int64_t out_channels,
       std::int64_t kernel,
       const Backend* use = nullptr);

  struct Options {
    Sampling sampling = {};  ///< of the outputs; a 3x3 convolution takes no row or col
    std::optional<float> slope = std::nullopt;  ///< of a LeakyReLU
    std::int64_t shuffle = 1;            ///< 2: pixel shuffle, [n, 4 c, h, w] -> [n, c, 2 h, 2 w]
    MapView<const float> residual = {};  ///< added last, sized like out; not with a shuffle
  };

  /// out = residual + shuffle(LeakyReLU(convolution(x)))
  ///   x [n, in_channels, h, w] · out, written, [n, out_channels / shuffle^2, h', w'] with
  ///   h' = shuffle * sampling.count(h, row) · workspace at least workspace_bytes()
  /// Uses glc::threads() threads. Throws InvalidArgument.
  void run(MapView<const float> x,
           const Options& options,
           MapView<float> out,
           std::span<std::byte> workspace) const;

  [[nodiscard]] std::size_t workspace_bytes() const;
  [[nodiscard]] std::int64_t in_channels() const { return in_channels_; }
  [[nodiscard]] std::int64_t out_channels() const { return out_channels_; }

 private:
  const Backend* use_;
  std::int64_t in_channels_;
  std::int64_t out_channels_;
  std::int64_t kernel_;
  Packed packed_;
};

/// `use` as depthwise3x3() gets it. Throws InvalidArgument when w is more than an input may have.
std::size_t depthwise_workspace_bytes(std::int64_t w, const Backend* use = nullptr);

/// Depthwise 3x3 convolution with one pixel of zero padding.
///   x [n, c, h, w] · weight [c, 3, 3] · bias [c] · out like x, written
///   workspace at least depthwise_workspace_bytes(w, use)
/// `use` is for tests: the kernels in force unless given. Throws InvalidArgument.
void depthwise3x3(MapView<const float> x,
                  std::span<const float> weight,
                  std::span<const float> bias,
                  MapView<float> out,
                  std::span<std::byte> workspace,
                  const Backend* use = nullptr);

/// The block that the entropy path is made of:
///   spatial = project(depthwise(LeakyReLU(expand(x)))) + skip(x)
///   (u, v)  = gate(spatial), halves by channel
///   out     = contract(u * LeakyReLU(v)) + spatial
/// All but the depthwise 3x3 are 1x1; skip is the adaptor, or x itself where a == b.
class DepthConvBlock {
 public:
  struct Weights {
    std::int64_t in_channels;            // a
    std::int64_t out_channels;           // b
    std::span<const float> expand;       // [a, a]
    std::span<const float> expand_bias;  // [a]
    std::span<const float> depthwise;    // [a, 3, 3]
    std::span<const float> depthwise_bias;
    std::span<const float> project;  // [b, a]
    std::span<const float> project_bias;
    std::span<const float> adaptor;  // [b, a], or empty
    std::span<const float> adaptor_bias;
    std::span<const float> gate;  // [4 b, b]
    std::span<const float> gate_bias;
    std::span<const float> contract;  // [b, 2 b]
    std::span<const float> contract_bias;
    float depth_slope;
    float gate_slope;
  };

  /// n_heads > 1 cuts the outputs: they are two halves (scale, mean) of n_heads groups each, and
  /// head g gives group g of both halves. Copies the weights.
  /// Throws InvalidArgument.
  explicit DepthConvBlock(const Weights& weights,
                          std::int64_t n_heads = 1,
                          const Backend* use = nullptr);

  /// outs[g] = head g of the block at the pixels that samplings[g] takes.
  ///   x [n, a, h, w] · outs[g], written, [n, b / n_heads, count(h), count(w)]
  ///   strides 1 or 2 · workspace at least workspace_bytes(h, w)
  /// Throws InvalidArgument.
  void run(MapView<const float> x,
           std::span<const Sampling> samplings,
           std::span<const MapView<float>> outs,
           std::span<std::byte> workspace) const;

  /// Throws InvalidArgument when h or w is more than an input may have.
  [[nodiscard]] std::size_t workspace_bytes(std::int64_t h, std::int64_t w) const;
  [[nodiscard]] std::int64_t in_channels() const { return a_; }
  [[nodiscard]] std::int64_t out_channels() const { return b_; }
  [[nodiscard]] std::int64_t n_heads() const { return static_cast<std::int64_t>(heads_.size()); }

 private:
  struct Head {
    Packed packed;
    std::vector<std::int64_t> channels;  // of each row, -1 for none
  };

  [[nodiscard]] std::int64_t padded_floats(std::int64_t h, std::int64_t w) const;
  void expand(MapView<const float> x, const Workspace& memory) const;
  void finish(MapView<const float> x,
              std::int64_t image,
              std::span<const Sampling> samplings,
              std::span<const MapView<float>> outs,
              const Workspace& memory) const;

  const Backend* use_;
  std::int64_t a_;
  std::int64_t b_;
  float depth_slope_;
  float gate_slope_;
  Packed expand_;
  std::vector<float> depthwise_;
  std::vector<float> depthwise_bias_;
  Packed project_;
  Packed adaptor_;
  Packed gate_;
  std::vector<Head> heads_;
};

}  // namespace glc::exact

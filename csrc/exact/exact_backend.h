// SPDX-License-Identifier: Apache-2.0
//
// What the driver (exact_cpu.cpp) and the kernels of one instruction set (exact_kernel.h) agree on.
// A tile is a run of output pixels of one image in row-major order, at most `pixels` of them;
// inside a kernel every feature map of a tile is [channels][pixels].
#pragma once

#include <cstdint>

#include "core/cpu_features.h"

namespace glc::exact {

/// Weights in the order a kernel reads them; k counts (row, column, input channel) of the taps.
struct PackedView {
  const float* weights;  // [blocks of k][panels][k within the block][rows]
  const float* bias;     // [panels][rows]
  std::int64_t k;
  std::int64_t n_panels;
};

/// Where the pixels of a tile read: output (i, j) has its first tap at x(step * i + row, step * j +
/// col), which may lie outside x.
struct Window {
  std::int64_t h;  // of x
  std::int64_t w;
  std::int64_t w_out;
  std::int64_t step;
  std::int64_t row;
  std::int64_t col;
};

struct Tile {
  std::int64_t first;
  std::int64_t n;
};

/// A dense convolution of one tile, for the output channels of n_panels panels.
struct ConvTask {
  const float* x;  // [in_channels][h][w]
  PackedView weights;
  Window window;
  Tile tile;
  std::int64_t in_channels;
  std::int64_t kernel;
  std::int64_t n_out;  // output channels that exist; the last panel may have more rows
  std::int64_t first_panel;
  std::int64_t n_panels;
  bool activate;
  float slope;
  std::int64_t shuffle;   // 1 or 2
  const float* residual;  // placed like out, or null
  float* out;             // [channels][rows][columns], with these strides
  std::int64_t plane_stride;
  std::int64_t row_stride;
  std::int64_t w_out;
  float* scratch;  // conv_scratch floats
};

/// Rows [first_row, first_row + n_rows) of one channel's depthwise 3x3 convolution.
struct DepthwiseTask {
  const float* x;  // [h][w]
  std::int64_t h;
  std::int64_t w;
  std::int64_t first_row;
  std::int64_t n_rows;
  const float* weights;  // [9]
  float bias;
  float* out;      // [h][w]
  float* scratch;  // (n_rows + 2) * (w + 2) + slack floats
};

/// From the first convolution of a DepthConvBlock to its end, for one tile.
struct BlockTask {
  const float* expanded;  // [a][h + 2][w + 2], the first convolution's output in a border of zeros
  const float* x;         // [a][h][w]
  Window window;
  Tile tile;
  std::int64_t a;
  std::int64_t b;
  const float* depthwise;  // [a][9]
  const float* depthwise_bias;
  PackedView project;
  PackedView adaptor;  // weights null when a == b and the skip is x itself
  PackedView gate;     // each panel: rows / 2 of the first half, then their partners
  PackedView contract;
  const std::int64_t* contract_channels;  // [panels][rows], the channel of each row, -1 for none
  float slope;
  float* out;  // [rows that are channels][plane_stride]
  std::int64_t plane_stride;
  float* scratch;  // block_scratch(a, b) floats
};

/// The kernels of one instruction set. All give the same bits.
struct Backend {
  Simd simd;
  std::int64_t rows;    // output channels in a panel, even
  std::int64_t pixels;  // of a tile
  std::int64_t block;   // k in a block
  std::int64_t slack;   // floats that may be read, not used, behind a padded map
  std::int64_t conv_scratch;
  std::int64_t (*block_scratch)(std::int64_t a, std::int64_t b);
  void (*conv)(const ConvTask&);
  void (*depthwise)(const DepthwiseTask&);
  void (*block_tail)(const BlockTask&);
  float (*spin)(std::int64_t n);  // the arithmetic of `multiply` without its memory, for benchmarks
  std::int64_t spin_flops;        // of one of the n
};

[[nodiscard]] Backend backend_scalar();
[[nodiscard]] Backend backend_avx2();
[[nodiscard]] Backend backend_avx512();
[[nodiscard]] Backend backend_neon();
/// In place of the scalar one where relaxed_madd rounds once (GLC_RELAXED_SIMD).
[[nodiscard]] Backend backend_relaxed();
[[nodiscard]] float relaxed_madd(float a, float b, float c);

/// The kernels of an instruction set, null when this build or CPU has none.
[[nodiscard]] const Backend* backend_of(Simd simd);

/// The kernels in force: what GLC_SIMD asks for, else the fastest.
/// Throws Unsupported, also when the CPU has no fused multiply-add and the C library's is wrong.
[[nodiscard]] const Backend& backend();

}  // namespace glc::exact

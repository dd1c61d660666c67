// SPDX-License-Identifier: Apache-2.0
//
// The kernels, a template over a Vec trait, one instantiation per instruction set.
//
// Vectors hold pixels, never channels or taps: each lane is one output's own chain, so the width of
// a vector cannot change an order. A chain longer than one block of k rests in memory between
// blocks, which rounds nothing.
//
//   tile [k][kPixels]      panel [k][kRows]
//   sums[row][pixel] = fma(tile[k][pixel], panel[k][row], sums[row][pixel])   for k ascending
#pragma once

#include <cstdint>

#include "exact/exact_backend.h"
#include "exact/exact_rows.h"

namespace glc::exact {

template <class Vec>
struct Kernel : PixelRows<Vec> {
  using PixelRows<Vec>::kPixels;
  using PixelRows<Vec>::kWidth;
  using PixelRows<Vec>::add;
  using PixelRows<Vec>::copy;
  using PixelRows<Vec>::copy_strided;
  using PixelRows<Vec>::fill_zero;
  using PixelRows<Vec>::for_rows;
  using PixelRows<Vec>::pack;
  using PixelRows<Vec>::pack_tap;
  using PixelRows<Vec>::vecs;
  using Float = typename Vec::Float;
  static constexpr std::int64_t kRows = Vec::kRows;
  static constexpr std::int64_t kBlockFloats = 9216;  // 36 KiB: a block stays in an L1 cache of 48
  static constexpr std::int64_t kBlock = kBlockFloats / kPixels;
  static constexpr std::int64_t kPanelFloats = kRows * kPixels;
  static constexpr std::int64_t kGroup = 24576 / kPanelFloats;  // whose sums, 96 KiB, stay in L2

  // ---------------------------------------------------------------- chains

  /// One panel over one block of k, kN vectors of pixels. The sums start at the bias, if given.
  template <int kN>
  static void multiply(
      const float* tile, const float* panel, std::int64_t n, const float* bias, float* sums) {
    Float sum[kRows][kN];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kN; ++v) {
        sum[r][v] = bias ? Vec::broadcast(bias[r]) : Vec::load(sums + r * kPixels + v * kWidth);
      }
    }
    for (std::int64_t k = 0; k < n; ++k, tile += kPixels, panel += kRows) {
      Float x[kN];
#pragma GCC unroll 8
      for (int v = 0; v < kN; ++v) x[v] = Vec::load(tile + v * kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Float weight = Vec::broadcast(panel[r]);
#pragma GCC unroll 8
        for (int v = 0; v < kN; ++v) sum[r][v] = Vec::fma(x[v], weight, sum[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kN; ++v) Vec::store(sums + r * kPixels + v * kWidth, sum[r][v]);
    }
  }

  template <int kN>
  static void multiply_panels(const float* tile,
                              const float* panel,
                              std::int64_t n,
                              std::int64_t n_panels,
                              const float* bias,
                              float* sums) {
    for (std::int64_t p = 0; p < n_panels; ++p) {
      multiply<kN>(tile, panel, n, bias, sums);
      panel += n * kRows;
      sums += kPanelFloats;
      if (bias) bias += kRows;
    }
  }

  /// sums[panel][row][pixel] of n_panels panels; block_of(k0, n) gives the tile's values of k.
  template <class BlockOf>
  static void chains(const PackedView& w,
                     std::int64_t first_panel,
                     std::int64_t n_panels,
                     std::int64_t n_vecs,
                     float* sums,
                     BlockOf block_of) {
    for (std::int64_t k0 = 0; k0 < w.k; k0 += kBlock) {
      const std::int64_t n = w.k - k0 < kBlock ? w.k - k0 : kBlock;
      const float* tile = block_of(k0, n);
      const float* panel = w.weights + (k0 * w.n_panels + first_panel * n) * kRows;
      const float* bias = k0 == 0 ? w.bias + first_panel * kRows : nullptr;
      if (n_vecs == 1) {
        multiply_panels<1>(tile, panel, n, n_panels, bias, sums);
      } else if (n_vecs == 2) {
        multiply_panels<2>(tile, panel, n, n_panels, bias, sums);
      } else {
        multiply_panels<3>(tile, panel, n, n_panels, bias, sums);
      }
    }
  }

  /// row(panel * kRows + r, its sums) for every row of every panel, of a tile that lies in memory.
  template <class Row>
  static void multiply_tile(
      const PackedView& w, const float* tile, std::int64_t n_vecs, float* sums, Row row) {
    for (std::int64_t first = 0; first < w.n_panels; first += kGroup) {
      const std::int64_t left = w.n_panels - first;
      const std::int64_t n = left < kGroup ? left : kGroup;
      chains(w, first, n, n_vecs, sums, [tile](std::int64_t k0, std::int64_t) {
        return tile + k0 * kPixels;
      });
      for (std::int64_t r = 0; r < n * kRows; ++r) row(first * kRows + r, sums + r * kPixels);
    }
  }

  // ---------------------------------------------------------------- dense convolution

  static Float leaky(Float v, Float slope) { return Vec::where_positive(v, v, Vec::mul(v, slope)); }

  static void conv(const ConvTask& t) {
    float* block = t.scratch;
    float* sums = block + kBlockFloats;
    const std::int64_t n_vecs = vecs(t.tile);
    chains(
        t.weights, t.first_panel, t.n_panels, n_vecs, sums, [&](std::int64_t k0, std::int64_t n) {
          pack(t, k0, n, block);
          return block;
        });
    const std::int64_t first = t.first_panel * kRows;
    const std::int64_t left = t.n_out - first;
    const std::int64_t n_rows = left < t.n_panels * kRows ? left : t.n_panels * kRows;
    if (t.activate) {
      const Float slope = Vec::broadcast(t.slope);
      for (std::int64_t r = 0; r < n_rows; ++r) {
        for (std::int64_t v = 0; v < n_vecs; ++v) {
          float* at = sums + r * kPixels + v * kWidth;
          Vec::store(at, leaky(Vec::load(at), slope));
        }
      }
    }
    if (t.shuffle == 1) {
      for (std::int64_t r = 0; r < n_rows; ++r) store_row(t, first + r, sums + r * kPixels);
    } else {
      for (std::int64_t r = 0; r < n_rows; r += 2) store_pair(t, first + r, sums + r * kPixels);
    }
  }

  static void store_row(const ConvTask& t, std::int64_t channel, float* row) {
    const std::int64_t plane = channel * t.plane_stride;
    if (t.row_stride == t.w_out) {
      const std::int64_t at = plane + t.tile.first;
      if (t.residual) add(row, t.residual + at, t.tile.n);
      copy(t.out + at, row, t.tile.n);
      return;
    }
    for_rows(
        t.tile, t.w_out, [&](std::int64_t done, std::int64_t i, std::int64_t j, std::int64_t n) {
          const std::int64_t at = plane + i * t.row_stride + j;
          if (t.residual) add(row + done, t.residual + at, n);
          copy(t.out + at, row + done, n);
        });
  }

  /// Pixel shuffle by 2: channels 4 c + 2 dy and the next one alternate in row 2 i + dy of c.
  static void store_pair(const ConvTask& t, std::int64_t channel, const float* row) {
    const std::int64_t plane = channel / 4 * t.plane_stride;
    const std::int64_t dy = channel % 4 / 2;
    for_rows(
        t.tile, t.w_out, [&](std::int64_t done, std::int64_t i, std::int64_t j, std::int64_t n) {
          float* out = t.out + plane + (2 * i + dy) * t.row_stride + 2 * j;
          const float* even = row + done;
          const float* odd = even + kPixels;
          for (std::int64_t p = 0; p < n; ++p) {
            out[2 * p] = even[p];
            out[2 * p + 1] = odd[p];
          }
        });
  }

  // ---------------------------------------------------------------- depthwise convolution

  /// n outputs, rounded up to whole vectors, from the pixel whose first tap is x[0].
  static void depthwise_row(const float* x,
                            std::int64_t pitch,
                            const float* weights,
                            float bias,
                            std::int64_t n,
                            float* out) {
    Float weight[9];
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) weight[tap] = Vec::broadcast(weights[tap]);
    for (std::int64_t i = 0; i < n; i += kWidth) {
      Float sum = Vec::broadcast(bias);
#pragma GCC unroll 9
      for (int tap = 0; tap < 9; ++tap) {
        const float* at = x + i + tap / 3 * pitch + tap % 3;
        sum = Vec::fma(Vec::load(at), weight[tap], sum);
      }
      Vec::store(out + i, sum);
    }
  }

  static void depthwise(const DepthwiseTask& t) {
    const std::int64_t pitch = t.w + 2;
    for (std::int64_t r = 0; r < t.n_rows + 2; ++r) {
      float* row = t.scratch + r * pitch;
      const std::int64_t from = t.first_row + r - 1;
      row[0] = 0.0F;
      row[t.w + 1] = 0.0F;
      if (from < 0 || from >= t.h) {
        fill_zero(row + 1, t.w);
      } else {
        copy(row + 1, t.x + from * t.w, t.w);
      }
    }
    const std::int64_t n_whole = t.w / kWidth * kWidth;
    for (std::int64_t r = 0; r < t.n_rows; ++r) {
      const float* x = t.scratch + r * pitch;
      float* out = t.out + (t.first_row + r) * t.w;
      depthwise_row(x, pitch, t.weights, t.bias, n_whole, out);
      if (n_whole == t.w) continue;
      float rest[kWidth];
      depthwise_row(x + n_whole, pitch, t.weights, t.bias, 1, rest);
      copy(out + n_whole, rest, t.w - n_whole);
    }
  }

  // ---------------------------------------------------------------- DepthConvBlock

  static std::int64_t block_scratch(std::int64_t a, std::int64_t b) {
    const std::int64_t hidden = a > 2 * b ? a : 2 * b;
    return kGroup * kPanelFloats + (a + b + hidden) * kPixels + 2 * kPixels + kWidth;
  }

  /// The tile's depthwise outputs, [a][kPixels]. What it writes past a row, later rows overwrite.
  static void depthwise_tile(const BlockTask& t, float* line, float* out) {
    const std::int64_t pitch = t.window.w + 2;
    const std::int64_t plane = (t.window.h + 2) * pitch;
    const std::int64_t step = t.window.step;
    for (std::int64_t c = 0; c < t.a; ++c) {
      const float* x = t.expanded + c * plane;
      const float* weights = t.depthwise + 9 * c;
      const float bias = t.depthwise_bias[c];
      float* to = out + c * kPixels;
      for_rows(t.tile,
               t.window.w_out,
               [&](std::int64_t done, std::int64_t i, std::int64_t j, std::int64_t n) {
                 const float* at = x + (step * i + t.window.row) * pitch + step * j + t.window.col;
                 if (step == 1) {
                   depthwise_row(at, pitch, weights, bias, n, to + done);
                 } else {
                   depthwise_row(at, pitch, weights, bias, step * (n - 1) + 1, line);
                   copy_strided(to + done, line, n, step);
                 }
               });
    }
  }

  static void block_tail(const BlockTask& t) {
    float* line = t.scratch;
    float* sums = line + 2 * kPixels + kWidth;
    float* spatial = sums + kGroup * kPanelFloats;  // [a]
    float* middle = spatial + t.a * kPixels;        // [b]
    float* hidden = middle + t.b * kPixels;         // [max(a, 2 b)]
    const std::int64_t n_vecs = vecs(t.tile);
    depthwise_tile(t, line, spatial);
    if (t.adaptor.weights) {
      pack_tap(t.x, t.a, t.window, t.tile, 0, 0, hidden);
      multiply_tile(t.adaptor, hidden, n_vecs, sums, [&](std::int64_t r, const float* row) {
        if (r < t.b) copy(middle + r * kPixels, row, kPixels);
      });
    } else {
      pack_tap(t.x, t.a, t.window, t.tile, 0, 0, middle);
    }
    multiply_tile(t.project, spatial, n_vecs, sums, [&](std::int64_t r, const float* row) {
      if (r < t.b) add(middle + r * kPixels, row, n_vecs * kWidth);
    });
    const Float slope = Vec::broadcast(t.slope);
    multiply_tile(t.gate, middle, n_vecs, sums, [&](std::int64_t r, const float* row) {
      const std::int64_t half = kRows / 2;
      const std::int64_t channel = r / kRows * half + r % kRows;
      if (r % kRows >= half || channel >= 2 * t.b) return;
      const float* other = row + half * kPixels;
      for (std::int64_t v = 0; v < n_vecs; ++v) {
        const Float gated = leaky(Vec::load(other + v * kWidth), slope);
        Vec::store(hidden + channel * kPixels + v * kWidth,
                   Vec::mul(Vec::load(row + v * kWidth), gated));
      }
    });
    multiply_tile(t.contract, hidden, n_vecs, sums, [&](std::int64_t r, float* row) {
      const std::int64_t channel = t.contract_channels[r];
      if (channel < 0) return;
      add(row, middle + channel * kPixels, n_vecs * kWidth);
      copy(t.out + r * t.plane_stride + t.tile.first, row, t.tile.n);
    });
  }

  /// n steps of as many chains as `multiply` runs, in registers: the most that this CPU can do.
  static float spin(std::int64_t n) {
    constexpr int kChains = static_cast<int>(3 * kRows);
    Float sum[kChains];
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) sum[i] = Vec::broadcast(static_cast<float>(i));
    const Float x = Vec::broadcast(0.5F);
    for (std::int64_t k = 0; k < n; ++k) {
#pragma GCC unroll 32
      for (int i = 0; i < kChains; ++i) sum[i] = Vec::fma(sum[i], x, x);
    }
#pragma GCC unroll 32
    for (int i = 1; i < kChains; ++i) sum[0] = Vec::add(sum[0], sum[i]);
    float out[kWidth];
    Vec::store(out, sum[0]);
    return out[0];
  }

  static Backend backend(Simd simd) {
    return {.simd = simd,
            .rows = kRows,
            .pixels = kPixels,
            .block = kBlock,
            .slack = 2 * kWidth,
            .conv_scratch = kBlockFloats + kGroup * kPanelFloats,
            .block_scratch = &block_scratch,
            .conv = &conv,
            .depthwise = &depthwise,
            .block_tail = &block_tail,
            .spin = &spin,
            .spin_flops = 2 * kRows * kPixels};
  }
};

}  // namespace glc::exact

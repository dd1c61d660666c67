// SPDX-License-Identifier: Apache-2.0
//
// Moving pixels: pieces of rows, and the part of x that a tile's taps see. No arithmetic but one
// addition.
#pragma once

#include <cstdint>

#include "exact/exact_backend.h"

namespace glc::exact {

template <class Vec>
struct PixelRows {
  static constexpr std::int64_t kWidth = Vec::kWidth;
  static constexpr std::int64_t kPixels = 3 * kWidth;

  static void copy(float* to, const float* from, std::int64_t n) {
    if (n < kWidth) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
      return;
    }
    for (std::int64_t i = 0; i + kWidth < n; i += kWidth) Vec::store(to + i, Vec::load(from + i));
    Vec::store(to + n - kWidth, Vec::load(from + n - kWidth));
  }

  static void copy_strided(float* to, const float* from, std::int64_t n, std::int64_t step) {
    if (step == 1) return copy(to, from, n);
    if (step == 2) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[2 * i];
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[step * i];
  }

  static void fill_zero(float* to, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = 0.0F;
  }

  static void add(float* to, const float* other, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) {
      Vec::store(to + i, Vec::add(Vec::load(to + i), Vec::load(other + i)));
    }
    for (; i < n; ++i) to[i] += other[i];
  }

  /// f(done, output row, output column, length) for each row that the tile has a piece of.
  template <class F>
  static void for_rows(const Tile& tile, std::int64_t w_out, F f) {
    std::int64_t row = tile.first / w_out;
    std::int64_t col = tile.first % w_out;
    for (std::int64_t done = 0; done < tile.n; ++row, col = 0) {
      const std::int64_t left = tile.n - done;
      const std::int64_t n = w_out - col < left ? w_out - col : left;
      f(done, row, col, n);
      done += n;
    }
  }

  static std::int64_t vecs(const Tile& tile) { return (tile.n + kWidth - 1) / kWidth; }

  // ---------------------------------------------------------------- a tile of x, one tap

  /// block[c][pixel] = x[c] at the pixel's tap, for n_channels channels; zero outside x.
  static void pack_tap(const float* x,
                       std::int64_t n_channels,
                       const Window& window,
                       const Tile& tile,
                       std::int64_t tap_row,
                       std::int64_t tap_col,
                       float* block) {
    const std::int64_t plane = window.h * window.w;
    for_rows(
        tile, window.w_out, [&](std::int64_t done, std::int64_t i, std::int64_t j, std::int64_t n) {
          const std::int64_t step = window.step;
          const std::int64_t row = step * i + window.row + tap_row;
          const std::int64_t col = step * j + window.col + tap_col;
          // of the n columns col, col + step ..: those below `before` and from `end` on lie outside
          std::int64_t before = col < 0 ? (step - 1 - col) / step : 0;
          std::int64_t end = col >= window.w ? 0 : (window.w - col + step - 1) / step;
          if (row < 0 || row >= window.h) end = 0;
          if (before > n) before = n;
          if (end > n) end = n;
          if (end < before) end = before;
          const float* from = x + row * window.w + col + before * step;
          float* to = block + done;
          for (std::int64_t c = 0; c < n_channels; ++c, from += plane, to += kPixels) {
            fill_zero(to, before);
            if (end > before) copy_strided(to + before, from, end - before, step);
            fill_zero(to + end, n - end);
          }
        });
    const std::int64_t n_filled = vecs(tile) * kWidth;
    for (std::int64_t c = 0; n_filled != tile.n && c < n_channels; ++c) {
      fill_zero(block + c * kPixels + tile.n, n_filled - tile.n);
    }
  }

  /// Values k0 .. k0 + n - 1 of the chains' k, which runs over taps, then input channels.
  static void pack(const ConvTask& t, std::int64_t k0, std::int64_t n, float* block) {
    while (n > 0) {
      const std::int64_t tap = k0 / t.in_channels;
      const std::int64_t channel = k0 % t.in_channels;
      const std::int64_t left = t.in_channels - channel;
      const std::int64_t m = left < n ? left : n;
      const float* x = t.x + channel * t.window.h * t.window.w;
      pack_tap(x, m, t.window, t.tile, tap / t.kernel, tap % t.kernel, block);
      block += m * kPixels;
      k0 += m;
      n -= m;
    }
  }
};

}  // namespace glc::exact

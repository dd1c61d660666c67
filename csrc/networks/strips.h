// SPDX-License-Identifier: Apache-2.0
//
// Networks over pictures of any height, strip by strip, so that memory stays bounded. Strips
// overlap by as many rows as the layers see beyond their own; on exact layers the outcome is the
// same, bit for bit. They depend on the picture's size alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/check.h"
#include "networks/map.h"
#include "networks/share.h"

namespace glc::networks {

/// Of a strip without its overlap: about 1 GB for the small preset.
inline constexpr std::int64_t kStripPixels = std::int64_t{1} << 23;

/// Cells [begin, end) of the output, and [first, last) of the input that they need.
struct Strip {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first;
  std::int64_t last;
};

/// How the pictures of a model are cut.
struct Strips {
  std::int64_t pad_multiple;
  std::int64_t pixels;  // of a strip; it is at least one row of hyper indices high

  /// Rows of hyper indices in a strip.
  [[nodiscard]] std::int64_t z_rows(std::int64_t z_width) const {
    const std::int64_t row = z_width * pad_multiple * pad_multiple;
    return std::max<std::int64_t>(1, pixels / std::max<std::int64_t>(1, row));
  }
};

/// f(strip, its share of the progress) for all strips of n cells, from the top down; the end of
/// each share is told here.
template <class F>
void for_strips(
    std::int64_t n, std::int64_t per_strip, std::int64_t margin, const Share& progress, F f) {
  for (std::int64_t begin = 0; begin < n; begin += per_strip) {
    const std::int64_t end = std::min(n, begin + per_strip);
    const Share share = progress.part(static_cast<double>(begin) / static_cast<double>(n),
                                      static_cast<double>(end) / static_cast<double>(n));
    f(Strip{begin, end, std::max<std::int64_t>(0, begin - margin), std::min(n, end + margin)},
      share);
    share.tell(1.0);
  }
}

/// Puts what was computed of a strip where it belongs in `whole`, of n cells.
inline void keep(const Strip& strip, std::int64_t n, Map&& computed, Map& whole) {
  if (strip.begin == 0 && strip.end == n) {
    whole = std::move(computed);
    return;
  }
  const std::int64_t out_cell = computed.h() / (strip.last - strip.first);
  if (strip.begin == 0) whole = Map(computed.c(), n * out_cell, computed.w());
  const std::int64_t floats = out_cell * computed.w();
  for (std::int64_t c = 0; c < whole.c(); ++c) {
    std::copy_n(computed.channel(c) + (strip.begin - strip.first) * floats,
                (strip.end - strip.begin) * floats,
                whole.channel(c) + strip.begin * floats);
  }
}

/// Where a network's maps are cut: a cell is so many rows of its input, and so many cells are as
/// high as a row of hyper indices.
struct Cells {
  std::int64_t rows;
  std::int64_t per_z;
  std::int64_t margin;  // rows of input that an output sees beyond its own
};

/// Throws InvalidArgument unless these are the maps of one picture.
inline void require_one(exact::MapView<const float> x) {
  if (x.n != 1) fail_argument("networks", "x", "maps of one picture", x.n);
}

/// network(x) computed strip by strip. Throws InvalidArgument when x is not of one picture.
template <class Network>
Map over_rows(const Strips& strips,
              const Cells& cells,
              exact::MapView<const float> x,
              const Share& progress,
              Network network) {
  require_one(x);
  const std::int64_t n = x.h / cells.rows;
  const std::int64_t per_strip = cells.per_z * strips.z_rows(x.w / (cells.rows * cells.per_z));
  const std::int64_t margin = (cells.margin + cells.rows - 1) / cells.rows;
  Map out;
  for_strips(n, per_strip, margin, progress, [&](const Strip& strip, const Share& /*share*/) {
    keep(strip, n, network(rows_of(x, strip.first * cells.rows, strip.last * cells.rows)), out);
  });
  return out;
}

}  // namespace glc::networks

// SPDX-License-Identifier: Apache-2.0
#include "codec/map_range.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <string>

#include "core/thread_pool.h"

namespace glc::codec {
namespace {

constexpr float kUnbounded = 65504.0F;  // the largest half-precision number: as good as no bound
constexpr std::int64_t kNear = 2;       // positions of y around one that is out of bounds

/// Marks all positions [h, w] within a square about each that is marked.
std::vector<char> around(const std::vector<char>& marked, std::int64_t h, std::int64_t w) {
  std::vector<char> out(marked.size());
  for (std::int64_t i = 0; i < h; ++i) {
    for (std::int64_t j = 0; j < w; ++j) {
      if (marked[static_cast<std::size_t>(i * w + j)] == 0) continue;
      for (std::int64_t k = std::max<std::int64_t>(0, i - kNear); k <= std::min(h - 1, i + kNear);
           ++k) {
        const std::int64_t first = std::max<std::int64_t>(0, j - kNear);
        const std::int64_t last = std::min(w - 1, j + kNear);
        std::fill_n(out.data() + k * w + first, last - first + 1, char{1});
      }
    }
  }
  return out;
}

}  // namespace

MapRange::MapRange(const networks::LightLayout& layout, networks::Reader& reader) {
  const auto read = [&](const char* map, const networks::Shape& shape) {
    const auto bounds = reader.tensor(std::string("latent_range.") + map, shape);
    fitted_ &= std::ranges::all_of(bounds, [](float v) { return std::abs(v) < kUnbounded; });
    return bounds;
  };
  const auto pair = [](std::span<const float> bounds, std::int64_t channels) {
    const auto n = static_cast<std::size_t>(channels);
    const auto low = bounds.first(n);
    const auto high = bounds.subspan(n, n);
    return Bounds{.low = {low.begin(), low.end()}, .high = {high.begin(), high.end()}};
  };
  const std::int64_t n = layout.latent_channels;
  read("l", {2, layout.l_channels});
  read("features", {2, n});
  l_hat_ = pair(read("l_hat", {2, layout.l_channels}), layout.l_channels);
  const auto y = read("y", {layout.levels, 2, n});
  for (std::int64_t level = 0; level < layout.levels; ++level) {
    y_.push_back(pair(y.subspan(static_cast<std::size_t>(2 * n * level)), n));
  }
}

bool MapRange::holds_y(const networks::Map& y, double quality, double times) const {
  return holds(y, of_y(quality, times));
}

bool MapRange::holds_l_hat(const networks::Map& l_hat, double times) const {
  return holds(l_hat, wider(l_hat_, times));
}

networks::Map MapRange::limit_y(const networks::Map& y, double quality, double share) const {
  const Bounds whole = of_y(quality, 1.0);
  const Bounds held = of_y(quality, share);
  const auto beyond = [](float v, float low, float high) { return v < low || v > high; };
  std::vector<char> outside(static_cast<std::size_t>(y.plane()));
  for (std::int64_t c = 0; c < y.c(); ++c) {
    const auto i = static_cast<std::size_t>(c);
    const float* const from = y.channel(c);
    for (std::size_t p = 0; p < outside.size(); ++p) {
      if (beyond(from[p], whole.low[i], whole.high[i])) outside[p] = 1;
    }
  }
  const std::vector<char> near = around(outside, y.h(), y.w());
  networks::Map out = networks::rows_of(y.view(), 0, y.h());
  for_channels(out, [&](std::int64_t c, std::span<float> plane) {
    const float low = held.low[static_cast<std::size_t>(c)];
    const float high = held.high[static_cast<std::size_t>(c)];
    for (std::size_t p = 0; p < plane.size(); ++p) {
      if (near[p] != 0) plane[p] = networks::held_within(plane[p], low, high);
    }
  });
  return out;
}

MapRange::Bounds MapRange::of_y(double quality, double times) const {
  Bounds out = y_[static_cast<std::size_t>(std::floor(quality))];
  const Bounds& above = y_[static_cast<std::size_t>(std::ceil(quality))];
  for (std::size_t c = 0; c < out.low.size(); ++c) {
    out.low[c] = std::min(out.low[c], above.low[c]);
    out.high[c] = std::max(out.high[c], above.high[c]);
  }
  return wider(std::move(out), times);
}

MapRange::Bounds MapRange::wider(Bounds bounds, double times) {
  const auto factor = static_cast<float>(times / 2);
  for (std::size_t c = 0; c < bounds.low.size(); ++c) {
    const float middle = (bounds.low[c] + bounds.high[c]) / 2;
    const float half = (bounds.high[c] - bounds.low[c]) * factor;
    bounds.low[c] = middle - half;
    bounds.high[c] = middle + half;
  }
  return bounds;
}

bool MapRange::holds(const networks::Map& x, const Bounds& bounds) {
  std::atomic<bool> all = true;
  parallel_for(static_cast<std::size_t>(x.c()), [&](std::size_t c) {
    const float* const from = x.channel(static_cast<std::int64_t>(c));
    bool within = true;  // so written, NaN is not
    for (std::int64_t p = 0; p < x.plane(); ++p) {
      within &= from[p] >= bounds.low[c] && from[p] <= bounds.high[c];
    }
    if (!within) all = false;
  });
  return all;
}

}  // namespace glc::codec

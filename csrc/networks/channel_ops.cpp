// SPDX-License-Identifier: Apache-2.0
#include "networks/channel_ops.h"

#include <algorithm>
#include <cstddef>

#include "core/check.h"

namespace glc::networks {

RateScale::RateScale(const Layout& layout, Reader& reader, const std::string& transform)
    : levels_(layout.levels), channels_(layout.latent_channels) {
  const auto scales = reader.tensor(transform + ".q", {levels_, channels_, 1, 1});
  scales_.assign(scales.begin(), scales.end());
}

void RateScale::apply(double quality, Map& x) const {
  if (x.c() != channels_) fail_argument("networks", "x", channels_, x.c());
  const std::int64_t top = levels_ - 1;
  if (!(quality >= 0 && quality <= static_cast<double>(top))) {
    throw InvalidArgument("quality: expected within [0, " + std::to_string(top) + "], got " +
                          std::to_string(quality));
  }
  const auto below =
      std::min(static_cast<std::int64_t>(quality), std::max<std::int64_t>(top - 1, 0));
  const float share = static_cast<float>(quality) - static_cast<float>(below);
  const float* const low = scales_.data() + below * channels_;
  const float* const high = scales_.data() + std::min(below + 1, top) * channels_;
  for_channels(x, [&](std::int64_t c, std::span<float> plane) {
    const float scale = low[c] * (1 - share) + high[c] * share;
    for (float& value : plane) value *= scale;
  });
}

Limits::Limits(Reader& reader, const std::string& map, std::int64_t channels) {
  const auto bounds = reader.tensor("latent_range." + map, {2, channels});
  low_.assign(bounds.data(), bounds.data() + channels);
  high_.assign(bounds.data() + channels, bounds.data() + 2 * channels);
}

void Limits::apply(Map& x) const {
  for_channels(x, [&](std::int64_t c, std::span<float> plane) {
    const float low = low_[static_cast<std::size_t>(c)];
    const float high = high_[static_cast<std::size_t>(c)];
    for (float& value : plane) value = held_within(value, low, high);
  });
}

}  // namespace glc::networks

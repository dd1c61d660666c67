// SPDX-License-Identifier: Apache-2.0
#include "exact/exact_pack.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace glc::exact {
namespace {

void fill_panel(const Backend& use, std::vector<std::int64_t>& channels) {
  while (std::ssize(channels) % use.rows != 0) channels.push_back(kNoChannel);
}

}  // namespace

std::vector<std::int64_t> panel_channels(const Backend& use, std::int64_t n) {
  std::vector<std::int64_t> channels(static_cast<std::size_t>(n));
  std::iota(channels.begin(), channels.end(), 0);
  fill_panel(use, channels);
  return channels;
}

std::vector<std::int64_t> gated_channels(const Backend& use, std::int64_t n) {
  const std::int64_t half = use.rows / 2;
  std::vector<std::int64_t> channels;
  for (std::int64_t first = 0; first < n; first += half) {
    for (const std::int64_t begin : {first, n + first}) {
      for (std::int64_t r = 0; r < half; ++r) {
        channels.push_back(first + r < n ? begin + r : kNoChannel);
      }
    }
  }
  return channels;
}

std::vector<std::int64_t> head_channels(const Backend& use,
                                        std::int64_t n,
                                        std::int64_t n_heads,
                                        std::int64_t g) {
  if (n_heads == 1) return panel_channels(use, n);
  const std::int64_t size = n / 2 / n_heads;
  std::vector<std::int64_t> channels;
  for (const std::int64_t half : {std::int64_t{0}, n / 2}) {
    for (std::int64_t c = 0; c < size; ++c) channels.push_back(half + g * size + c);
  }
  fill_panel(use, channels);
  return channels;
}

Packed pack(const Backend& use,
            std::span<const float> weight,
            std::span<const float> bias,
            std::int64_t in_channels,
            std::int64_t kernel,
            std::span<const std::int64_t> channels) {
  const std::int64_t taps = kernel * kernel;
  const std::int64_t k_all = taps * in_channels;
  const auto n_rows = std::ssize(channels);
  Packed out{.weights = {}, .bias = {}, .k = k_all, .n_panels = n_rows / use.rows};
  out.weights.reserve(static_cast<std::size_t>(n_rows * k_all));
  for (std::int64_t k0 = 0; k0 < k_all; k0 += use.block) {
    const std::int64_t end = std::min(k0 + use.block, k_all);
    for (std::int64_t panel = 0; panel < n_rows; panel += use.rows) {
      for (std::int64_t k = k0; k < end; ++k) {
        const std::int64_t at = k % in_channels * taps + k / in_channels;  // [in][tap] of a channel
        for (const std::int64_t c : channels.subspan(static_cast<std::size_t>(panel),
                                                     static_cast<std::size_t>(use.rows))) {
          out.weights.push_back(c == kNoChannel ? 0.0F
                                                : weight[static_cast<std::size_t>(c * k_all + at)]);
        }
      }
    }
  }
  for (const std::int64_t c : channels) {
    out.bias.push_back(c == kNoChannel ? 0.0F : bias[static_cast<std::size_t>(c)]);
  }
  return out;
}

}  // namespace glc::exact

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "exact/exact_backend.h"
#include "glc/exact.h"

namespace glc::exact {

inline constexpr std::int64_t kNoChannel = -1;

/// Channels 0 .. n - 1 in order, then none up to whole panels.
[[nodiscard]] std::vector<std::int64_t> panel_channels(const Backend& use, std::int64_t n);

/// Channels 0 .. 2 n - 1 so that each panel holds rows / 2 of the first n and their partners.
[[nodiscard]] std::vector<std::int64_t> gated_channels(const Backend& use, std::int64_t n);

/// Channels of one head of n: group g of n_heads of the first half and of the second.
[[nodiscard]] std::vector<std::int64_t> head_channels(const Backend& use,
                                                      std::int64_t n,
                                                      std::int64_t n_heads,
                                                      std::int64_t g);

/// Packs the given channels, whole panels of them, of weight [.., in_channels, kernel, kernel].
[[nodiscard]] Packed pack(const Backend& use,
                          std::span<const float> weight,
                          std::span<const float> bias,
                          std::int64_t in_channels,
                          std::int64_t kernel,
                          std::span<const std::int64_t> channels);

[[nodiscard]] inline PackedView view(const Packed& p) {
  return {.weights = p.weights.empty() ? nullptr : p.weights.data(),
          .bias = p.bias.data(),
          .k = p.k,
          .n_panels = p.n_panels};
}

}  // namespace glc::exact

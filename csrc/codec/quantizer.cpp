// SPDX-License-Identifier: Apache-2.0
#include "codec/quantizer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

namespace glc::codec {
namespace {

constexpr float kMaxSymbol = 1024.0F;  // forty times a photograph's

/// How many of the first rows have no bin but zero's, beside the escape.
std::uint8_t zero_rows(const rans::TableSet& tables) {
  const auto n_bins = tables.n_bins();
  const auto first = std::ranges::find_if(n_bins, [](std::int32_t n) { return n > 2; });
  return static_cast<std::uint8_t>(first - n_bins.begin());
}

}  // namespace

Quantizer::Quantizer(const networks::Map& y, const rans::TableSet& tables)
    : y_(y), n_rows_(static_cast<std::uint8_t>(tables.rows())), n_zero_rows_(zero_rows(tables)) {}

void Quantizer::symbols(int part,
                        std::span<const std::uint8_t> rows,
                        std::span<const float> mean,
                        std::span<const float> step,
                        std::span<std::int32_t> out) {
  pick(part, step, rows.size());
  float largest = 0.0F;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float rounded = std::nearbyint(picked_[i] - mean[i]);
    const float size = std::abs(rounded);
    if (!(size < kMaxSymbol)) largest = size;  // so written, NaN is refused too
    picked_[i] = rounded;
  }
  if (largest != 0.0F) {
    throw OutOfRange("encode: symbols of part " + std::to_string(part) +
                     ": expected finite ones below 1024, got " + std::to_string(largest));
  }
  std::ranges::transform(
      picked_, out.begin(), [](float r) { return static_cast<std::int32_t>(r); });
  drop_lone_outlier(rows, out);
  CodedPart& coded = parts_.at(static_cast<std::size_t>(part));
  coded.threshold = n_rows_;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] != 0) coded.threshold = std::min(coded.threshold, rows[i]);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (rows[i] < coded.threshold) continue;
    coded.symbols.push_back(out[i]);
    coded.rows.push_back(rows[i]);
  }
}

void Quantizer::not_finite(std::string_view name) const {
  throw OutOfRange("encode: " + std::string(name) + ": expected finite values from the model");
}

/// y / step at the positions of a part.
void Quantizer::pick(int part, std::span<const float> step, std::size_t n) {
  if (part == 0) {
    scaled_ = networks::Map(y_.c(), y_.h(), y_.w());
    for_channels(scaled_, [&](std::int64_t c, std::span<float> plane) {
      const float* const y = y_.channel(c);
      const float* const by = step.data() + c * y_.plane();
      for (std::size_t i = 0; i < plane.size(); ++i) plane[i] = y[i] * (1.0F / by[i]);
    });
  }
  picked_.resize(n);
  entropy::four_part_pick(
      {.batch = 1, .channels = y_.c(), .height = y_.h(), .width = y_.w(), .channels_last = false},
      part,
      {scaled_.channel(0), 1, scaled_.size()},
      picked_);
}

void Quantizer::drop_lone_outlier(std::span<const std::uint8_t> rows,
                                  std::span<std::int32_t> symbols) const {
  std::size_t n = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (rows[i] < n_zero_rows_ && symbols[i] != 0) {
      ++n;
      last = i;
    }
  }
  if (n == 1) symbols[last] = 0;
}

}  // namespace glc::codec

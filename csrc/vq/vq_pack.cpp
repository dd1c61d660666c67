// SPDX-License-Identifier: Apache-2.0
// A codebook in 8-bit integers, with the lengths that bound the error of scores made from it.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "core/thread_pool.h"
#include "vq/vq_backend.h"
#include "vq/vq_packed.h"

namespace glc {
namespace {

constexpr float kLeastReach = 0x1p-30F;  // of an ordinary codebook

/// A fixed sequence of signs: what an outsider would need to defeat the map is not hidden, but the
/// result would still be right.
float sign_of(std::int64_t t) {
  const auto mixed = static_cast<std::uint64_t>(t + 1) * 0x9E3779B97F4A7C15U;
  return (std::popcount(mixed >> 20) & 1) != 0 ? -1.0F : 1.0F;
}

}  // namespace

double vq_dot(const float* a, const float* b, std::int64_t n) {
  std::array<double, 8> sums = {};  // at once
  std::int64_t t = 0;
  for (; t + 8 <= n; t += 8) {
    for (std::size_t i = 0; i < 8; ++i) {
      const std::int64_t at = t + static_cast<std::int64_t>(i);
      sums[i] += double{a[at]} * double{b[at]};
    }
  }
  for (; t < n; ++t) sums[0] += double{a[t]} * double{b[t]};
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

VqPacked::VqPacked(MatrixView<const float> codebook, std::span<const float> half_norms)
    : d_(codebook.cols),
      d4_((codebook.cols + 3) / 4),
      n_groups_((codebook.rows + vq_backend().screen.codes - 1) / vq_backend().screen.codes) {
  constexpr std::int64_t kCentreRows = 1024;  // any centre will do; the mean of these is a good one
  std::vector<double> mean(size_of(d_));
  const std::int64_t step = std::max<std::int64_t>(codebook.rows / kCentreRows, 1);
  std::int64_t n = 0;
  for (std::int64_t j = 0; j < codebook.rows; j += step, ++n) {
    for (std::int64_t t = 0; t < d_; ++t) mean[size_of(t)] += double{codebook.row(j)[t]};
  }
  for (std::int64_t t = 0; t < d_; ++t) {
    centre_.push_back(static_cast<float>(mean[size_of(t)] / static_cast<double>(n)));
    signs_.push_back(sign_of(t));
  }
  centre_half_ = 0.5 * vq_dot(centre_.data(), centre_.data(), d_);
  centre_norm_ = vq_length(static_cast<float>(2.0 * centre_half_));
  const float least_half = *std::ranges::min_element(half_norms);
  const bool finite = std::ranges::all_of(half_norms, [](float x) { return std::isfinite(x); });
  reach_ = vq_length(-2.0F * least_half) + centre_norm_;
  usable_ = finite && reach_ >= kLeastReach && reach_ <= kVqMostReach;
  if (!usable_) return;

  const std::int64_t group = vq_backend().screen.codes;
  const std::int64_t padded = n_groups_ * group;
  codes_.resize(size_of(padded * d4_));
  half_norm_.resize(size_of(padded), -std::numeric_limits<float>::infinity());
  bias_.resize(size_of(padded));
  for (auto* values : {&scale_, &norm_, &error_}) values->resize(size_of(padded));
  constexpr std::int64_t kRows = 512;
  parallel_for(size_of((codebook.rows + kRows - 1) / kRows), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * kRows;
    pack(codebook, first, std::min(kRows, codebook.rows - first));
  });
  for (std::int64_t g = 0; g < n_groups_; ++g) {
    const auto most = [&](const std::vector<float>& values) {
      return std::ranges::max(std::span(values).subspan(size_of(g * group), size_of(group)));
    };
    group_norm_.push_back(most(norm_));
    group_error_.push_back(most(error_));
  }
}

VqRotation VqPacked::rotation() const {
  return {.centre = centre_.data(),
          .signs = signs_.data(),
          .d = d_,
          .block = std::int64_t(std::bit_floor(size_of(d_)))};
}

void VqPacked::pack(MatrixView<const float> codebook, std::int64_t first, std::int64_t n) {
  const VqScreenBackend& use = vq_backend().screen;
  std::vector<float> work(size_of(d_ * use.width));
  std::vector<std::uint32_t> words(size_of(d4_ * use.width));
  std::vector<const float*> rows(size_of(use.width));
  std::array<float, 16> scale;
  std::array<float, 16> norm;
  std::array<float, 16> error;
  std::array<float, 16> integers;
  std::array<std::int32_t, 16> sum;
  for (std::int64_t j = first; j < first + n; j += use.width) {
    const std::int64_t n_rows = std::min(use.width, first + n - j);
    for (std::int64_t i = 0; i < use.width; ++i) {
      rows[size_of(i)] = codebook.row(j + std::min(i, n_rows - 1));
    }
    use.quantise({.rows = rows.data(),
                  .rotation = rotation(),
                  .work = work.data(),
                  .levels = 127.0F,
                  .offset = 0,
                  .out = words.data(),
                  .out_stride = use.width,
                  .scale = scale.data(),
                  .norm = norm.data(),
                  .error = error.data(),
                  .length = integers.data(),
                  .sum = sum.data()});
    for (std::int64_t i = 0; i < n_rows; ++i) {
      std::uint32_t* code = codes_.data() + (j + i) * d4_;
      for (std::int64_t t = 0; t < d4_; ++t) code[t] = words[size_of(t * use.width + i)];
      const auto at = size_of(j + i);
      scale_[at] = scale[size_of(i)];
      half_norm_[at] = -0.5F * norm[size_of(i)];
      norm_[at] = vq_length(norm[size_of(i)]);
      error_[at] = vq_length(error[size_of(i)]);
      bias_[at] = -use.offset * sum[size_of(i)];
    }
  }
}

std::size_t VqPacked::nbytes() const {
  return codes_.size() * 4 + scale_.size() * 20 + (centre_.size() + group_norm_.size()) * 8;
}

}  // namespace glc

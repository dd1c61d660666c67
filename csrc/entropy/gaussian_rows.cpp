// SPDX-License-Identifier: Apache-2.0
// Positive floats sort like their bit patterns. The top 11 bits below the sign (exponent and three
// bits of mantissa) therefore name an interval of scales, and a table of 2048 entries says how many
// bounds lie below the whole interval. What is left are the few bounds inside the interval, which
// are compared one by one: no search, no branch, no arithmetic that could round.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "entropy/entropy_check.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

constexpr int kKeyShift = 20;
constexpr std::size_t kKeys = std::size_t{1} << (31 - kKeyShift);
constexpr std::size_t kRowsMax = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// 2^23. From here on every float is an integer; adding it to a smaller one of the same sign leaves
/// no bit for a fraction, so the addition itself rounds half to even.
constexpr float kRounder = 8388608.0F;

std::size_t key_of(float positive) { return std::bit_cast<std::uint32_t>(positive) >> kKeyShift; }

class RowFinder {
 public:
  explicit RowFinder(std::span<const float> bounds) {
    std::ranges::copy(bounds, bounds_.begin());
    std::size_t next = 0;
    for (std::size_t key = 0; key < kKeys; ++key) {
      below_[key] = static_cast<std::uint8_t>(next);
      const std::size_t first = next;
      while (next < bounds.size() && key_of(bounds[next]) == key) {
        ++next;
      }
      n_steps_ = std::max(n_steps_, next - first);
    }
  }

  std::uint8_t operator()(float scale) const {
    const float positive = scale > 0.0F ? scale : 0.0F;  // NaN too: every comparison is false
    std::size_t row = below_[key_of(positive)];
    // Bounds are sorted and end in +inf, so a false comparison repeats itself harmlessly.
    for (std::size_t step = 0; step < n_steps_; ++step) {
      row += bounds_[row] < positive ? 1U : 0U;
    }
    return static_cast<std::uint8_t>(row);
  }

 private:
  static constexpr std::array<float, kRowsMax> all_infinite() {
    std::array<float, kRowsMax> out{};
    out.fill(kInfinity);
    return out;
  }

  std::array<float, kRowsMax> bounds_ = all_infinite();
  std::array<std::uint8_t, kKeys> below_{};
  std::size_t n_steps_ = 0;
};

[[noreturn]] void refuse(std::string_view argument, std::size_t i, float value) {
  fail_argument("gaussian_symbols",
                argument,
                "finite values",
                std::to_string(value) + " at element " + std::to_string(i));
}

float round_small(float residual) {
  const float rounder = std::copysign(kRounder, residual);
  return (residual + rounder) - rounder;
}

/// Rounds [first, last) and says whether all of it was ordinary.
bool round_block(std::span<const float> y,
                 std::span<const float> mean,
                 std::span<const float> scale,
                 std::span<std::int32_t> symbols,
                 std::size_t first,
                 std::size_t last) {
  std::int32_t n_odd = 0;
  for (std::size_t i = first; i < last; ++i) {
    const float residual = y[i] - mean[i];
    const bool ordinary = std::fabs(residual) < kRounder;
    symbols[i] = static_cast<std::int32_t>(round_small(ordinary ? residual : 0.0F));
    n_odd += ordinary && std::fabs(scale[i]) < kInfinity ? 0 : 1;
  }
  return n_odd == 0;
}

std::int32_t checked_symbol(float y, float mean, float scale, std::size_t i) {
  if (!std::isfinite(y)) {
    refuse("y", i, y);
  }
  if (!std::isfinite(mean)) {
    refuse("mean", i, mean);
  }
  if (!std::isfinite(scale)) {
    refuse("scale", i, scale);
  }
  constexpr float kLimit = 2147483648.0F;  // 2^31
  const float residual = y - mean;
  if (std::fabs(residual) < kRounder) {
    return static_cast<std::int32_t>(round_small(residual));
  }
  if (!(residual >= -kLimit && residual < kLimit)) {
    fail_argument("gaussian_symbols",
                  "y",
                  "residuals that fit 32 bits",
                  std::to_string(residual) + " at element " + std::to_string(i));
  }
  return static_cast<std::int32_t>(residual);
}

}  // namespace

void gaussian_rows(std::span<const float> scale,
                   std::span<const float> bounds,
                   std::span<std::uint8_t> rows) {
  check_size("gaussian_rows", "rows", scale.size(), rows.size());
  check_bounds("gaussian_rows", bounds);
  const RowFinder find(bounds);
  std::ranges::transform(scale, rows.begin(), find);
}

void gaussian_symbols(std::span<const float> y,
                      std::span<const float> mean,
                      std::span<const float> scale,
                      std::span<const float> bounds,
                      std::span<std::int32_t> symbols,
                      std::span<std::uint8_t> rows) {
  constexpr std::string_view kOp = "gaussian_symbols";
  check_size(kOp, "mean", y.size(), mean.size());
  check_size(kOp, "scale", y.size(), scale.size());
  check_size(kOp, "symbols", y.size(), symbols.size());
  check_size(kOp, "rows", y.size(), rows.size());
  check_bounds(kOp, bounds);
  const RowFinder find(bounds);
  std::ranges::transform(scale, rows.begin(), find);
  // Block by block, so that the inner loop has no branch: a block with a value out of the ordinary
  // is done again, slowly.
  constexpr std::size_t kBlock = 1024;
  for (std::size_t first = 0; first < y.size(); first += kBlock) {
    const std::size_t last = std::min(first + kBlock, y.size());
    if (round_block(y, mean, scale, symbols, first, last)) {
      continue;
    }
    for (std::size_t i = first; i < last; ++i) {
      symbols[i] = checked_symbol(y[i], mean[i], scale[i], i);
    }
  }
}

}  // namespace glc::entropy

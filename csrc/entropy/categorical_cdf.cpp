// SPDX-License-Identifier: Apache-2.0
// Encoder and decoder must compute the same table from the same logits, on any machine. So: no
// libm, one polynomial evaluated in fused multiply-adds in a fixed order, and from the weights on
// only integers. Adding j to the j-th start gives every symbol a frequency of at least one, and
// rounding cumulative sums instead of frequencies leaves no remainder to hand out.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <string>

#include "core/check.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

constexpr std::int32_t kMaxBits = 16;
constexpr int kWeightBits = 30;
constexpr float kVanishing = -21.0F;        // 2^30 * exp(-21) < 1
constexpr float kRounder = 12582912.0F;     // 1.5 * 2^23: adding it rounds half to even
constexpr float kInvLn2 = 0x1.715476p+0F;   // 1 / ln 2
constexpr float kLn2High = 0x1.62e4p-1F;    // ln 2 to 15 bits: times an integer below 2^9, exact
constexpr float kLn2Low = 0x1.7f7d1cp-20F;  // ln 2 - kLn2High

/// floor(2^30 * exp(t)) for t <= 0, up to the polynomial's 3e-9 and float rounding. exp(r) =
/// 1 + r + r^2 (c2 + c3 r + .. + c6 r^4) on |r| <= ln 2 / 2. docs/format.md repeats the steps.
std::uint64_t weight(float t) {
  if (t < kVanishing) {
    return 0;
  }
  const float n = std::fma(t, kInvLn2, kRounder) - kRounder;
  float r = std::fma(n, -kLn2High, t);
  r = std::fma(n, -kLn2Low, r);
  float p = 0x1.6a244cp-10F;
  p = std::fma(p, r, 0x1.1239d4p-7F);
  p = std::fma(p, r, 0x1.5558f2p-5F);
  p = std::fma(p, r, 0x1.555492p-3F);
  p = std::fma(p, r, 0x1.fffffcp-2F);
  const float fraction = std::fma(r * r, p, r) + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + kWeightBits);
  const auto scaled =
      std::bit_cast<float>(std::bit_cast<std::uint32_t>(fraction) + (exponent << 23));
  return static_cast<std::uint64_t>(scaled);
}

float checked_max(std::span<const float> logits) {
  float largest = logits[0];
  for (std::size_t j = 0; j < logits.size(); ++j) {
    if (!std::isfinite(logits[j])) {
      fail_argument("categorical_cdf",
                    "logits",
                    "finite values",
                    std::to_string(logits[j]) + " at column " + std::to_string(j));
    }
    largest = std::max(largest, logits[j]);
  }
  return largest;
}

}  // namespace

void categorical_cdf(MatrixView<const float> logits,
                     std::int32_t bits,
                     MatrixView<std::int32_t> cdf) {
  constexpr std::string_view kOp = "categorical_cdf";
  if (bits < 1 || bits > kMaxBits) {
    fail_argument(kOp, "bits", "1..16", bits);
  }
  const std::int64_t total = std::int64_t{1} << bits;
  if (logits.cols < 1 || logits.cols > total) {
    fail_argument(kOp, "logits", "1.." + std::to_string(total) + " columns", logits.cols);
  }
  if (cdf.rows != logits.rows || cdf.cols != logits.cols + 1) {
    fail_argument(kOp,
                  "cdf",
                  "[" + std::to_string(logits.rows) + ", " + std::to_string(logits.cols + 1) + "]",
                  "[" + std::to_string(cdf.rows) + ", " + std::to_string(cdf.cols) + "]");
  }
  const auto spare = static_cast<std::uint64_t>(total - logits.cols);
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    const auto in = logits.row_span(row);
    const auto out = cdf.row_span(row);
    const float largest = checked_max(in);
    std::uint64_t sum = 0;
    for (const float logit : in) {
      sum += weight(logit - largest);
    }
    GLC_DCHECK(sum > 0);      // the largest logit alone weighs 2^30
    std::uint64_t below = 0;  // spare * below < 2^62: at most 2^16 weights of 2^30, spare < 2^16
    for (std::size_t j = 0; j < in.size(); ++j) {
      out[j] = static_cast<std::int32_t>(j + spare * below / sum);
      below += weight(in[j] - largest);
    }
    out[in.size()] = static_cast<std::int32_t>(total);
  }
}

}  // namespace glc::entropy

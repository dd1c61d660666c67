// SPDX-License-Identifier: Apache-2.0
// Encoder and decoder must compute the same table from the same logits, on any machine. So: no
// libm, one polynomial evaluated in fused multiply-adds in a fixed order, and from the weights on
// only integers. Adding j to the j-th start gives every symbol a frequency of at least one, and
// rounding cumulative sums instead of frequencies leaves no remainder to hand out.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/check.h"
#include "core/cpu_features.h"
#include "entropy/categorical_kernel.h"
#include "entropy/entropy_check.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

/// std::fma is one instruction where the target has it, a correct library call where it has not.
struct CategoricalPortable {
  static float fma(float a, float b, float c) { return std::fma(a, b, c); }
};

CategoricalWeights choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force() >= Simd::kAvx2) {
    return categorical_weights_avx2();
  }
#endif
  return &CategoricalKernel<CategoricalPortable>::weights;
}

CategoricalWeights kernel() {
  static const CategoricalWeights weights = choose();
  return weights;
}

float checked_max(std::string_view op, std::span<const float> logits) {
  float largest = logits[0];
  for (std::size_t j = 0; j < logits.size(); ++j) {
    if (!std::isfinite(logits[j])) {
      fail_argument(op,
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
  check_cdf(kOp, logits, bits, cdf);
  const std::int64_t total = std::int64_t{1} << bits;
  const auto spare = static_cast<std::uint64_t>(total - logits.cols);
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    const auto in = logits.row_span(row);
    const auto out = cdf.row_span(row);
    const float largest = checked_max(kOp, in);
    kernel()(in.data(), largest, out.data(), logits.cols);  // below 2^31; the starts replace them
    std::uint64_t sum = 0;
    for (const std::int32_t weight : out.first(in.size())) {
      sum += static_cast<std::uint64_t>(weight);
    }
    const auto total_weight = std::max<std::uint64_t>(sum, 1);  // the largest logit alone has 2^30
    std::uint64_t below = 0;  // spare * below < 2^62: at most 2^16 weights of 2^30, spare < 2^16
    for (std::size_t j = 0; j < in.size(); ++j) {
      const auto weight = static_cast<std::uint64_t>(out[j]);
      out[j] = static_cast<std::int32_t>(j + spare * below / total_weight);
      below += weight;
    }
    out[in.size()] = static_cast<std::int32_t>(total);
  }
}

void categorical_weights(std::span<const float> logits, std::span<std::int32_t> weights) {
  constexpr std::string_view kOp = "categorical_weights";
  if (logits.empty()) {
    fail_argument(kOp, "logits", "at least 1", logits.size());
  }
  if (weights.size() != logits.size()) {
    fail_argument(kOp, "weights", logits.size(), weights.size());
  }
  const auto n = static_cast<std::int64_t>(logits.size());
  kernel()(logits.data(), checked_max(kOp, logits), weights.data(), n);
}

}  // namespace glc::entropy

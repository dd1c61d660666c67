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
#include <string_view>

#include "core/check.h"
#include "core/cpu_features.h"
#include "core/float_mode.h"
#include "core/fused.h"
#include "core/thread_pool.h"
#include "entropy/categorical_kernel.h"
#include "entropy/entropy_check.h"
#include "entropy/vec_portable.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

struct VecRoundingOnce : VecPortable {
  static F fma(F a, F b, F c) { return fused(a, b, c); }
};

[[noreturn]] void fail_not_finite(std::string_view op, std::span<const float> logits) {
  const auto odd = std::ranges::find_if(logits, [](float v) { return !std::isfinite(v); });
  fail_argument(op,
                "logits",
                "finite values",
                std::to_string(*odd) + " at column " + std::to_string(odd - logits.begin()));
}

float checked_max(const CategoricalBackend& backend,
                  std::string_view op,
                  std::span<const float> logits) {
  float odd = 0.0F;
  const float largest = backend.largest(logits.data(), ssize(logits), &odd);
  if (odd != 0.0F) {
    fail_not_finite(op, logits);
  }
  return largest;
}

/// x -> floor(spare * x / total) for 0 <= x <= total <= 2^46, spare < 2^16, 2^30 <= total. The
/// factor 2^s * spare / total, rounded up, is too large by less than one: the quotient by less than
/// x / 2^s, which has to stay below 1 / total to leave the floor as it is. So 2^s > total^2 will
/// do, and leaves the factor below 2^64.
WideRatio ratio_of(std::uint64_t spare, std::uint64_t total) {
  __extension__ using Uint128 = unsigned __int128;
  constexpr int kWord = 64;
  const int s = std::max(kWord, 2 * static_cast<int>(std::bit_width(total)));
  const Uint128 factor = ((Uint128{spare} << s) + total - 1) / total;
  return {.factor = static_cast<std::uint64_t>(factor), .shift = s - kWord};
}

}  // namespace

CategoricalBackend categorical_backend() {
#ifdef GLC_X86_SIMD
  if (simd_in_force(Simd::kAvx512) == Simd::kAvx512) {
    return categorical_avx512();
  }
  if (simd_in_force() == Simd::kAvx2) {
    return categorical_avx2();
  }
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    return categorical_neon();
  }
#endif
  return CategoricalBackend::of<VecRoundingOnce>();
}

void categorical_cdf(MatrixView<const float> logits,
                     std::int32_t bits,
                     MatrixView<std::int32_t> cdf) {
  constexpr std::string_view kOp = "categorical_cdf";
  constexpr std::int64_t kElements = 16384;  // of a task
  check_cdf(kOp, logits, bits, cdf);
  const std::int64_t total = std::int64_t{1} << bits;
  const auto spare = static_cast<std::uint64_t>(total - logits.cols);
  const CategoricalBackend backend = categorical_backend();
  const std::int64_t step = std::max<std::int64_t>(1, kElements / logits.cols);
  parallel_for(static_cast<std::size_t>((logits.rows + step - 1) / step), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * step;
    for (std::int64_t row = first; row < std::min(logits.rows, first + step); ++row) {
      const auto in = logits.row_span(row);
      std::int32_t* const out = cdf.row(row);
      const float largest = checked_max(backend, kOp, in);
      // the weights, below 2^31, lie where their starts will
      const double sum = backend.weights(in.data(), largest, out, logits.cols);
      backend.starts(out, logits.cols, ratio_of(spare, static_cast<std::uint64_t>(sum)));
      out[logits.cols] = static_cast<std::int32_t>(total);
    }
  });
}

void categorical_weights(std::span<const float> logits, std::span<std::int32_t> weights) {
  constexpr std::string_view kOp = "categorical_weights";
  if (logits.empty()) {
    fail_argument(kOp, "logits", "at least 1", logits.size());
  }
  if (weights.size() != logits.size()) {
    fail_argument(kOp, "weights", logits.size(), weights.size());
  }
  const CategoricalBackend backend = categorical_backend();
  const IeeeFloats mode;
  const float largest = checked_max(backend, kOp, logits);
  backend.weights(logits.data(), largest, weights.data(), ssize(logits));
}

}  // namespace glc::entropy

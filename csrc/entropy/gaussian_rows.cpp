// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "core/cpu_features.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_symbols_kernel.h"
#include "entropy/row_finder.h"
#include "entropy/runs.h"
#include "entropy/short_rows.h"
#include "entropy/vec_portable.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

GaussianSymbolsBackend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force(Simd::kAvx512) == Simd::kAvx512) {
    return gaussian_symbols_avx512();
  }
  if (simd_in_force() == Simd::kAvx2) {
    return gaussian_symbols_avx2();
  }
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    return gaussian_symbols_neon();
  }
#endif
  return GaussianSymbolsKernel<VecPortable>::backend();
}

const GaussianSymbolsBackend& backend() {
  static const GaussianSymbolsBackend chosen = choose();
  return chosen;
}

void find_rows(const RowFinder& finder, const float* scale, std::uint8_t* rows, std::int64_t n) {
  const std::int64_t even = finder.has_table() ? n / kPad * kPad : 0;
  if (even > 0) {
    backend().find_rows(finder.table(), scale, rows, even);
  }
  std::transform(scale + even, scale + n, rows + even, finder);
}

[[noreturn]] void refuse(std::string_view argument, std::int64_t i, float value) {
  fail_argument("gaussian_symbols",
                argument,
                "finite values",
                std::to_string(value) + " at element " + std::to_string(i));
}

std::int32_t checked_symbol(float y, float mean, float scale, std::int64_t i) {
  if (!std::isfinite(y)) {
    refuse("y", i, y);
  }
  if (!std::isfinite(mean)) {
    refuse("mean", i, mean);
  }
  if (!std::isfinite(scale)) {
    refuse("scale", i, scale);
  }
  constexpr float kAllIntegers = 8388608.0F;  // from 2^23 on every float is one
  constexpr float kLimit = 2147483648.0F;     // 2^31
  const float residual = y - mean;
  if (std::fabs(residual) < kAllIntegers) {
    const float rounder = std::copysign(kAllIntegers, residual);
    return static_cast<std::int32_t>((residual + rounder) - rounder);  // half to even
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

void gaussian_rows(MatrixView<const float> scale,
                   std::span<const float> bounds,
                   MatrixView<std::uint8_t> rows) {
  check_shape("gaussian_rows", "rows", scale, rows);
  check_bounds("gaussian_rows", bounds);
  const RowFinder finder(bounds);
  if (can_join(scale, rows)) {
    scale = joined(scale, 1);
    rows = joined(rows, 1);
  }
  const Tasks tasks{.groups = 1, .rows = scale.rows, .cols = scale.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    find_rows(finder, scale.row(row) + first, rows.row(row) + first, last - first);
  });
}

void gaussian_symbols(const GaussianLatents<float>& latents,
                      std::span<const float> bounds,
                      MatrixView<std::int32_t> symbols,
                      MatrixView<std::uint8_t> rows) {
  constexpr std::string_view kOp = "gaussian_symbols";
  GaussianLatents<float> in = latents;
  check_shape(kOp, "mean", in.y, in.mean);
  check_shape(kOp, "scale", in.y, in.scale);
  check_shape(kOp, "symbols", in.y, symbols);
  check_shape(kOp, "rows", in.y, rows);
  check_bounds(kOp, bounds);
  const RowFinder finder(bounds);
  if (can_join(in) && can_join(symbols, rows)) {
    in = joined(in, 1);
    symbols = joined(symbols, 1);
    rows = joined(rows, 1);
  }
  const Tasks tasks{.groups = 1, .rows = in.y.rows, .cols = in.y.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t n = last - first;
    const float* const y = in.y.row(row) + first;
    const float* const mean = in.mean.row(row) + first;
    const float* const scale = in.scale.row(row) + first;
    std::int32_t* const out = symbols.row(row) + first;
    find_rows(finder, scale, rows.row(row) + first, n);
    const std::int64_t even = n / kPad * kPad;
    // a run with a value out of the ordinary is done again, slowly
    const std::int64_t done = backend().round(y, mean, scale, out, even) ? even : 0;
    for (std::int64_t i = done; i < n; ++i) {
      out[i] = checked_symbol(y[i], mean[i], scale[i], row * in.y.cols + first + i);
    }
  });
}

}  // namespace glc::entropy

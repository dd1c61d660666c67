// SPDX-License-Identifier: Apache-2.0
// The categorical ops on a device against the CPU's: cdfs bit for bit, rates within the tolerance
// of an estimate.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "check.h"
#include "entropy_values.h"
#include "glc/cuda/entropy.h"
#include "glc/entropy.h"
#include "on_device.h"

namespace {

using glc::BFloat16;
using glc::MatrixView;
using glc::test::check;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;
using glc::test::narrowed;
using glc::test::normal;
using glc::test::OnDevice;

void cdfs_are_equal(std::int64_t rows, std::int64_t k, std::int32_t bits) {
  const Floats logits = normal(static_cast<std::size_t>(rows * k), 7, 4.0F);
  std::vector<std::int32_t> cdf(static_cast<std::size_t>(rows * (k + 1)));
  const OnDevice<float> logits_on(logits);
  const OnDevice<std::int32_t> cdf_on(cdf);
  glc::entropy::categorical_cdf({logits.data(), rows, k}, bits, {cdf.data(), rows, k + 1});
  glc::cuda::categorical_cdf(
      {logits_on.data(), rows, k}, bits, {cdf_on.data(), rows, k + 1}, nullptr);
  check(cdf_on.host() == cdf, "cdf");
}

/// Bits and gradients of n indices, the logits being one row for all or a row each.
template <class T>
void choices_agree(std::int64_t rows, std::int64_t n, std::int64_t k) {
  const std::int64_t stride = k + 3;
  auto spread = normal(static_cast<std::size_t>(rows * stride), 8, 4.0F);
  if (k > 4) {
    spread[1] = -kInf;
    spread[static_cast<std::size_t>((rows - 1) * stride + 3)] = rows > 1 ? kNan : 0.0F;
  }
  const auto logits = narrowed<T>(spread);
  const Floats grad = normal(static_cast<std::size_t>(n), 9, 1.0F);
  std::vector<std::int64_t> index(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < index.size(); ++i) {
    index[i] = static_cast<std::int64_t>(i * 7 + 1) % k;
  }
  const OnDevice<T> logits_on(logits);
  const OnDevice<std::int64_t> index_on(index);
  const OnDevice<float> grad_on(grad);
  const MatrixView<const T> host(logits.data(), rows, k, stride);
  const MatrixView<const T> device(logits_on.data(), rows, k, stride);
  const auto near = [](float a, float b, float slack) {
    return (a != a && b != b) || a == b || std::fabs(a - b) <= slack * (1.0F + std::fabs(b));
  };

  Floats bits(index.size());
  Floats norms(static_cast<std::size_t>(2 * rows));
  glc::entropy::categorical_bits<T>(host, index, bits, {norms.data(), rows, 2});
  const OnDevice<float> bits_on(Floats(index.size()));
  const OnDevice<float> norms_on{Floats(norms.size())};
  glc::cuda::categorical_bits<T>(
      device, index_on.span(), bits_on.span(), {norms_on.data(), rows, 2}, nullptr);
  const Floats bits_back = bits_on.host();
  for (std::size_t i = 0; i < bits.size(); ++i) {
    check(near(bits_back[i], bits[i], 2e-6F), "categorical bits");
  }

  std::vector<T> slopes(static_cast<std::size_t>(rows * k));
  glc::entropy::categorical_bits_backward<T>(
      grad, host, index, {norms.data(), rows, 2}, {slopes.data(), rows, k});
  const OnDevice<T> slopes_on(slopes);
  glc::cuda::categorical_bits_backward<T>(grad_on.span(),
                                          device,
                                          index_on.span(),
                                          {norms_on.data(), rows, 2},
                                          {slopes_on.data(), rows, k},
                                          nullptr);
  const std::vector<T> slopes_back = slopes_on.host();
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    const float slack = std::is_same_v<T, float> ? 1e-5F : 1e-2F;
    check(near(glc::to_float(slopes_back[i]), glc::to_float(slopes[i]), slack),
          "categorical slopes");
  }
}

void an_index_out_of_range_costs_nan() {
  const OnDevice<float> logits_on(Floats(8));
  const OnDevice<std::int64_t> index_on(std::vector<std::int64_t>{-1, 4});
  const OnDevice<float> bits_on(Floats(2));
  const OnDevice<float> norms_on(Floats(4));
  glc::cuda::categorical_bits<float>(
      {logits_on.data(), 2, 4}, index_on.span(), bits_on.span(), {norms_on.data(), 2, 2}, nullptr);
  for (const float bits : bits_on.host()) {
    check(bits != bits, "NaN");
  }
}

void odd_logits_give_the_cdf_of_equal_ones() {
  const Floats logits = {0.0F, kNan, 1.0F, 5.0F, kInf, 0.0F};
  const OnDevice<float> logits_on(logits);
  const OnDevice<std::int32_t> cdf_on{std::vector<std::int32_t>(8)};
  glc::cuda::categorical_cdf({logits_on.data(), 2, 3}, 8, {cdf_on.data(), 2, 4}, nullptr);
  const std::vector<std::int32_t> expected = {0, 85, 170, 256, 0, 85, 170, 256};
  check(cdf_on.host() == expected, "cdf of equal logits");
}

}  // namespace

int main() {
  for (const std::int64_t k : {1, 2, 129, 1009}) {
    cdfs_are_equal(2, k, 16);
  }
  cdfs_are_equal(1, 256, 8);
  for (const std::int64_t k : {1, 2, 257, 1009}) {
    choices_agree<float>(5, 5, k);
    choices_agree<float>(1, 9, k);
    choices_agree<BFloat16>(3, 3, k);
    choices_agree<BFloat16>(1, 4, k);
  }
  an_index_out_of_range_costs_nan();
  odd_logits_give_the_cdf_of_equal_ones();
  return 0;
}

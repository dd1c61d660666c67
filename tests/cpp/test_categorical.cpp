// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "entropy_values.h"
#include "flushing.h"
#include "glc/entropy.h"
#include "glc/error.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;
using glc::test::normal;

void cdf_is_strict_and_full() {
  std::mt19937 random(9);
  std::normal_distribution<float> draw(0.0F, 5.0F);
  for (const std::int32_t bits : {1, 8, 16}) {
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, std::int64_t{1} << bits}) {
      Floats logits(static_cast<std::size_t>(3 * k));
      std::ranges::generate(logits, [&] { return draw(random); });
      std::vector<std::int32_t> cdf(static_cast<std::size_t>(3 * (k + 1)));
      glc::entropy::categorical_cdf({logits.data(), 3, k}, bits, {cdf.data(), 3, k + 1});
      for (std::size_t row = 0; row < 3; ++row) {
        const auto width = static_cast<std::size_t>(k + 1);
        const auto of_row = std::span(cdf).subspan(row * width, width);
        check_equal(of_row.front(), 0, "first");
        check_equal(of_row.back(), 1 << bits, "last");
        check(std::ranges::adjacent_find(of_row, std::greater_equal<>()) == of_row.end(),
              "strictly increasing");
      }
    }
  }
}

/// docs/format.md, word for word.
std::int32_t literal_weight(float t) {
  if (t < -21.0F) {
    return 0;
  }
  constexpr float kRounder = 12582912.0F;
  const float n = std::fma(t, 0x1.715476p+0F, kRounder) - kRounder;
  const float r = std::fma(n, -0x1.7f7d1cp-20F, std::fma(n, -0x1.62e4p-1F, t));
  float p = 0x1.6a244cp-10F;
  for (const float c : {0x1.1239d4p-7F, 0x1.5558f2p-5F, 0x1.555492p-3F, 0x1.fffffcp-2F}) {
    p = std::fma(p, r, c);
  }
  const float fraction = std::fma(r * r, p, r) + 1.0F;
  return static_cast<std::int32_t>(std::ldexp(fraction, static_cast<int>(n) + 30));
}

std::vector<std::int32_t> literal_cdf(const Floats& logits, std::int32_t bits) {
  const float largest = *std::ranges::max_element(logits);
  std::uint64_t total = 0;
  for (const float logit : logits) {
    total += static_cast<std::uint64_t>(literal_weight(logit - largest));
  }
  const std::uint64_t spare = (std::uint64_t{1} << bits) - logits.size();
  std::vector<std::int32_t> out;
  std::uint64_t below = 0;
  for (const float logit : logits) {
    out.push_back(static_cast<std::int32_t>(out.size() + spare * below / total));
    below += static_cast<std::uint64_t>(literal_weight(logit - largest));
  }
  out.push_back(1 << bits);
  return out;
}

std::vector<Floats> logits_of_every_kind() {
  std::mt19937 random(7);
  std::vector<Floats> out;
  for (const std::size_t k : {1U, 2U, 3U, 7U, 8U, 9U, 15U, 16U, 17U, 31U, 33U, 255U, 256U, 1009U}) {
    for (const float spread : {0.0F, 1e-41F, 1e-6F, 0.1F, 3.0F, 20.0F, 1e4F, 2e37F}) {
      std::normal_distribution<float> draw(spread, spread);
      std::ranges::generate(out.emplace_back(k),
                            [&] { return spread == 0.0F ? 0.0F : draw(random); });
    }
    std::exponential_distribution<float> beyond(1e-5F);  // a few bits around the last weight of 1
    auto& edge = out.emplace_back(k);
    std::ranges::generate(edge,
                          [&] { return std::nextafter(-21.0F, 0.0F) - 1e-6F * beyond(random); });
    edge[k / 2] = 0.0F;
    edge[0] = std::nextafter(-21.0F, -22.0F);
    std::ranges::fill(out.emplace_back(k), -std::numeric_limits<float>::max());
    out.back()[k - 1] = std::numeric_limits<float>::max();  // their difference overflows
  }
  out.emplace_back(65536);  // nothing to spare at 16 bits
  out.emplace_back(65535);  // the largest sum of weights
  out.emplace_back(65521);
  std::normal_distribution<float> narrow(0.0F, 0.5F);
  std::ranges::generate(out.back(), [&] { return narrow(random); });
  std::mt19937 rare(12);  // one start so near below an integer that 64 bits of its factor miss it
  std::ranges::generate(out.emplace_back(65000),
                        [&] { return -0x1p-40F * static_cast<float>(rare()); });
  return out;
}

void cdfs_are_the_same_on_every_back_end() {
  for (const Floats& logits : logits_of_every_kind()) {
    const auto k = static_cast<std::int64_t>(logits.size());
    const float largest = *std::ranges::max_element(logits);
    for (const char* const back_end : glc::test::back_ends()) {
      glc::test::use_back_end(back_end);
      std::vector<std::int32_t> weights(logits.size());
      glc::entropy::categorical_weights(logits, weights);
      const auto is_literal = [&](std::int32_t weight, float logit) {
        return weight == literal_weight(logit - largest);
      };
      check(std::ranges::equal(weights, logits, is_literal), back_end);
      glc::test::while_rounding_up([&] { glc::entropy::categorical_weights(logits, weights); });
      check(std::ranges::equal(weights, logits, is_literal), back_end);
    }
    for (const std::int32_t bits : {1, 8, 14, 16}) {
      if (k > 1 << bits) {
        continue;
      }
      const auto expected = literal_cdf(logits, bits);
      for (const char* const back_end : glc::test::back_ends()) {
        glc::test::use_back_end(back_end);
        std::vector<std::int32_t> cdf(logits.size() + 1);
        glc::entropy::categorical_cdf({logits.data(), 1, k}, bits, {cdf.data(), 1, k + 1});
        check(cdf == expected, back_end);
      }
    }
  }
}

void cdf_refuses_bad_arguments() {
  Floats logits = {0.0F, kNan, 1.0F};
  std::vector<std::int32_t> cdf(4);
  const MatrixView<std::int32_t> out(cdf.data(), 1, 4);
  const auto run = [&](MatrixView<const float> in, std::int32_t bits) {
    check_throws<InvalidArgument>([&] { glc::entropy::categorical_cdf(in, bits, out); });
  };
  run({logits.data(), 1, 3}, 8);
  logits[1] = 0.0F;
  run({logits.data(), 1, 3}, 0);
  run({logits.data(), 1, 3}, 17);
  run({logits.data(), 1, 3}, 1);
  run({logits.data(), 1, 2}, 8);
  run({logits.data(), 1, 0}, 8);
  for (const std::size_t n : {0U, 2U, 4U}) {
    check_throws<InvalidArgument>(
        [&] { glc::entropy::categorical_weights(logits, std::span(cdf).first(n)); });
  }
}

void categorical_rates() {
  constexpr double kTolerance = 1e-5;
  for (const std::int64_t k : {1, 2, 3, 4, 5, 15, 16, 17, 511, 512, 513, 2000}) {
    const auto n = static_cast<std::size_t>(k);
    for (const float spread : {0.0F, 1.0F, 30.0F}) {
      const Floats logits = normal(n, static_cast<unsigned>(k), spread);
      const std::vector<std::int64_t> index = {0, k / 2, k - 1};
      const Floats grad = {1.0F, -2.0F, 0.5F};
      Floats bits(index.size());
      Floats norms(2);
      Floats grad_logits(n);
      const MatrixView<const float> row(logits.data(), 1, k);
      glc::entropy::categorical_bits(row, index, bits, {norms.data(), 1, 2});
      glc::entropy::categorical_bits_backward(
          grad, row, index, {norms.data(), 1, 2}, {grad_logits.data(), 1, k});
      double total = 0.0;
      for (const float logit : logits) total += std::exp(static_cast<double>(logit));
      std::vector<double> slopes(n);
      for (std::size_t i = 0; i < index.size(); ++i) {
        const auto chosen = static_cast<std::size_t>(index[i]);
        const double exact = std::log2(total) - logits[chosen] / std::log(2.0);
        check(std::fabs(bits[i] - exact) < kTolerance * (1.0 + exact), "bits");
        for (std::size_t j = 0; j < n; ++j) {
          slopes[j] += grad[i] * std::exp(static_cast<double>(logits[j])) / total;
        }
        slopes[chosen] -= grad[i];
      }
      for (std::size_t j = 0; j < n; ++j) {
        check(std::fabs(grad_logits[j] - slopes[j] / std::log(2.0)) < kTolerance, "slopes");
      }
    }
  }
  Floats odd = normal(40, 3, 1.0F);
  Floats bits(2);
  Floats norms(2);
  odd[7] = -kInf;
  glc::entropy::categorical_bits<float>({odd.data(), 1, 40}, {{7, 8}}, bits, {norms.data(), 1, 2});
  check(bits[0] == kInf && std::isfinite(bits[1]), "never chosen");
  for (const float value : {kNan, kInf}) {
    odd[7] = value;
    glc::entropy::categorical_bits<float>(
        {odd.data(), 1, 40}, {{7, 8}}, bits, {norms.data(), 1, 2});
    check(std::isnan(bits[0]) && std::isnan(bits[1]), "not a distribution");
  }
}

void tests() {
  cdf_is_strict_and_full();
  cdf_refuses_bad_arguments();
  categorical_rates();
}

}  // namespace

int main() {
  const int status = glc::test::on_every_back_end(&tests);
  cdfs_are_the_same_on_every_back_end();
  return status;
}

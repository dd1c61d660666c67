// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "glc/entropy.h"
#include "glc/error.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

using Floats = std::vector<float>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Floats log_spaced(float first, float last, std::size_t n) {
  Floats out(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(n - 1);
    out[i] = static_cast<float>(first * std::pow(static_cast<double>(last) / first, t));
  }
  return out;
}

std::uint8_t counted(float scale, const Floats& bounds) {
  return static_cast<std::uint8_t>(
      std::ranges::count_if(bounds, [&](float bound) { return bound < scale; }));
}

void rows_are_counts() {
  for (const Floats& bounds : {Floats{},
                               Floats{1.0F},
                               Floats{1e-45F, 3e-45F, 1e-40F, 3e38F},
                               log_spaced(0.03F, 64.0F, 67),
                               log_spaced(1e-30F, 1e30F, 255)}) {
    Floats scale = {kNan, -kNan, kInf, -kInf, 0.0F, -0.0F, -1.0F, 1e-45F, 0.5F, 1.0F, 3.3e38F};
    for (const float bound : bounds) {
      scale.insert(scale.end(),
                   {std::nextafter(bound, 0.0F), bound, std::nextafter(bound, kInf), -bound});
    }
    std::vector<std::uint8_t> rows(scale.size());
    glc::entropy::gaussian_rows(scale, bounds, rows);
    for (std::size_t i = 0; i < scale.size(); ++i) {
      check_equal(static_cast<int>(rows[i]), static_cast<int>(counted(scale[i], bounds)), "row");
    }
  }
}

void symbols_round_half_to_even() {
  const Floats bounds = {1.0F};
  for (const std::size_t n :
       {std::size_t{0}, std::size_t{1}, std::size_t{1023}, std::size_t{2049}}) {
    std::mt19937 random(static_cast<unsigned>(n));
    std::uniform_int_distribution<int> quarter(-40, 40);
    Floats y(n);
    Floats mean(n);
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = 0.25F * static_cast<float>(quarter(random));
      mean[i] = 0.25F * static_cast<float>(quarter(random));
    }
    const Floats scale(n, 2.0F);
    std::vector<std::int32_t> symbols(n);
    std::vector<std::uint8_t> rows(n);
    glc::entropy::gaussian_symbols(y, mean, scale, bounds, symbols, rows);
    for (std::size_t i = 0; i < n; ++i) {
      check_equal(symbols[i], static_cast<std::int32_t>(std::nearbyint(y[i] - mean[i])), "symbol");
      check_equal(static_cast<int>(rows[i]), 1, "row");
    }
  }
}

void symbols_refuse_odd_values() {
  const Floats bounds = {1.0F};
  const Floats good(1500, 1.0F);
  std::vector<std::int32_t> symbols(good.size());
  std::vector<std::uint8_t> rows(good.size());
  for (const float value : {kNan, kInf, -kInf}) {
    Floats bad = good;
    bad[1234] = value;
    const auto run = [&](const Floats& y, const Floats& mean, const Floats& scale) {
      check_throws<InvalidArgument>(
          [&] { glc::entropy::gaussian_symbols(y, mean, scale, bounds, symbols, rows); });
    };
    run(bad, good, good);
    run(good, bad, good);
    run(good, good, bad);
  }
  Floats edge = good;
  edge[3] = -2147483648.0F;
  glc::entropy::gaussian_symbols(edge, Floats(1500), good, bounds, symbols, rows);
  check_equal(symbols[3], std::numeric_limits<std::int32_t>::min(), "smallest symbol");
  edge[3] = 2147483648.0F;
  check_throws<InvalidArgument>(
      [&] { glc::entropy::gaussian_symbols(edge, good, good, bounds, symbols, rows); });
}

double exact_bits(double symbol, double scale) {
  const double magnitude = std::fabs(symbol);
  const double root = scale * std::sqrt(2.0);
  const double p =
      0.5 * (std::erfc((magnitude - 0.5) / root) - std::erfc((magnitude + 0.5) / root));
  return -std::log2(p + 1e-5);
}

void bits_and_slopes() {
  constexpr double kTolerance = 5e-5;  // float32 tails against the floor of 1e-5
  constexpr double kStep = 1e-4;
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{1009}}) {
    std::mt19937 random(static_cast<unsigned>(n) + 5);
    std::uniform_real_distribution<float> draw(-4.0F, 4.0F);
    std::uniform_real_distribution<float> unit(0.0F, 1.0F);
    Floats y(n);
    Floats mean(n);
    Floats noise(n);
    Floats scale(n);
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = draw(random);
      mean[i] = draw(random);
      noise[i] = unit(random);
      scale[i] = std::exp2(draw(random));
    }
    Floats bits(n);
    Floats by_symbol(n);
    Floats by_scale(n);
    glc::entropy::gaussian_bits(y, mean, scale, noise, bits, by_symbol, by_scale);
    Floats alone(n);
    glc::entropy::gaussian_bits(y, mean, scale, noise, alone, {}, {});
    for (std::size_t i = 0; i < n; ++i) {
      const double v = (y[i] - mean[i]) + (noise[i] - 0.5F);
      const double s = scale[i];
      if (exact_bits(v, s) < kTolerance) {
        check(bits[i] < 2 * kTolerance && bits[i] >= 0.0F, "bound");
        continue;
      }
      check(std::fabs(bits[i] - exact_bits(v, s)) < kTolerance, "bits");
      check(std::fabs(alone[i] - bits[i]) < kTolerance, "bits without slopes");
      const double dv = (exact_bits(v + kStep, s) - exact_bits(v - kStep, s)) / (2 * kStep);
      const double ds = (exact_bits(v, s + kStep) - exact_bits(v, s - kStep)) / (2 * kStep);
      check(std::fabs(by_symbol[i] - dv) < 2e-3 * (1 + std::fabs(dv)), "slope by symbol");
      check(std::fabs(by_scale[i] - ds) < 2e-3 * (1 + std::fabs(ds)), "slope by scale");
    }
  }
}

void bits_keep_nan() {
  const Floats y = {kNan, 0.0F, 1.0F};
  const Floats mean(3);
  const Floats scale = {1.0F, kNan, 1.0F};
  Floats bits(3);
  Floats by_symbol(3);
  Floats by_scale(3);
  glc::entropy::gaussian_bits(y, mean, scale, {}, bits, by_symbol, by_scale);
  check(std::isnan(bits[0]) && std::isnan(bits[1]) && !std::isnan(bits[2]), "nan");
}

void bits_of_rounded_residuals() {
  const Floats y = {0.5F, 1.5F, -0.5F, 2.4F, -3.6F, 1e9F, 0.0F};
  const Floats whole = {0.0F, 2.0F, 0.0F, 2.0F, -4.0F, 1e9F, 0.0F};
  const Floats mean(y.size());
  const Floats middle(y.size(), 0.5F);  // noise that changes nothing
  const Floats scale(y.size(), 1.5F);
  Floats rounded(y.size());
  Floats given(y.size());
  glc::entropy::gaussian_bits(y, mean, scale, {}, rounded, {}, {});
  glc::entropy::gaussian_bits(whole, mean, scale, middle, given, {}, {});
  check(rounded == given, "rounding");
}

void backward_passes_the_bound_upwards_only() {
  const Floats grad = {2.0F, 2.0F, -2.0F, -2.0F, 0.0F};
  const Floats bits = {1.0F, -0.0F, 1.0F, -0.0F, 0.0F};
  const Floats by_symbol(5, 3.0F);
  const Floats by_scale(5, 5.0F);
  Floats y(5);
  Floats mean(5);
  Floats scale(5);
  glc::entropy::gaussian_bits_backward(grad, bits, by_symbol, by_scale, y, mean, scale);
  check(y == Floats{6, 0, -6, -6, 0}, "y");
  check(mean == Floats{-6, 0, 6, 6, 0}, "mean");
  check(scale == Floats{10, 0, -10, -10, 0}, "scale");
}

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
        const auto start = cdf.begin() + static_cast<std::ptrdiff_t>(row) * (k + 1);
        check_equal(*start, 0, "first");
        check_equal(*(start + k), 1 << bits, "last");
        check(std::adjacent_find(start, start + k + 1, std::greater_equal<>()) == start + k + 1,
              "strictly increasing");
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
}

}  // namespace

int main() {
  rows_are_counts();
  symbols_round_half_to_even();
  symbols_refuse_odd_values();
  bits_and_slopes();
  bits_keep_nan();
  bits_of_rounded_residuals();
  backward_passes_the_bound_upwards_only();
  cdf_is_strict_and_full();
  cdf_refuses_bad_arguments();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "entropy/bfloat16_kernel.h"
#include "glc/entropy.h"
#include "glc/error.h"

namespace {

using glc::BFloat16;
using glc::InvalidArgument;
using glc::MatrixView;
using glc::to_float;
using glc::entropy::GaussianLatents;
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

MatrixView<const float> matrix(const Floats& values) {
  return {values.data(), 1, static_cast<std::int64_t>(values.size())};
}

template <class T>
MatrixView<T> matrix(std::vector<T>& values) {
  return {values.data(), 1, static_cast<std::int64_t>(values.size())};
}

void find_symbols(const Floats& y,
                  const Floats& mean,
                  const Floats& scale,
                  const Floats& bounds,
                  std::vector<std::int32_t>& symbols,
                  std::vector<std::uint8_t>& rows) {
  glc::entropy::gaussian_symbols(
      {matrix(y), matrix(mean), matrix(scale)}, bounds, matrix(symbols), matrix(rows));
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
    glc::entropy::gaussian_rows(matrix(scale), bounds, matrix(rows));
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
    find_symbols(y, mean, scale, bounds, symbols, rows);
    for (std::size_t i = 0; i < n; ++i) {
      check_equal(symbols[i], static_cast<std::int32_t>(std::nearbyint(y[i] - mean[i])), "symbol");
      check_equal(static_cast<int>(rows[i]), 1, "row");
    }
  }
}

/// A run with a value out of the ordinary is rounded one by one.
void symbols_beside_large_ones() {
  Floats y = {8388609.0F, -8388609.0F, 16777215.0F, 2147483520.0F};
  for (int quarter = -40; quarter <= 40; ++quarter) {
    y.push_back(0.25F * static_cast<float>(quarter));
  }
  std::vector<std::int32_t> symbols(y.size());
  std::vector<std::uint8_t> rows(y.size());
  find_symbols(y, Floats(y.size()), Floats(y.size()), {1.0F}, symbols, rows);
  for (std::size_t i = 0; i < y.size(); ++i) {
    check_equal(symbols[i], static_cast<std::int32_t>(std::nearbyint(y[i])), "symbol");
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
      check_throws<InvalidArgument>([&] { find_symbols(y, mean, scale, bounds, symbols, rows); });
    };
    run(bad, good, good);
    run(good, bad, good);
    run(good, good, bad);
  }
  Floats edge = good;
  edge[3] = -2147483648.0F;
  find_symbols(edge, Floats(1500), good, bounds, symbols, rows);
  check_equal(symbols[3], std::numeric_limits<std::int32_t>::min(), "smallest symbol");
  edge[3] = 2147483648.0F;
  check_throws<InvalidArgument>([&] { find_symbols(edge, good, good, bounds, symbols, rows); });
}

/// Every half there is, and every float midway between two of them.
void halves_round_to_even() {
  const auto& backend = glc::entropy::bfloat16_backend();
  std::vector<BFloat16> halves(std::size_t{1} << 16);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    halves[i].bits = static_cast<std::uint16_t>(i);
  }
  const auto n = static_cast<std::int64_t>(halves.size());
  Floats wide(halves.size());
  backend.widen(halves.data(), wide.data(), n);
  std::vector<BFloat16> back(halves.size());
  for (const std::uint32_t below : {0U, 0x7FFFU, 0x8000U, 0x8001U}) {
    Floats between(halves.size());
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(wide[i]);
      check_equal(bits, static_cast<std::uint32_t>(i) << 16, "widened");
      between[i] = std::bit_cast<float>(bits | below);
    }
    backend.narrow(between.data(), back.data(), n);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const bool up = below > 0x8000U || (below == 0x8000U && i % 2 == 1);
      const auto nearest = static_cast<std::uint16_t>(i + (up ? 1 : 0));
      const bool nan = std::isnan(between[i]);
      check(nan ? std::isnan(to_float(back[i])) : back[i].bits == nearest, "narrowed");
    }
  }
}

void tests() {
  rows_are_counts();
  symbols_round_half_to_even();
  symbols_beside_large_ones();
  symbols_refuse_odd_values();
  halves_round_to_even();
}

}  // namespace

int main() { return glc::test::on_every_back_end(&tests); }

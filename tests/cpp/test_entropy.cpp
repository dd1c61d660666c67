// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <utility>
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
using glc::entropy::GaussianGradients;
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

double exact_bits(double symbol, double scale) {
  const double magnitude = std::fabs(symbol);
  const double root = scale * std::sqrt(2.0);
  const double p =
      0.5 * (std::erfc((magnitude - 0.5) / root) - std::erfc((magnitude + 0.5) / root));
  return -std::log2(p + 1e-5);
}

constexpr std::uint64_t kSeed = 0x123456789ABCDEFULL;

Floats bits_of(const Floats& y,
               const Floats& mean,
               const Floats& scale,
               std::optional<std::uint64_t> seed = std::nullopt) {
  Floats bits(y.size());
  const GaussianLatents<float> in{matrix(y), matrix(mean), matrix(scale)};
  glc::entropy::gaussian_bits(in, seed, matrix(bits));
  return bits;
}

Floats bits_of_rows(const GaussianLatents<float>& in, std::optional<std::uint64_t> seed) {
  Floats bits(static_cast<std::size_t>(in.y.size()));
  glc::entropy::gaussian_bits(in, seed, {bits.data(), in.y.rows, in.y.cols});
  return bits;
}

/// Gradients by y and by scale for a gradient of one each, or of one value for all.
std::pair<Floats, Floats> gradients_of(const Floats& grad,
                                       const Floats& y,
                                       const Floats& mean,
                                       const Floats& scale,
                                       std::optional<std::uint64_t> seed = std::nullopt) {
  Floats by_y(y.size());
  Floats by_mean(y.size());
  Floats by_scale(y.size());
  const GaussianLatents<float> in{matrix(y), matrix(mean), matrix(scale)};
  const auto n = static_cast<std::int64_t>(grad.size());
  const MatrixView<const float> grads =
      grad.size() == y.size() ? matrix(grad) : MatrixView<const float>(grad.data(), n, 1);
  const GaussianGradients<float> out{matrix(by_y), matrix(by_mean), matrix(by_scale)};
  glc::entropy::gaussian_bits_backward(grads, in, seed, out);
  for (std::size_t i = 0; i < y.size(); ++i) {
    check(by_mean[i] == -by_y[i] || std::isnan(by_y[i]), "mean");
  }
  return {by_y, by_scale};
}

/// csrc/entropy/gaussian_bits_loops.h, word for word.
double literal_noise(std::uint64_t seed, std::uint64_t row, std::uint64_t column) {
  const std::uint64_t first = column / 64 * 16 + column % 16;
  const auto low = [](std::uint64_t v) { return v & 0xFFFFFFFFU; };
  std::array<std::uint64_t, 4> word = {low(first), first >> 32, low(row), row >> 32};
  std::uint64_t key0 = low(seed);
  std::uint64_t key1 = seed >> 32;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = 0xD2511F53U * word[0];
    const std::uint64_t b = 0xCD9E8D57U * word[2];
    word = {(b >> 32) ^ word[1] ^ key0, low(b), (a >> 32) ^ word[3] ^ key1, low(a)};
    key0 = low(key0 + 0x9E3779B9U);
    key1 = low(key1 + 0xBB67AE85U);
  }
  return static_cast<double>(word[column % 64 / 16] >> 8) * 0x1p-24 - 0.5;
}

void bits_and_slopes() {
  constexpr double kTolerance = 5e-5;       // float32 tails against the floor of 1e-5
  constexpr double kNoiseTolerance = 2e-4;  // where a symbol's last bit moves them most
  constexpr double kSlopeTolerance = 1e-3;
  constexpr double kStep = 1e-4;
  for (const std::size_t n :
       {std::size_t{1}, std::size_t{7}, std::size_t{512}, std::size_t{1009}}) {
    std::mt19937 random(static_cast<unsigned>(n) + 5);
    std::uniform_real_distribution<float> draw(-4.0F, 4.0F);
    Floats y(n);
    Floats scale(n);
    for (std::size_t i = 0; i < n; ++i) {
      y[i] = draw(random);
      scale[i] = std::exp2(draw(random));
    }
    const Floats mean(n);
    const Floats bits = bits_of(y, mean, scale, kSeed);
    const auto [by_y, by_scale] = gradients_of({1.0F}, y, mean, scale, kSeed);
    for (std::size_t i = 0; i < n; ++i) {
      const double s = scale[i];
      const double v = y[i] + literal_noise(kSeed, 0, i);
      check(std::fabs(std::max(0.0, exact_bits(v, s)) - bits[i]) < kNoiseTolerance, "bits");
      if (exact_bits(v, s) < 0.05) {
        continue;
      }
      const double dv = (exact_bits(v + kStep, s) - exact_bits(v - kStep, s)) / (2 * kStep);
      const double ds = (exact_bits(v, s + kStep) - exact_bits(v, s - kStep)) / (2 * kStep);
      check(std::fabs(by_y[i] - dv) < kSlopeTolerance * (1 + std::fabs(dv)), "by y");
      check(std::fabs(by_scale[i] - ds) < kSlopeTolerance * (1 + std::fabs(ds)), "by scale");
    }
    const Floats whole = bits_of(y, mean, scale);
    for (std::size_t i = 0; i < n; ++i) {
      const double exact = std::max(0.0, exact_bits(std::nearbyint(y[i]), scale[i]));
      check(std::fabs(whole[i] - exact) < kTolerance, "rounded bits");
    }
  }
}

void bits_keep_nan() {
  const Floats bits = bits_of({kNan, 0.0F, 1.0F}, Floats(3), {1.0F, kNan, 1.0F});
  check(std::isnan(bits[0]) && std::isnan(bits[1]) && !std::isnan(bits[2]), "nan");
}

void totals_sum_groups_of_rows() {
  const std::int64_t rows = 6;
  const std::int64_t cols = 20011;
  const auto n = static_cast<std::size_t>(rows * cols);
  Floats y(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(i % 11) - 5.0F;
  }
  const Floats mean(n);
  const Floats scale(n, 1.5F);
  const auto view = [&](const Floats& v) { return MatrixView<const float>(v.data(), rows, cols); };
  const GaussianLatents<float> in{view(y), view(mean), view(scale)};
  const Floats bits = bits_of(y, mean, scale);
  Floats totals(2);
  glc::entropy::gaussian_total_bits(in, std::nullopt, totals);
  for (std::size_t g = 0; g < 2; ++g) {
    const auto begin = bits.begin() + static_cast<std::ptrdiff_t>(g * n / 2);
    const double expected = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(n / 2), 0.0);
    check(std::fabs(totals[g] / expected - 1) < 1e-7, "total");
  }
  check_throws<InvalidArgument>([&] {
    Floats four(4);
    glc::entropy::gaussian_total_bits(in, std::nullopt, four);
  });
}

/// A backward pass from kept slopes, in their place or beside it.
void slopes_tell_gradients() {
  const std::int64_t rows = 3;
  const std::int64_t cols = 1009;
  const auto n = static_cast<std::size_t>(rows * cols);
  std::mt19937 random(12);
  std::normal_distribution<float> draw(0.0F, 2.0F);
  Floats y(n);
  Floats scale(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = draw(random);
    scale[i] = std::exp2(draw(random));
  }
  const Floats mean(n);
  const auto in_rows = [&](const Floats& v) {
    return MatrixView<const float>(v.data(), rows, cols);
  };
  const auto out_rows = [&](Floats& v) { return MatrixView<float>(v.data(), rows, cols); };
  const GaussianLatents<float> in{in_rows(y), in_rows(mean), in_rows(scale)};
  Floats bits(n);
  Floats by_y(n);
  Floats by_scale(n);
  const glc::entropy::GaussianSlopes slopes{out_rows(by_y), out_rows(by_scale)};
  glc::entropy::gaussian_bits(in, kSeed, out_rows(bits), slopes);
  check(bits == bits_of_rows(in, kSeed), "the same bits, with slopes kept or not");
  const Floats grad = {0.0F, 1.5F, 3.0F};
  const MatrixView<const float> grads(grad.data(), rows, 1);
  Floats expected[3] = {Floats(n), Floats(n), Floats(n)};
  glc::entropy::gaussian_bits_backward(
      grads, in, kSeed, {out_rows(expected[0]), out_rows(expected[1]), out_rows(expected[2])});
  Floats by_mean(n);
  const GaussianGradients<float> out{slopes.y, out_rows(by_mean), slopes.scale};
  check(glc::entropy::gaussian_bits_backward(grads, slopes, out), "told");
  check(by_y == expected[0] && by_mean == expected[1] && by_scale == expected[2], "gradients");
  for (const float odd : {-1.0F, kInf, kNan}) {
    const Floats bad = {1.0F, odd, 1.0F};
    check(!glc::entropy::gaussian_bits_backward({bad.data(), rows, 1}, slopes, out), "not told");
  }
  check_throws<InvalidArgument>(
      [&] { (void)glc::entropy::gaussian_bits_backward(grads, {{}, slopes.scale}, out); });
  check_throws<InvalidArgument>(
      [&] { (void)glc::entropy::gaussian_bits_backward(grads, {slopes.y, {}}, out); });
}

void backward_passes_the_bound_upwards_only() {
  const Floats zero(4);
  const Floats scale = {0.112F, 0.112F, 1.0F, 1e-9F};  // the first two cost 0, below the bound
  const auto [down, by_scale] = gradients_of({2.0F, -2.0F, 2.0F, 2.0F}, zero, zero, scale);
  check(by_scale[0] == 0.0F, "held");
  check(by_scale[1] < 0.0F, "lifted");
  check(by_scale[2] > 0.0F, "free");
  check(by_scale[3] == 0.0F, "clamped");
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
  symbols_refuse_odd_values();
  bits_and_slopes();
  bits_keep_nan();
  totals_sum_groups_of_rows();
  slopes_tell_gradients();
  backward_passes_the_bound_upwards_only();
  halves_round_to_even();
}

}  // namespace

int main() { return glc::test::on_every_back_end(&tests); }

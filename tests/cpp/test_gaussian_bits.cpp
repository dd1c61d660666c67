// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <numeric>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "entropy_values.h"
#include "glc/entropy.h"
#include "glc/error.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::entropy::GaussianGradients;
using glc::entropy::GaussianLatents;
using glc::test::check;
using glc::test::check_throws;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;

MatrixView<const float> matrix(const Floats& values) {
  return {values.data(), 1, std::ssize(values)};
}

MatrixView<float> matrix(Floats& values) { return {values.data(), 1, std::ssize(values)}; }

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

/// Latents in three rows.
struct Rows {
  static constexpr std::int64_t kRows = 3;
  static constexpr std::int64_t kCols = 1009;
  static constexpr std::size_t kSize = kRows * kCols;

  Floats y = Floats(kSize);
  Floats mean = Floats(kSize);
  Floats scale = Floats(kSize);
  GaussianLatents<float> in{in_rows(y), in_rows(mean), in_rows(scale)};

  Rows() {
    std::mt19937 random(12);
    std::normal_distribution<float> draw(0.0F, 2.0F);
    for (std::size_t i = 0; i < kSize; ++i) {
      y[i] = draw(random);
      scale[i] = std::exp2(draw(random));
    }
  }
  static MatrixView<const float> in_rows(const Floats& v) { return {v.data(), kRows, kCols}; }
  static MatrixView<float> out_rows(Floats& v) { return {v.data(), kRows, kCols}; }
};

/// Maps for gradients.
struct Maps {
  Floats y = Floats(Rows::kSize);
  Floats mean = Floats(Rows::kSize);
  Floats scale = Floats(Rows::kSize);

  GaussianGradients<float> view() {
    return {Rows::out_rows(y), Rows::out_rows(mean), Rows::out_rows(scale)};
  }
  [[nodiscard]] bool same(const Maps& other) const {
    const auto same_bits = [](const Floats& a, const Floats& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    return same_bits(y, other.y) && same_bits(mean, other.mean) && same_bits(scale, other.scale);
  }
};

/// What a forward pass leaves for a gradient, whatever that is, a backward pass computes as well.
void gradients_come_ahead() {
  const Rows rows;
  const Floats bits = bits_of_rows(rows.in, kSeed);
  Floats total(1);
  glc::entropy::gaussian_total_bits(rows.in, kSeed, total);
  const Floats several = {-2.0F, kInf, 0.75F};
  for (const Floats& grad : {Floats{0.3F}, several}) {
    const MatrixView<const float> grads(grad.data(), std::ssize(grad), 1);
    Maps expected;
    glc::entropy::gaussian_bits_backward(grads, rows.in, kSeed, expected.view());
    Maps with_bits;
    Floats out(Rows::kSize);
    glc::entropy::gaussian_bits(rows.in, kSeed, Rows::out_rows(out), {grads, with_bits.view()});
    check(out == bits, "the same bits, with gradients left or not");
    check(with_bits.same(expected), "gradients, with bits");
    Maps with_total;
    Floats sum(1);
    glc::entropy::gaussian_total_bits(rows.in, kSeed, sum, {grads, with_total.view()});
    check(sum == total, "the same total, with gradients left or not");
    check(with_total.same(expected), "gradients, with a total");
  }
  Maps maps;
  Floats out(Rows::kSize);
  const auto refuses = [&](MatrixView<const float> grads) {
    check_throws<InvalidArgument>([&] {
      glc::entropy::gaussian_bits(rows.in, kSeed, Rows::out_rows(out), {grads, maps.view()});
    });
  };
  refuses({several.data(), 2, 1});
  refuses({several.data(), 1, 3});
  refuses({});
}

/// A backward pass from slopes that were left, in their place or beside it.
void slopes_tell_gradients() {
  const Rows rows;
  Floats bits(Rows::kSize);
  Maps maps;
  const Floats one = {1.0F};
  const GaussianGradients<float> out = maps.view();
  const GaussianGradients<float> by_two{out.y, {}, out.scale};
  glc::entropy::gaussian_bits(rows.in, kSeed, Rows::out_rows(bits), {{one.data(), 1, 1}, by_two});
  const glc::entropy::GaussianSlopes slopes{out.y, out.scale};
  const Floats grad = {0.0F, 1.5F, 3.0F};
  const MatrixView<const float> grads(grad.data(), Rows::kRows, 1);
  Maps expected;
  glc::entropy::gaussian_bits_backward(grads, rows.in, kSeed, expected.view());
  check(glc::entropy::gaussian_bits_backward(grads, slopes, out), "told");
  check(maps.same(expected), "gradients");
  for (const float odd : {-1.0F, kInf, kNan}) {
    const Floats bad = {1.0F, odd, 1.0F};
    check(!glc::entropy::gaussian_bits_backward({bad.data(), Rows::kRows, 1}, slopes, out),
          "not told");
  }
  check_throws<InvalidArgument>(
      [&] { (void)glc::entropy::gaussian_bits_backward(grads, {{}, slopes.scale}, out); });
  check_throws<InvalidArgument>(
      [&] { (void)glc::entropy::gaussian_bits_backward(grads, {slopes.y, {}}, out); });
  check_throws<InvalidArgument>([&] {
    (void)glc::entropy::gaussian_bits_backward(grads, {{}, slopes.scale}, {{}, out.mean, {}});
  });
  const MatrixView<float> narrow(slopes.scale.data, Rows::kRows, Rows::kCols - 1);
  check_throws<InvalidArgument>(
      [&] { (void)glc::entropy::gaussian_bits_backward(grads, {slopes.y, narrow}, out); });
  const Floats six(6);
  check_throws<InvalidArgument>([&] {
    (void)glc::entropy::gaussian_bits_backward({six.data(), Rows::kRows, 2}, slopes, out);
  });
}

/// Short rows without gaps are read as long ones, which shows in nothing but the time.
void short_rows_are_read_together() {
  constexpr std::int64_t kRows = 606;
  constexpr std::int64_t kCols = 3;
  constexpr std::int64_t kApart = 5;  // from one row to the next, where there are gaps
  constexpr auto kSize = static_cast<std::size_t>(kRows * kCols);
  const auto spread = [](const Floats& dense) {
    Floats out(static_cast<std::size_t>(kRows * kApart), kNan);
    for (std::size_t i = 0; i < dense.size(); ++i) out[i / kCols * kApart + i % kCols] = dense[i];
    return out;
  };
  const Floats y = glc::test::normal(kSize, 3, 3.0F);
  const Floats mean = glc::test::normal(kSize, 4, 1.0F);
  Floats scale = glc::test::normal(kSize, 5, 2.0F);
  for (float& s : scale) s = std::fabs(s);
  const Floats far_y = spread(y);
  const Floats far_mean = spread(mean);
  const Floats far_scale = spread(scale);
  const auto dense = [](const Floats& v) {
    return MatrixView<const float>(v.data(), kRows, kCols);
  };
  const auto apart = [](const Floats& v) {
    return MatrixView<const float>(v.data(), kRows, kCols, kApart);
  };
  const GaussianLatents<float> together{dense(y), dense(mean), dense(scale)};
  const GaussianLatents<float> one_by_one{apart(far_y), apart(far_mean), apart(far_scale)};
  const auto out = [](Floats& v) { return MatrixView<float>(v.data(), kRows, kCols); };
  for (const auto seed : {std::optional<std::uint64_t>(), std::optional(kSeed)}) {
    check(bits_of_rows(together, seed) == bits_of_rows(one_by_one, seed), "bits");
    for (const std::size_t groups : {std::size_t{1}, std::size_t{6}, std::size_t{kRows}}) {
      Floats totals(groups);
      Floats expected(groups);
      glc::entropy::gaussian_total_bits(together, seed, totals);
      glc::entropy::gaussian_total_bits(one_by_one, seed, expected);
      for (std::size_t g = 0; g < groups; ++g) {
        check(std::fabs(totals[g] - expected[g]) <= 1e-6F * expected[g], "totals");
      }
      const Floats grad = glc::test::normal(groups, 6, 1.0F);
      const MatrixView<const float> grads(grad.data(), std::ssize(grad), 1);
      Floats by[3] = {Floats(kSize), Floats(kSize), Floats(kSize)};
      Floats expected_by[3] = {Floats(kSize), Floats(kSize), Floats(kSize)};
      Floats left[3] = {Floats(kSize), Floats(kSize), Floats(kSize)};
      Floats bits(kSize);
      const auto maps = [&](Floats* of) {
        return GaussianGradients<float>{out(of[0]), out(of[1]), out(of[2])};
      };
      glc::entropy::gaussian_bits_backward(grads, together, seed, maps(by));
      glc::entropy::gaussian_bits_backward(grads, one_by_one, seed, maps(expected_by));
      glc::entropy::gaussian_bits(together, seed, out(bits), {grads, maps(left)});
      for (int k = 0; k < 3; ++k) check(by[k] == expected_by[k], "gradients");
      for (int k = 0; k < 3; ++k) check(left[k] == expected_by[k], "gradients left ahead");
      Floats with_total[3] = {Floats(kSize), Floats(kSize), Floats(kSize)};
      Floats total(1);
      glc::entropy::gaussian_total_bits(together, seed, total, {grads, maps(with_total)});
      for (int k = 0; k < 3; ++k) check(with_total[k] == expected_by[k], "of other groups");
      check(bits == bits_of_rows(one_by_one, seed), "bits, with gradients left");
    }
    const Floats each = glc::test::normal(kSize, 7, 1.0F);
    const Floats far_each = spread(each);
    Floats by_y(kSize);
    Floats expected_by_y(kSize);
    glc::entropy::gaussian_bits_backward(dense(each), together, seed, {out(by_y), {}, {}});
    glc::entropy::gaussian_bits_backward(
        apart(far_each), one_by_one, seed, {out(expected_by_y), {}, {}});
    check(by_y == expected_by_y, "gradients of a gradient for each");
    Floats by_far(kSize);
    glc::entropy::gaussian_bits_backward(apart(far_each), together, seed, {out(by_far), {}, {}});
    check(by_far == expected_by_y, "gradients with gaps alone");
  }
  const Floats bounds = {0.1F, 0.5F, 1.0F, 4.0F};
  std::vector<std::int32_t> symbols[2] = {std::vector<std::int32_t>(kSize),
                                          std::vector<std::int32_t>(kSize)};
  std::vector<std::uint8_t> rows[2] = {std::vector<std::uint8_t>(kSize),
                                       std::vector<std::uint8_t>(kSize)};
  for (int k = 0; k < 2; ++k) {
    glc::entropy::gaussian_symbols(k == 0 ? together : one_by_one,
                                   bounds,
                                   {symbols[k].data(), kRows, kCols},
                                   {rows[k].data(), kRows, kCols});
  }
  check(symbols[0] == symbols[1] && rows[0] == rows[1], "symbols and rows");
  glc::entropy::gaussian_rows(dense(scale), bounds, {rows[0].data(), kRows, kCols});
  check(rows[0] == rows[1], "rows");
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

void tests() {
  bits_and_slopes();
  bits_keep_nan();
  totals_sum_groups_of_rows();
  gradients_come_ahead();
  slopes_tell_gradients();
  short_rows_are_read_together();
  backward_passes_the_bound_upwards_only();
}

}  // namespace

int main() { return glc::test::on_every_back_end(&tests); }

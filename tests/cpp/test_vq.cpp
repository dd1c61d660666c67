// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "flushing.h"
#include "glc/error.h"
#include "glc/threads.h"
#include "glc/vq.h"
#include "vq/vq_backend.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::VqCodebook;
using glc::VqSearch;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::while_flushing;

using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Sizes {
  std::int64_t n;
  std::int64_t k;
  std::int64_t d;
};

Floats normal(std::int64_t n, std::mt19937& random, float spread = 1.0F) {
  std::normal_distribution<float> draw(0.0F, spread);
  Floats out(static_cast<std::size_t>(n));
  for (float& value : out) {
    value = draw(random);
  }
  return out;
}

/// The contract of vq.h, word for word.
Indices literal(MatrixView<const float> latents, MatrixView<const float> codebook) {
  Indices out;
  for (std::int64_t i = 0; i < latents.rows; ++i) {
    float best = -std::numeric_limits<float>::infinity();
    std::int32_t index = 0;
    for (std::int64_t j = 0; j < codebook.rows; ++j) {
      float half = 0.0F;
      for (const float c : codebook.row_span(j)) {
        half = std::fma(c, c, half);
      }
      float score = -0.5F * half;
      for (std::int64_t t = 0; t < latents.cols; ++t) {
        score = std::fma(latents.row(i)[t], codebook.row(j)[t], score);
      }
      if (score > best) {
        best = score;
        index = static_cast<std::int32_t>(j);
      }
    }
    out.push_back(index);
  }
  return out;
}

/// Every way and several numbers of threads, which must agree.
Indices search(MatrixView<const float> latents, MatrixView<const float> codebook) {
  Indices out(static_cast<std::size_t>(latents.rows), -1);
  glc::vq_nearest(latents, codebook, out);
  const VqCodebook prepared(codebook);
  check(prepared.plausible(codebook), "plausible");
  for (const int n_threads : {1, 2, 5}) {
    glc::set_threads(n_threads);
    for (const VqSearch way : {VqSearch::kAuto, VqSearch::kExact, VqSearch::kScreen}) {
      Indices again(out.size(), -1);
      prepared.nearest(latents, codebook, again, way);
      check(again == out, "ways and threads");
    }
  }
  return out;
}

void agrees_with_the_contract() {
  std::mt19937 random(1);
  for (const Sizes& s : {Sizes{0, 3, 2},
                         Sizes{1, 1, 1},
                         Sizes{15, 6, 7},
                         Sizes{16, 7, 8},
                         Sizes{17, 13, 0},
                         Sizes{5, 13, 5},  // a row more than lanes, of each back end
                         Sizes{9, 13, 5},
                         Sizes{17, 13, 5},
                         Sizes{31, 4500, 8},
                         Sizes{33, 131, 256},
                         Sizes{5, 29, 4099}}) {
    const Floats latents = normal(s.n * s.d, random);
    const Floats codes = normal(s.k * s.d, random);
    const MatrixView<const float> l(latents.data(), s.n, s.d);
    const MatrixView<const float> c(codes.data(), s.k, s.d);
    check(search(l, c) == literal(l, c), "random rows");
  }
}

void rounding_decides_the_same_way() {
  std::mt19937 random(2);
  const Floats centre = normal(40, random);
  const auto near = [&](std::int64_t n) {
    Floats out = normal(n * 40, random, 1e-6F);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += centre[i % 40];
    }
    return out;
  };
  const Floats latents = near(50);
  const Floats codes = near(300);
  const MatrixView<const float> l(latents.data(), 50, 40);
  const MatrixView<const float> c(codes.data(), 300, 40);
  check(search(l, c) == literal(l, c), "near ties");
}

void strided_views_are_followed() {
  std::mt19937 random(3);
  const Floats latents = normal(20 * 10, random);
  const Floats codes = normal(30 * 12, random);
  const MatrixView<const float> l(latents.data(), 20, 5, 10);
  const MatrixView<const float> c(codes.data(), 30, 5, 12);
  check(search(l, c) == literal(l, c), "strides");
}

void odd_values() {
  const Floats latents = {kNan, 0, kInf, 1, -3e38F, 3e38F, 0, 0};
  const Floats codes = {kNan, 1, 3e38F, 3e38F, 1, 2, 0, 0.5F, 0, 0.5F};
  const MatrixView<const float> l(latents.data(), 4, 2);
  const MatrixView<const float> c(codes.data(), 5, 2);
  const Indices got = search(l, c);
  check(got == literal(l, c), "odd values");
  check_equal(got[0], 0, "nan");
  check_equal(got[3], 3, "lowest of equals");
}

/// Latents that the screen cannot bound, finite ones too, beside others.
void odd_latents() {
  std::mt19937 random(7);
  for (const std::int64_t d : {1, 16, 64}) {
    constexpr std::int64_t kLatents = 37;
    constexpr std::int64_t kCodes = 3000;
    Floats latents = normal(kLatents * d, random);
    const Floats codes = normal(kCodes * d, random);
    constexpr std::array kOdd = {-3e38F, 1e37F, kInf, -kInf, kNan};
    for (std::int64_t row = 3; row < kLatents; row += 3) {
      latents[static_cast<std::size_t>((row + 1) * d - 1)] =
          kOdd[static_cast<std::size_t>(row / 3) % kOdd.size()];
    }
    const MatrixView<const float> l(latents.data(), kLatents, d);
    const MatrixView<const float> c(codes.data(), kCodes, d);
    check(search(l, c) == literal(l, c), "odd latents");
    if (d == 64) {
      const VqCodebook prepared(c);
      Indices out(kLatents);
      prepared.nearest(l, c, out, VqSearch::kScreen);
      check(!prepared.screen_lost(), "odd latents say nothing against the screen");
    }
  }
}

/// A caller that flushes denormals gets the same indices; here only denormals tell codes apart.
void flags_change_nothing() {
  Floats codes(300 * 16);
  codes[17 * 16] = 1e-39F;
  Floats latents(5 * 16);
  for (std::size_t i = 0; i < latents.size(); i += 16) latents[i] = 1.0F;
  const MatrixView<const float> l(latents.data(), 5, 16);
  const MatrixView<const float> c(codes.data(), 300, 16);
  check_equal(while_flushing([&] { return search(l, c); })[4], 17, "a denormal");
}

/// What 8 bits see badly: clusters, few dimensions, doubles, wild norms, a far centre.
void hard_codebooks() {
  std::mt19937 random(4);
  constexpr std::int64_t kCodes = 600;
  constexpr std::int64_t kDims = 43;
  const auto made = [&](auto f) {
    Floats out = normal(kCodes * kDims, random);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = f(out, i);
    return out;
  };
  const std::vector<Floats> codebooks = {
      made([](const Floats& x, std::size_t i) { return x[i]; }),
      made([](const Floats& x, std::size_t i) { return x[i % (7 * kDims)] + 0.01F * x[i]; }),
      made([](const Floats& x, std::size_t i) { return x[i / kDims * kDims]; }),
      made([](const Floats& x, std::size_t i) { return x[i % (300 * kDims)]; }),
      made([](const Floats& x, std::size_t i) { return x[i] * std::exp(6 * x[i / kDims]); }),
      made([](const Floats& x, std::size_t i) { return 30.0F + x[i]; }),
      made([](const Floats& x, std::size_t i) { return 1e-20F * x[i]; }),
      made([](const Floats& x, std::size_t i) { return i / kDims % 2 == 0 ? 0.0F : x[i]; }),
  };
  for (const Floats& codes : codebooks) {
    Floats latents = normal(70 * kDims, random, 0.1F);
    for (std::size_t i = 0; i < latents.size(); ++i) latents[i] = latents[i] * codes[3] + codes[i];
    const MatrixView<const float> l(latents.data(), 70, kDims);
    const MatrixView<const float> c(codes.data(), kCodes, kDims);
    check(search(l, c) == literal(l, c), "hard codebook");
  }
}

/// On a circle the errors of quantisation come near their bound, and a code's neighbours score
/// nearly as much: no part of the bound can be done without. The first of a group, on any back end,
/// is a code of another kind, as are enough others for the screen to be worth it.
void a_crowded_circle() {
  std::mt19937 random(8);
  constexpr std::int64_t kCodes = 3000;
  constexpr std::int64_t kLatents = 200;
  Floats codes = normal(kCodes * 2, random);
  for (std::size_t i = 0; i < codes.size(); i += 2) {
    const std::size_t j = i / 2;
    const bool small = j % 4 == 0 || j % 5 == 0 || j > 2000;
    const float by = (small ? 0.1F : 1.0F) / std::hypot(codes[i], codes[i + 1]);
    codes[i] *= by;
    codes[i + 1] *= by;
  }
  const Floats latents = normal(kLatents * 2, random);
  const MatrixView<const float> l(latents.data(), kLatents, 2);
  const MatrixView<const float> c(codes.data(), kCodes, 2);
  check(search(l, c) == literal(l, c), "a crowded circle");
}

/// Codebooks that no bounds hold for: one with a row that is not finite, beside the rows that the
/// centre is made of, and one of values whose squares vanish.
void codebooks_beyond_bounds() {
  std::mt19937 random(9);
  constexpr std::int64_t kDims = 16;
  const auto compare = [](const Floats& latents, const Floats& codes, std::int64_t d) {
    const MatrixView<const float> l(latents.data(), std::ssize(latents) / d, d);
    const MatrixView<const float> c(codes.data(), std::ssize(codes) / d, d);
    check(search(l, c) == literal(l, c), "beyond bounds");
  };
  constexpr std::int64_t kOdd = 60;  // the first of a group on any back end
  Floats codes = normal(7 * 1024 * kDims, random);
  codes[kOdd * kDims] = kNan;
  const auto next = codes.begin() + (kOdd + 1) * kDims;
  compare(Floats(next, next + kDims), codes, kDims);
  compare(normal(100 * kDims, random), normal(1000 * kDims, random, 1e-25F), kDims);
}

void a_useless_screen_is_given_up() {
  std::mt19937 random(5);
  const Floats centre = normal(32, random);
  Floats codes = normal(4096 * 32, random, 1e-3F);
  for (std::size_t i = 0; i < codes.size(); ++i)
    codes[i] += (i / 32 % 2 == 0 ? 1.0F : -1.0F) * centre[i % 32];
  const MatrixView<const float> c(codes.data(), 4096, 32);
  const VqCodebook prepared(c);
  Indices out(300);
  const MatrixView<const float> l(codes.data(), 300, 32);
  for (const std::int64_t first : {0, 150}) {  // no call has rows enough by itself
    check(!prepared.packed(), "too few rows so far");
    const auto half = std::span(out).subspan(static_cast<std::size_t>(first), 150);
    prepared.nearest({l.row(first), 150, 32}, c, half);
  }
  const bool screens = glc::vq_backend().screen.pays;
  check(prepared.packed() == screens && prepared.screen_lost() == screens, "lost");
  for (std::int32_t i = 0; i < 300; ++i) check_equal(out[static_cast<std::size_t>(i)], i, "itself");
}

void another_codebook_is_told_apart() {
  std::mt19937 random(6);
  Floats codes = normal(50 * 9, random);
  const MatrixView<const float> c(codes.data(), 50, 9);
  const VqCodebook prepared(c);
  check(!prepared.plausible({codes.data(), 49, 9}), "fewer rows");
  check(!prepared.plausible({codes.data(), 50, 8}), "shorter rows");
  for (std::size_t i = 9 * 17; i < 9 * 18; ++i) codes[i] += 1.0F;
  check(!prepared.plausible(c), "a changed row");
  Indices out(2);
  check_throws<InvalidArgument>(
      [&] { prepared.nearest({codes.data(), 2, 9}, {codes.data(), 49, 9}, out); }, "fewer rows");
  check_throws<InvalidArgument>(
      [&] { prepared.nearest({codes.data(), 2, 8}, {codes.data(), 50, 8}, out); }, "shorter rows");
}

void sums_and_lookups() {
  const Floats latents = {1, 2, 10, 20, 3, 4, 5, 5};
  const Floats codes = {0, 0, 1, 1, 2, 2};
  const Indices indices = {2, 0, 2, 2};
  const MatrixView<const float> l(latents.data(), 4, 2);
  const MatrixView<const float> c(codes.data(), 3, 2);
  std::vector<std::int64_t> counts(3, 7);  // whatever was there
  glc::vq_usage(indices, counts);
  check(counts == std::vector<std::int64_t>{1, 0, 3}, "usage");
  Floats sums(4, 7.0F);
  glc::vq_segment_sums(l, indices, counts, {sums.data(), 2, 2});
  check(sums == Floats{10, 20, 9, 11}, "sums");
  Floats rows(8);
  const double error = glc::vq_lookup(l, c, indices, {rows.data(), 4, 2});
  check(rows == Floats{2, 2, 0, 0, 2, 2, 2, 2}, "rows");
  check_equal(error, 1.0 + 500.0 + 5.0 + 18.0, "error");

  const MatrixView<float> out(rows.data(), 4, 2);
  check_throws<InvalidArgument>([&] { glc::vq_lookup(l, c, Indices{0, 1, 2, 3}, out); }, "index");
  check_throws<InvalidArgument>([&] { glc::vq_usage(Indices{-1}, counts); }, "negative index");
  for (const std::vector<std::int64_t>& wrong : {std::vector<std::int64_t>{2, 0, 2},
                                                 {1, 0, 4},
                                                 {1, -1, 4},
                                                 {0, 1, 3},
                                                 {-100000, 1, 100003},
                                                 {INT64_MAX, INT64_MAX, 6}}) {  // 4 in all
    check_throws<InvalidArgument>(
        [&] { glc::vq_segment_sums(l, indices, wrong, {sums.data(), 2, 2}); }, "counts");
  }
  for (const auto& [n, d] : {std::pair{1, 2}, {3, 2}, {2, 1}, {2, 3}}) {
    check_throws<InvalidArgument>(
        [&] { glc::vq_segment_sums(l, indices, counts, {sums.data(), n, d}); }, "shape of sums");
  }
  for (const Indices& wrong : {Indices{2, 0, 2}, Indices{2, 0, 2, 2, 2}}) {
    check_throws<InvalidArgument>(
        [&] { glc::vq_segment_sums(l, wrong, counts, {sums.data(), 2, 2}); }, "indices");
    check_throws<InvalidArgument>([&] { glc::vq_lookup(l, c, wrong, out); }, "indices");
  }
  check_throws<InvalidArgument>([&] { glc::vq_lookup({latents.data(), 4, 1, 2}, c, indices, out); },
                                "narrow latents");
  for (const auto& [n, d] : {std::pair{3, 2}, {4, 1}}) {
    check_throws<InvalidArgument>([&] { glc::vq_lookup(l, c, indices, {rows.data(), n, d}); },
                                  "shape of rows");
  }
}

void bad_arguments() {
  const Floats data(12);
  Indices out(4);
  const MatrixView<const float> l(data.data(), 3, 3);
  const MatrixView<const float> c(data.data(), 4, 3);
  const MatrixView<const float> none(data.data(), 0, 3);
  const MatrixView<const float> narrow(data.data(), 4, 2);
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, none, std::span(out).first(3)); },
                                "empty");
  const MatrixView<const float> wide(data.data(), 3, 4);
  const MatrixView<const float> many(data.data(), std::int64_t{1} << 31, 0);
  check_throws<InvalidArgument>(
      [&] { glc::vq_nearest({data.data(), 3, 0}, many, std::span(out).first(3)); }, "2^31 rows");
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, narrow, std::span(out).first(3)); },
                                "width");
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, wide, std::span(out).first(3)); },
                                "width");
  for (const std::size_t n : {2U, 4U}) {
    check_throws<InvalidArgument>([&] { glc::vq_nearest(l, c, std::span(out).first(n)); },
                                  "indices");
  }
}

void tests() {
  agrees_with_the_contract();
  rounding_decides_the_same_way();
  strided_views_are_followed();
  odd_values();
  odd_latents();
  flags_change_nothing();
  hard_codebooks();
  a_crowded_circle();
  codebooks_beyond_bounds();
  a_useless_screen_is_given_up();
  another_codebook_is_told_apart();
  sums_and_lookups();
  bad_arguments();
}

}  // namespace

int main() { return glc::test::on_every_back_end(&tests); }

// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "glc/error.h"
#include "glc/vq.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

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

Indices search(MatrixView<const float> latents, MatrixView<const float> codebook) {
  Indices out(static_cast<std::size_t>(latents.rows), -1);
  std::vector<std::byte> workspace(
      glc::vq_nearest_workspace_bytes(latents.rows, codebook.rows, codebook.cols));
  glc::vq_nearest(latents, codebook, out, workspace);
  return out;
}

void agrees_with_the_contract() {
  std::mt19937 random(1);
  for (const Sizes& s : {Sizes{0, 3, 2},
                         Sizes{1, 1, 1},
                         Sizes{15, 6, 7},
                         Sizes{16, 7, 8},
                         Sizes{17, 13, 0},
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
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const Floats latents = {kNan, 0, kInf, 1, -3e38F, 3e38F, 0, 0};
  const Floats codes = {kNan, 1, 3e38F, 3e38F, 1, 2, 0, 0.5F, 0, 0.5F};
  const MatrixView<const float> l(latents.data(), 4, 2);
  const MatrixView<const float> c(codes.data(), 5, 2);
  const Indices got = search(l, c);
  check(got == literal(l, c), "odd values");
  check_equal(got[0], 0, "nan");
  check_equal(got[3], 3, "lowest of equals");
}

void bad_arguments() {
  const Floats data(12);
  Indices out(3);
  std::vector<std::byte> workspace(glc::vq_nearest_workspace_bytes(3, 4, 3));
  const MatrixView<const float> l(data.data(), 3, 3);
  const MatrixView<const float> c(data.data(), 4, 3);
  const MatrixView<const float> none(data.data(), 0, 3);
  const MatrixView<const float> narrow(data.data(), 4, 2);
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, none, out, workspace); }, "empty");
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, narrow, out, workspace); }, "width");
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, c, std::span(out).first(2), workspace); },
                                "indices");
  check_throws<InvalidArgument>([&] { glc::vq_nearest(l, c, out, std::span(workspace).first(8)); },
                                "workspace");
}

}  // namespace

int main() {
  agrees_with_the_contract();
  rounding_decides_the_same_way();
  strided_views_are_followed();
  odd_values();
  bad_arguments();
  return 0;
}

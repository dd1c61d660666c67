// SPDX-License-Identifier: Apache-2.0
// The kernels of the four parts, on every back end, against their formulas.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "entropy_values.h"
#include "glc/four_part.h"

namespace {

using glc::MatrixView;
using glc::entropy::FourPartShape;
using glc::entropy::kParts;
using glc::test::check;
using glc::test::Floats;
using glc::test::kInf;
using glc::test::kNan;
using glc::test::normal;

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// An output at a multiple of 64 bytes, as tensors are.
class Output {
 public:
  explicit Output(std::size_t n) : memory_(n + kMore, kNan), n_(n) {
    void* start = memory_.data();
    std::size_t room = memory_.size() * sizeof(float);
    check(std::align(kMore * sizeof(float), n * sizeof(float), start, room) != nullptr, "room");
    start_ = static_cast<float*>(start);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  [[nodiscard]] float* data() const { return start_; }
  [[nodiscard]] float operator[](std::size_t i) const { return start_[i]; }
  [[nodiscard]] bool same_bits(const Floats& other) const {
    return other.size() == n_ && std::memcmp(start_, other.data(), n_ * sizeof(float)) == 0;
  }

 private:
  static constexpr std::size_t kMore = 16;
  Floats memory_;
  std::size_t n_;
  float* start_ = nullptr;
};

/// Some values over and over: their number is prime.
Floats values(std::size_t n, unsigned seed, float scale) {
  Floats out = normal(std::min<std::size_t>(n, 5003), seed, scale);
  const std::size_t period = out.size();
  out.resize(n);
  for (std::size_t i = period; i < n; ++i) out[i] = out[i - period];
  return out;
}

/// Residuals that lie half-way, -0 and what is not finite among them.
Floats latents(std::size_t n) {
  Floats out = values(n, 1, 3.0F);
  constexpr std::array kOdd = {0.5F, -0.5F, 1.5F, -2.5F, -0.25F, 8388607.5F, -1e30F, kInf, -kInf};
  for (std::size_t i = 0; i < n; i += 5) out[i] = kOdd[i / 5 % kOdd.size()];
  return out;
}

struct Maps {
  explicit Maps(const FourPartShape& s)
      : shape(s),
        rows(s.batch * (s.channels_last ? s.height * s.width : 1)),
        cols(s.channels * (s.channels_last ? 1 : s.height * s.width)),
        n(static_cast<std::size_t>(rows * cols)),
        y(latents(n)) {
    for (unsigned part = 0; part < kParts; ++part) {
      means.push_back(values(n, 10 + part, 1.0F));
      scales.push_back(values(n, 20 + part, 1.0F));
      for (std::size_t i = 0; i < n; i += 3) means.back()[i] = 0.0F;
    }
    for (std::size_t i = 0; i < n; ++i) parts.push_back(part_of(i));
  }

  [[nodiscard]] MatrixView<const float> view(const Floats& map) const {
    return {map.data(), rows, cols};
  }
  [[nodiscard]] MatrixView<float> view(Floats& map) const { return {map.data(), rows, cols}; }
  [[nodiscard]] MatrixView<float> view(const Output& map) const { return {map.data(), rows, cols}; }

  FourPartShape shape;
  std::int64_t rows;
  std::int64_t cols;
  std::size_t n;
  Floats y;
  std::vector<Floats> means;
  std::vector<Floats> scales;
  std::vector<std::size_t> parts;  // that take the elements

 private:
  [[nodiscard]] std::size_t part_of(std::size_t i) const {
    const auto at = static_cast<std::int64_t>(i);
    const std::int64_t pixels = shape.height * shape.width;
    const std::int64_t pixel = shape.channels_last ? at / cols % pixels : at % pixels;
    const std::int64_t channel = shape.channels_last ? at % cols : at % cols / pixels;
    const std::int64_t phase = 2 * (pixel / shape.width % 2) + pixel % shape.width % 2;
    const auto group = static_cast<std::size_t>(channel / (shape.channels / kParts));
    std::size_t part = 0;
    while (glc::entropy::kPhases[part][group] != phase) ++part;
    return part;
  }
};

void four_parts(const FourPartShape& shape) {
  const Maps in(shape);
  Floats y_q(in.n);
  Floats y_hat(in.n);
  Floats mean(in.n);
  Floats scale(in.n);
  for (std::size_t i = 0; i < in.n; ++i) {
    mean[i] = in.means[in.parts[i]][i];
    scale[i] = in.scales[in.parts[i]][i];
    y_q[i] = std::nearbyint(in.y[i] - mean[i]) + 0.0F;
    y_hat[i] = y_q[i] + mean[i];
  }
  Floats in_place(in.n, kNan);
  Floats stepped;
  for (int part = 0; part < kParts; ++part) {
    const auto p = static_cast<std::size_t>(part);
    const auto step = [&](MatrixView<const float> before, Floats& to) {
      four_part_step(shape,
                     part,
                     {.y = in.view(in.y),
                      .mean = in.view(in.means[p]),
                      .before = before,
                      .y_hat = in.view(to)});
    };
    step(in.view(in_place), in_place);
    Floats next(in.n, kNan);
    step(part == 0 ? MatrixView<const float>() : in.view(stepped), next);
    for (std::size_t i = 0; i < in.n; ++i) {
      check(in.parts[i] > p ? next[i] == 0 && !std::signbit(next[i]) : true, "not yet");
    }
    stepped = next;
  }
  check(same_bits(in_place, y_hat), "steps in place");
  check(same_bits(stepped, y_hat), "steps");

  const std::array merged = {Output(in.n), Output(in.n), Output(in.n), Output(in.n)};
  glc::entropy::FourPartMergeMaps maps{.y = in.view(in.y)};
  for (std::size_t p = 0; p < kParts; ++p) {
    maps.means[p] = in.view(in.means[p]);
    maps.scales[p] = in.view(in.scales[p]);
  }
  maps.y_q = in.view(merged[0]);
  maps.y_hat = in.view(merged[1]);
  maps.mean = in.view(merged[2]);
  maps.scale = in.view(merged[3]);
  four_part_merge(shape, maps);
  check(merged[0].same_bits(y_q) && merged[1].same_bits(y_hat), "merged y");
  check(merged[2].same_bits(mean) && merged[3].same_bits(scale), "merged");
}

/// Targets of no part, one, two and all; then one target alone.
void spreads(const FourPartShape& shape) {
  const Maps in(shape);
  constexpr std::array kSets = {0U, 2U, 9U, 15U};
  for (const bool with_minus : {false, true}) {
    const std::array out = {Output(in.n), Output(in.n), Output(in.n), Output(in.n)};
    glc::entropy::FourPartSpreadMaps maps{.x = in.view(in.scales[0])};
    if (with_minus) maps.minus = in.view(in.means[1]);
    for (std::size_t k = 0; k < kParts; ++k) maps.targets[k] = {in.view(out[k]), kSets[k]};
    four_part_spread(shape, maps);
    for (std::size_t i = 0; i < in.n; ++i) {
      const float x = with_minus ? in.scales[0][i] - in.means[1][i] : in.scales[0][i];
      for (std::size_t k = 0; k < kParts; ++k) {
        check(out[k][i] == ((kSets[k] >> in.parts[i] & 1U) != 0 ? x : 0.0F), "spread");
      }
    }
    Floats alone(in.n, kNan);
    maps.targets = {};
    maps.targets[3] = {in.view(alone), kSets[2]};
    four_part_spread(shape, maps);
    check(out[2].same_bits(alone), "one target");
  }
}

void four_parts_of_every_size() {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33}) {
    const std::array<FourPartShape, 4> shapes = {
        {{.batch = 2, .channels = 8, .height = 5, .width = size, .channels_last = false},
         {.batch = 2, .channels = 4 * size, .height = 3, .width = 5, .channels_last = true},
         {.batch = 2, .channels = 8, .height = 1, .width = size, .channels_last = false},
         {.batch = 2, .channels = 4 * size, .height = 2, .width = 1, .channels_last = true}}};
    for (const FourPartShape& shape : shapes) {
      four_parts(shape);
      spreads(shape);
    }
  }
}

/// Outputs of 16 MiB and more are stored past the caches where their lines are whole cache lines.
/// The last shape has tasks of three channels, and of the fourth.
void large_four_parts() {
  const std::array<FourPartShape, 4> shapes = {
      {{.batch = 1, .channels = 64, .height = 128, .width = 128, .channels_last = false},
       {.batch = 2, .channels = 64, .height = 69, .width = 120, .channels_last = false},
       {.batch = 1, .channels = 256, .height = 67, .width = 65, .channels_last = true},
       {.batch = 1, .channels = 16, .height = 140, .width = 150, .channels_last = false}}};
  for (const FourPartShape& shape : shapes) {
    four_parts(shape);
    spreads(shape);
  }
}

/// Large outputs that begin, or whose second row begins, beside a cache line.
void large_outputs_beside_cache_lines() {
  const Maps in({.batch = 2, .channels = 32, .height = 128, .width = 128, .channels_last = false});
  for (const std::int64_t gap : {0, 1}) {
    const std::size_t room = in.n + 2;
    const std::array out = {Output(room), Output(room), Output(room), Output(room)};
    const std::int64_t first = 1 - gap;
    glc::entropy::FourPartSpreadMaps maps{.x = in.view(in.scales[0])};
    for (std::size_t k = 0; k < kParts; ++k) {
      maps.targets[k] = {{out[k].data() + first, in.rows, in.cols, in.cols + gap}, 1U << k};
    }
    four_part_spread(in.shape, maps);
    for (std::size_t i = 0; i < in.n; ++i) {
      const std::int64_t row = static_cast<std::int64_t>(i) / in.cols;
      const std::size_t at = i + static_cast<std::size_t>(first + row * gap);
      for (std::size_t k = 0; k < kParts; ++k) {
        check(out[k][at] == (in.parts[i] == k ? in.scales[0][i] : 0.0F), "beside a cache line");
      }
    }
  }
}

void all() {
  four_parts_of_every_size();
  large_four_parts();
  large_outputs_beside_cache_lines();
}

}  // namespace

int main() { return glc::test::on_every_back_end(&all); }

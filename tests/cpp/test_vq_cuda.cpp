// SPDX-License-Identifier: Apache-2.0
// The CUDA search against the CPU's, index for index. Memory goes through the runtime's calls, so
// the same program serves a device and the kernels on the CPU.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "glc/cuda/vq.h"
#include "glc/error.h"
#include "glc/vq.h"
#include "on_device.h"

namespace {

using glc::InvalidArgument;
using glc::MatrixView;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::OnDevice;

using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

Floats normal(std::int64_t n, std::mt19937& random, float spread = 1.0F) {
  std::normal_distribution<float> draw(0.0F, spread);
  Floats out(static_cast<std::size_t>(n));
  for (float& value : out) value = draw(random);
  return out;
}

void agrees(const Floats& latents, const Floats& codes, std::int64_t d, const char* what) {
  const auto rows = [&](const Floats& x) {
    return d == 0 ? 3 : static_cast<std::int64_t>(x.size()) / d;
  };
  const std::int64_t n = rows(latents);
  const std::int64_t k = rows(codes);
  Indices expected(static_cast<std::size_t>(n));
  glc::vq_nearest({latents.data(), n, d}, {codes.data(), k, d}, expected);

  const OnDevice<float> l(latents);
  const OnDevice<float> c(codes);
  const OnDevice<std::int32_t> out(Indices(expected.size(), -1));
  const std::size_t n_bytes = glc::cuda::vq_nearest_workspace_bytes(n, k, d);
  const OnDevice<std::byte> workspace(std::vector<std::byte>(n_bytes, std::byte{0xCB}));
  glc::cuda::vq_nearest({l.data(), n, d},
                        {c.data(), k, d},
                        {out.data(), expected.size()},
                        {workspace.data(), n_bytes},
                        nullptr);
  check(cudaDeviceSynchronize() == cudaSuccess, "cudaDeviceSynchronize");
  check(out.host() == expected, what);
}

constexpr std::int64_t kFewLatents = 128;  // which every device searches alike

void random_rows(bool many_alone) {
  std::mt19937 random(1);
  struct Sizes {
    std::int64_t n, k, d;
  };
  for (const Sizes& s : {Sizes{1, 1, 1},
                         {3, 3, 0},
                         {65, 63, 17},
                         {5, 200, 7},  // in float
                         {1, 256, 32},
                         {65, 300, 33},
                         {20, 257, 70},
                         {7, 17100, 32},      // two tiles of codes a block
                         {130, 300, 70},      // blocks of 256 latents
                         {260, 400, 330}}) {  // whose dimensions do not fit at once
    if (many_alone && s.n <= kFewLatents) continue;
    agrees(normal(s.n * s.d, random), normal(s.k * s.d, random), s.d, "random rows");
  }
}

void hard_codebooks() {
  std::mt19937 random(2);
  constexpr std::int64_t kCodes = 300;
  constexpr std::int64_t kDims = 40;
  const Floats noise = normal(kCodes * kDims, random);
  const auto made = [&](auto f) {
    Floats out = noise;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = f(i);
    return out;
  };
  const auto near = [&](std::size_t i) { return noise[i % kDims] + 1e-6F * noise[i]; };
  const auto twice = [&](std::size_t i) { return noise[i % (150 * kDims)]; };
  const auto wild = [&](std::size_t i) { return noise[i] * std::exp(6 * noise[i / kDims]); };
  const auto tiny = [&](std::size_t i) { return 1e-20F * noise[i]; };
  for (const Floats& codes : {made(near), made(twice), made(wild), made(tiny)}) {
    Floats latents = normal(10 * kDims, random, 0.1F);
    for (std::size_t i = 0; i < latents.size(); ++i) latents[i] = latents[i] * codes[3] + codes[i];
    agrees(latents, codes, kDims, "hard codebook");
  }
}

void odd_values() {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::mt19937 random(3);
  for (const std::int64_t d : {2, 32}) {
    Floats latents = normal(6 * d, random);
    Floats codes = normal(260 * d, random);
    latents[0] = kNan;
    latents[static_cast<std::size_t>(d)] = kInf;
    latents[static_cast<std::size_t>(2 * d)] = -3e38F;
    agrees(latents, codes, d, "odd latents");
    codes[static_cast<std::size_t>(5 * d)] = kNan;
    codes[static_cast<std::size_t>(7 * d)] = kInf;
    agrees(latents, codes, d, "odd codes");
    agrees(latents, Floats(static_cast<std::size_t>(260 * d)), d, "all zero");
    agrees(Floats(static_cast<std::size_t>(3 * d), -0.0F), codes, d, "zero latents");
  }
}

void bad_arguments() {
  const Floats data(12);
  Indices out(3);
  std::vector<std::byte> workspace(glc::cuda::vq_nearest_workspace_bytes(3, 4, 3));
  const MatrixView<const float> l(data.data(), 3, 3);
  const MatrixView<const float> c(data.data(), 4, 3);
  const auto refused = [&](auto latents, auto codebook, std::size_t n, std::size_t n_bytes) {
    check_throws<InvalidArgument>([&] {
      glc::cuda::vq_nearest(
          latents, codebook, std::span(out).first(n), std::span(workspace).first(n_bytes), nullptr);
    });
  };
  refused(l, MatrixView<const float>(data.data(), 0, 3), 3, workspace.size());
  refused(l, MatrixView<const float>(data.data(), 4, 2), 3, workspace.size());
  refused(l, c, 2, workspace.size());
  refused(l, c, 3, workspace.size() - 1);
  refused(MatrixView<const float>(data.data(), 3, 3, 4), c, 3, workspace.size());
  glc::cuda::vq_nearest({data.data(), 0, 3}, c, {}, workspace, nullptr);
}

}  // namespace

/// With any argument, what an older device does otherwise.
int main(int n_arguments, char**) {
  random_rows(n_arguments > 1);
  if (n_arguments > 1) return 0;
  hard_codebooks();
  odd_values();
  bad_arguments();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Every backend of this machine against the contract of exact.h written out, bit for bit, and
// against each other at 1, 2 and 3 threads. `test_exact N` goes on until N outputs of every kind
// of values have been compared; by default it does enough for a test run.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/thread_pool.h"
#include "exact/exact_backend.h"
#include "exact_literal.h"
#include "exact_values.h"
#include "flushing.h"
#include "glc/error.h"
#include "glc/exact.h"
#include "glc/threads.h"

namespace {

using glc::InvalidArgument;
using glc::Simd;
using glc::exact::Backend;
using glc::exact::backend_of;
using glc::exact::Conv;
using glc::exact::DepthConvBlock;
using glc::exact::MapView;
using glc::exact::Sampling;
using glc::test::between;
using glc::test::check;
using glc::test::check_same;
using glc::test::check_throws;
using glc::test::draw;
using glc::test::Floats;
using glc::test::kAllValues;
using glc::test::Values;
using glc::test::while_flushing;

std::vector<const Backend*> backends() {
  std::vector<const Backend*> found;
  for (const Simd simd : {Simd::kScalar, Simd::kNeon, Simd::kAvx2, Simd::kAvx512}) {
    if (const Backend* use = backend_of(simd)) found.push_back(use);
  }
  return found;
}

/// Memory as a caller may have it: NaN, which shows wherever it is taken for zeros.
std::vector<std::byte> used_memory(std::size_t n_bytes) {
  return std::vector<std::byte>(n_bytes, std::byte{0xFF});
}

/// The middle one of three runs flushes denormals in the calling thread; main() lets the pool's
/// threads inherit that as well.
template <class Run>
std::int64_t check_everywhere(const Floats& expected, const std::string& what, Run run) {
  std::int64_t n = 0;
  for (const Backend* use : backends()) {
    for (const int threads : {1, 2, 3}) {
      glc::set_threads(threads);
      const std::string name = what + ", " + std::string(simd_name(use->simd)) + ", " +
                               std::to_string(threads) + " threads";
      const Floats got = threads == 2 ? while_flushing([&] { return run(use); }) : run(use);
      check_same(got, expected, name);
      n += std::ssize(expected);
    }
  }
  return n;
}

std::int64_t check_conv(Values kind, std::int64_t side, bool literal, std::mt19937& random) {
  const std::int64_t n = between(1, 2, random);
  const std::int64_t in = between(1, random() % 8 == 0 ? 300 : 20, random);
  const std::int64_t kernel = random() % 2 == 0 ? 1 : 3;
  const std::int64_t h = between(0, side, random);
  const std::int64_t w = between(0, side, random);
  const bool shuffle = random() % 4 == 0;
  const std::int64_t out = shuffle ? 4 * between(1, 6, random) : between(1, 40, random);
  Conv::Options options;
  options.sampling.stride = between(1, 2, random);
  if (kernel == 1) {
    options.sampling.row = between(0, options.sampling.stride - 1, random);
    options.sampling.col = between(0, options.sampling.stride - 1, random);
  }
  if (random() % 2 == 0) options.slope = 0.01F;
  options.shuffle = shuffle ? 2 : 1;
  const Floats x = draw(n * in * h * w, kind, random);
  const Floats weight = draw(out * in * kernel * kernel, kind, random);
  const Floats bias = draw(out, kind, random);
  const Sampling& s = options.sampling;
  const std::int64_t f = options.shuffle;
  const std::int64_t h_out = f * s.count(h, s.row);
  const std::int64_t w_out = f * s.count(w, s.col);
  const std::int64_t c_out = out / (f * f);
  const Floats residual = draw(n * c_out * h_out * w_out, kind, random);
  if (!shuffle && random() % 2 == 0) options.residual = {residual.data(), n, c_out, h_out, w_out};
  const MapView<const float> view{x.data(), n, in, h, w};
  const auto run = [&](const Backend* use) {
    const Conv conv(weight, bias, in, out, kernel, use);
    Floats result(residual.size(), 7.0F);
    std::vector<std::byte> workspace = used_memory(conv.workspace_bytes());
    conv.run(view, options, {result.data(), n, c_out, h_out, w_out}, workspace);
    return result;
  };
  glc::set_threads(1);
  const Floats expected = literal ? glc::test::conv(view, weight, bias, out, kernel, options)
                                  : run(backend_of(Simd::kScalar));
  return check_everywhere(expected, "conv", run);
}

std::int64_t check_depthwise(Values kind, std::int64_t side, bool literal, std::mt19937& random) {
  const std::int64_t n = between(1, 2, random);
  const std::int64_t c = between(1, 20, random);
  const std::int64_t h = between(0, side, random);
  const std::int64_t w = between(0, random() % 16 == 0 ? 20 * side : side, random);
  const Floats x = draw(n * c * h * w, kind, random);
  const Floats weight = draw(9 * c, kind, random);
  const Floats bias = draw(c, kind, random);
  const MapView<const float> view{x.data(), n, c, h, w};
  const auto run = [&](const Backend* use) {
    Floats result(x.size(), 7.0F);
    std::vector<std::byte> workspace = used_memory(glc::exact::depthwise_workspace_bytes(w, use));
    glc::exact::depthwise3x3(view, weight, bias, {result.data(), n, c, h, w}, workspace, use);
    return result;
  };
  glc::set_threads(1);
  const Floats expected =
      literal ? glc::test::depthwise(view, weight, bias) : run(backend_of(Simd::kScalar));
  return check_everywhere(expected, "depthwise", run);
}

std::int64_t check_block(Values kind, std::int64_t side, bool literal, std::mt19937& random) {
  const bool heads = random() % 2 == 0;
  const std::int64_t n = between(1, 2, random);
  const std::int64_t a = random() % 8 == 0 ? between(64, 70, random) : between(1, 30, random);
  const std::int64_t b =
      heads ? 8 * between(1, 4, random) : (random() % 2 ? a : between(1, 30, random));
  const std::int64_t h = between(0, side, random);
  const std::int64_t w = between(0, side, random);
  const Floats x = draw(n * a * h * w, kind, random);
  glc::test::BlockFloats p;
  for (const auto& [part, size] : p.parts(a, b)) *part = draw(size, kind, random);
  const DepthConvBlock::Weights weights = p.weights(a, b);
  std::vector<Sampling> samplings(1);
  if (heads) samplings = {{2, 0, 0}, {2, 1, 1}, {2, 0, 1}, {2, 1, 0}};
  const auto n_heads = std::ssize(samplings);
  const MapView<const float> view{x.data(), n, a, h, w};
  const auto run = [&](const Backend* use) {
    const DepthConvBlock block(weights, n_heads, use);
    std::int64_t size = 0;
    for (const Sampling& s : samplings) {
      size += n * b / n_heads * s.count(h, s.row) * s.count(w, s.col);
    }
    Floats result(static_cast<std::size_t>(size), 7.0F);
    std::vector<MapView<float>> outs;
    float* at = result.data();
    for (const Sampling& s : samplings) {
      outs.push_back({at, n, b / n_heads, s.count(h, s.row), s.count(w, s.col)});
      at += outs.back().size();
    }
    std::vector<std::byte> workspace = used_memory(block.workspace_bytes(h, w));
    block.run(view, samplings, outs, workspace);
    return result;
  };
  glc::set_threads(1);
  const Floats expected =
      literal ? glc::test::block(view, p, b, samplings) : run(backend_of(Simd::kScalar));
  return check_everywhere(expected, "block", run);
}

void check_kinds(std::int64_t n_wanted, std::int64_t side, bool literal, std::mt19937& random) {
  for (const Values kind : kAllValues) {
    std::int64_t n = 0;
    while (n < n_wanted) {
      n += check_conv(kind, side, literal, random);
      n += check_depthwise(kind, side, literal, random);
      n += check_block(kind, side, literal, random);
    }
    std::printf("%lld outputs of kind %d equal %s\n",
                static_cast<long long>(n),
                static_cast<int>(kind),
                literal ? "the contract" : "the scalar ones");
  }
}

/// Memory for one thread is enough, and then only one works.
void small_workspaces_are_kept_to() {
  std::mt19937 random(6);
  const Floats x = draw(8 * 60 * 60, kAllValues[0], random);
  const Floats weight = draw(9 * 8 * 8, kAllValues[0], random);
  const Floats bias = draw(8, kAllValues[0], random);
  const Conv conv(weight, bias, 8, 8, 3);
  glc::set_threads(1);
  const std::size_t least = conv.workspace_bytes();
  const auto run = [&](std::span<std::byte> workspace) {
    Floats out(x.size());
    conv.run({x.data(), 1, 8, 60, 60}, {}, {out.data(), 1, 8, 60, 60}, workspace);
    return out;
  };
  std::vector<std::byte> memory = used_memory(4 * least);
  const auto enough = std::span(memory).first(least);
  const Floats expected = run(enough);
  check_throws<InvalidArgument>([&] { run(enough.first(least - 1)); });
  glc::set_threads(3);
  check_same(run(enough), expected, "a small workspace");
  check(std::all_of(memory.begin() + static_cast<std::ptrdiff_t>(least),
                    memory.end(),
                    [](std::byte b) { return b == std::byte{0xFF}; }),
        "memory beyond the workspace");
}

void arguments_are_checked() {
  const Floats ones(64, 1.0F);
  const std::span<const float> all(ones);
  check_throws<InvalidArgument>([&] { Conv(all.first(5), all.first(2), 2, 2, 1); });
  check_throws<InvalidArgument>([&] { Conv(all.first(4), all.first(1), 2, 2, 1); });
  check_throws<InvalidArgument>([&] { Conv(all.first(4), all.first(1), 1, 1, 2); });
  check_throws<InvalidArgument>([&] { Conv({}, {}, 0, 0, 1); });
  const Conv conv(all.first(4), all.first(2), 2, 2, 1);
  Floats out(32);
  std::vector<std::byte> workspace(conv.workspace_bytes());
  const MapView<const float> x{ones.data(), 1, 2, 4, 4};
  const MapView<float> good{out.data(), 1, 2, 4, 4};
  conv.run(x, {}, good, workspace);
  check_throws<InvalidArgument>([&] { conv.run(x, {}, {out.data(), 1, 2, 4, 3}, workspace); });
  check_throws<InvalidArgument>([&] { conv.run(x, {}, good, {}); });
  check_throws<InvalidArgument>([&] { conv.run(x, {.sampling = {3, 0, 0}}, good, workspace); });
  check_throws<InvalidArgument>([&] { conv.run(x, {.shuffle = 2}, good, workspace); });
  check_throws<InvalidArgument>([&] { conv.run({ones.data(), 1, 4, 2, 4}, {}, good, workspace); });

  const DepthConvBlock::Weights weights{.in_channels = 1,
                                        .out_channels = 1,
                                        .expand = all.first(1),
                                        .expand_bias = all.first(1),
                                        .depthwise = all.first(9),
                                        .depthwise_bias = all.first(1),
                                        .project = all.first(1),
                                        .project_bias = all.first(1),
                                        .adaptor = {},
                                        .adaptor_bias = {},
                                        .gate = all.first(4),
                                        .gate_bias = all.first(4),
                                        .contract = all.first(2),
                                        .contract_bias = all.first(1),
                                        .depth_slope = 0.1F,
                                        .gate_slope = 0.1F};
  for (const std::int64_t n_heads : {std::int64_t{-1},
                                     std::int64_t{0},
                                     std::int64_t{2},
                                     std::numeric_limits<std::int64_t>::max()}) {
    check_throws<InvalidArgument>([&] { DepthConvBlock(weights, n_heads); });
  }
  // bindings ask for memory before the input is looked at
  const DepthConvBlock block(weights);
  std::vector<std::byte> memory(block.workspace_bytes(4, 8));
  const MapView<const float> in{ones.data(), 1, 1, 4, 8};
  const std::array<MapView<float>, 1> to = {{{out.data(), 1, 1, 4, 8}}};
  const std::array<MapView<float>, 1> third = {{{out.data(), 1, 1, 2, 3}}};
  block.run(in, std::array<Sampling, 1>{}, to, memory);
  check_throws<InvalidArgument>([&] { block.run(in, {}, to, memory); });
  check_throws<InvalidArgument>(
      [&] { block.run(in, std::array{Sampling{3, 0, 0}}, third, memory); });
  for (const std::int64_t side : {-1LL, (1LL << 24) + 1, 1LL << 60}) {
    check_throws<InvalidArgument>([&] { glc::exact::depthwise_workspace_bytes(side); });
    check_throws<InvalidArgument>([&] { static_cast<void>(block.workspace_bytes(side, 1)); });
    check_throws<InvalidArgument>([&] { static_cast<void>(block.workspace_bytes(1, side)); });
  }
}

}  // namespace

int main(int n_arguments, char** arguments) {
  std::mt19937 random(5);
  glc::set_threads(3);
  while_flushing([] { glc::parallel_for(3, [](std::size_t) {}); });  // starts the threads
  const bool long_run = n_arguments > 1;
  const std::int64_t n_wanted = long_run ? std::atoll(arguments[1]) : 400'000;
  check_kinds(100'000, 12, true, random);
  check_kinds(n_wanted, long_run ? 200 : 30, false, random);
  small_workspaces_are_kept_to();
  arguments_are_checked();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "glc/four_part.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "core/cpu_features.h"
#include "core/float_mode.h"
#include "core/thread_pool.h"
#include "entropy/four_part_check.h"
#include "entropy/four_part_kernel.h"
#include "entropy/runs.h"
#include "entropy/vec_portable.h"

namespace glc::entropy {
namespace {

FourPartBackend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force(Simd::kAvx512) == Simd::kAvx512) {
    return four_part_avx512();
  }
  if (simd_in_force() == Simd::kAvx2) {
    return four_part_avx2();
  }
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    return four_part_neon();
  }
#endif
  return FourPartBackend::of<VecPortable>();
}

const FourPartBackend& backend() {
  static const FourPartBackend chosen = choose();
  return chosen;
}

int phase_of(const FourPartShape& shape, int part, std::int64_t channel) {
  const auto group = static_cast<std::size_t>(channel / (shape.channels / kParts));
  return kPhases[static_cast<std::size_t>(part)][group];
}

std::int64_t phase_of_pixel(const FourPartShape& shape, std::int64_t pixel) {
  const std::int64_t in_sample = pixel % (shape.height * shape.width);
  return 2 * (in_sample / shape.width % 2) + in_sample % shape.width % 2;
}

/// Of `length` pixels in a line, those at odd or even places.
std::int64_t half(std::int64_t length, int odd) { return (length + 1 - odd) / 2; }

int part_of(std::size_t group, std::int64_t phase) {
  int part = 0;
  while (kPhases[static_cast<std::size_t>(part)][group] != phase) {
    ++part;
  }
  return part;
}

/// f(piece) on all threads, a piece being a channel of a sample or, with channels_last, a pixel.
template <class F>
void for_each_piece(const FourPartShape& shape, F f) {
  constexpr std::int64_t kElements = 65536;  // of a task
  const std::int64_t pixels = shape.height * shape.width;
  const std::int64_t pieces = shape.batch * (shape.channels_last ? pixels : shape.channels);
  const std::int64_t size = shape.channels_last ? shape.channels : pixels;
  const std::int64_t per_task =
      std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, size));
  parallel_for(static_cast<std::size_t>((pieces + per_task - 1) / per_task), [&](std::size_t i) {
    const std::int64_t first = static_cast<std::int64_t>(i) * per_task;
    for (std::int64_t piece = first; piece < std::min(pieces, first + per_task); ++piece) {
      f(piece);
    }
  });
}

/// Lines of a map as a matrix, from an element on, whose even and odd ones belong to two parts.
struct Run {
  std::int64_t row;
  std::int64_t col;
  std::array<int, 2> parts;
  FourPartLines over;

  template <class T>
  [[nodiscard]] T* at(const MatrixView<T>& map) const {
    return map.data == nullptr ? nullptr : map.row(row) + col;
  }
  /// Of several maps, those of the two parts.
  template <class T>
  [[nodiscard]] std::array<T*, 2> at(const std::array<MatrixView<T>, kParts>& maps) const {
    return {at(maps[static_cast<std::size_t>(parts[0])]),
            at(maps[static_cast<std::size_t>(parts[1])])};
  }
  /// The elements that belong to a set of parts, bit i for part i.
  [[nodiscard]] Taken taken(unsigned set) const {
    // by bits: with branches on two bools GCC 12.2 swaps two of the results at -O2
    const unsigned even = set >> parts[0] & 1U;
    const unsigned odd = set >> parts[1] & 1U;
    return static_cast<Taken>(even | odd << 1U);
  }
};

/// f(run) on all threads; together they are all elements of a map.
template <class F>
void for_each_run(const FourPartShape& shape, F f) {
  const std::int64_t w = shape.width;
  const std::int64_t quarter = shape.channels / kParts;
  for_each_piece(shape, [&](std::int64_t piece) {
    if (shape.channels_last) {
      for (std::size_t group = 0; group < kParts; ++group) {
        const int part = part_of(group, phase_of_pixel(shape, piece));
        f(Run{.row = piece,
              .col = static_cast<std::int64_t>(group) * quarter,
              .parts = {part, part},
              .over = {.n = quarter, .lines = 1, .distance = 0}});
      }
      return;
    }
    const std::int64_t channel = piece % shape.channels;
    const auto group = static_cast<std::size_t>(channel / quarter);
    for (int odd = 0; odd < 2; ++odd) {  // lines
      f(Run{.row = piece / shape.channels,
            .col = (channel * shape.height + odd) * w,
            .parts = {part_of(group, 2 * odd), part_of(group, 2 * odd + 1)},
            .over = {.n = w, .lines = half(shape.height, odd), .distance = 2 * w}});
    }
  });
}

/// From null: zeros.
void copy_lines(const float* from, float* to, const FourPartLines& over) {
  for (std::int64_t line = 0; line < over.lines; ++line) {
    const std::int64_t begin = line * over.distance;
    if (from == nullptr) {
      std::fill_n(to + begin, over.n, 0.0F);
    } else {
      std::copy_n(from + begin, over.n, to + begin);
    }
  }
}

/// f(row, column, number) for each line of the part, in the order of its symbols.
template <class F>
void for_each_line(const FourPartShape& shape, int part, F f) {
  const std::int64_t pixels = shape.height * shape.width;
  for (std::int64_t sample = 0; sample < shape.batch; ++sample) {
    for (std::int64_t channel = 0; channel < shape.channels; ++channel) {
      const int phase = phase_of(shape, part, channel);
      const int odd = phase % 2;
      for (std::int64_t y = phase / 2; y < shape.height; y += 2) {
        const std::int64_t pixel = y * shape.width + odd;
        if (shape.channels_last) {
          f(sample * pixels + pixel, channel, half(shape.width, odd));
        } else {
          f(sample, channel * pixels + pixel, half(shape.width, odd));
        }
      }
    }
  }
}

/// From one element of a line to the next.
template <class T>
std::int64_t distance(const FourPartShape& shape, MatrixView<T> map) {
  return shape.channels_last ? 2 * map.row_stride : 2;
}

}  // namespace

std::int64_t four_part_size(const FourPartShape& shape, int part) {
  check_part("four_part_size", shape, part);
  std::int64_t n = 0;
  for (int group = 0; group < kParts; ++group) {
    const int phase = phase_of(shape, part, group * (shape.channels / kParts));
    n += half(shape.height, phase / 2) * half(shape.width, phase % 2);
  }
  return n * (shape.channels / kParts);
}

void four_part_step(const FourPartShape& shape, int part, const FourPartStepMaps& maps) {
  constexpr std::string_view kOp = "four_part_step";
  check_part(kOp, shape, part);
  check_maps(kOp, shape, maps);
  if (!maps.in_place()) expect_fresh(maps.y_hat);
  for_each_run(shape, [&](const Run& run) {
    const Taken taken = run.taken(1U << static_cast<unsigned>(part));
    if (taken != Taken::kNone) {
      backend().step({.y = run.at(maps.y),
                      .mean = run.at(maps.mean),
                      .before = run.at(maps.before),
                      .y_hat = run.at(maps.y_hat),
                      .taken = taken},
                     run.over);
    } else if (!maps.in_place()) {
      copy_lines(run.at(maps.before), run.at(maps.y_hat), run.over);
    }
  });
}

void four_part_merge(const FourPartShape& shape, const FourPartMergeMaps& maps) {
  constexpr std::string_view kOp = "four_part_merge";
  check_part(kOp, shape, 0);
  check_maps(kOp, shape, maps);
  expect_fresh(maps.y_q);
  expect_fresh(maps.y_hat);
  expect_fresh(maps.mean);
  expect_fresh(maps.scale);
  for_each_run(shape, [&](const Run& run) {
    backend().merge({.y = run.at(maps.y),
                     .mean = run.at(maps.means),
                     .scale = run.at(maps.scales),
                     .y_q = run.at(maps.y_q),
                     .y_hat = run.at(maps.y_hat),
                     .mean_out = run.at(maps.mean),
                     .scale_out = run.at(maps.scale)},
                    run.over);
  });
}

void four_part_spread(const FourPartShape& shape, const FourPartSpreadMaps& maps) {
  constexpr std::string_view kOp = "four_part_spread";
  check_part(kOp, shape, 0);
  check_maps(kOp, shape, maps);
  for (const FourPartTarget& target : maps.targets) {
    expect_fresh(target.map);
  }
  for_each_run(shape, [&](const Run& run) {
    FourPartSpreadRun spread{
        .x = run.at(maps.x), .minus = run.at(maps.minus), .targets = 0, .to = {}, .taken = {}};
    for (const FourPartTarget& target : maps.targets) {
      if (target.map.data == nullptr) continue;
      const std::size_t next = spread.targets++;
      spread.to[next] = run.at(target.map);
      spread.taken[next] = run.taken(target.parts);
    }
    backend().spread(spread, run.over);
  });
}

void four_part_pick(const FourPartShape& shape,
                    int part,
                    MatrixView<const float> map,
                    std::span<float> picked) {
  constexpr std::string_view kOp = "four_part_pick";
  check_part(kOp, shape, part);
  check_map(kOp, "map", shape, map);
  const std::int64_t size = shape.batch * four_part_size(shape, part);
  check_size(kOp, "picked", static_cast<std::size_t>(size), picked.size());
  const std::int64_t step = distance(shape, map);
  float* to = picked.data();
  for_each_line(shape, part, [&](std::int64_t row, std::int64_t col, std::int64_t n) {
    const float* from = map.row(row) + col;
    for (std::int64_t i = 0; i < n; ++i) {
      to[i] = from[i * step];
    }
    to += n;
  });
}

void four_part_put(const FourPartShape& shape,
                   int part,
                   std::span<const std::int32_t> symbols,
                   std::span<const float> mean,
                   MatrixView<float> y_hat) {
  constexpr std::string_view kOp = "four_part_put";
  check_part(kOp, shape, part);
  check_map(kOp, "y_hat", shape, y_hat);
  const std::int64_t size = shape.batch * four_part_size(shape, part);
  check_size(kOp, "symbols", static_cast<std::size_t>(size), symbols.size());
  check_size(kOp, "mean", static_cast<std::size_t>(size), mean.size());
  const std::int64_t step = distance(shape, y_hat);
  const IeeeFloats mode;  // the decoder's sums, whatever its thread's settings
  std::size_t next = 0;
  for_each_line(shape, part, [&](std::int64_t row, std::int64_t col, std::int64_t n) {
    float* to = y_hat.row(row) + col;
    for (std::int64_t i = 0; i < n; ++i, ++next) {
      to[i * step] = static_cast<float>(symbols[next]) + mean[next];
    }
  });
}

}  // namespace glc::entropy

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

template <class T>
T* at(MatrixView<T> map, std::int64_t row, std::int64_t col) {
  return map.data == nullptr ? nullptr : map.row(row) + col;
}

void step_run(const FourPartMaps& maps,
              std::int64_t row,
              std::int64_t col,
              std::int64_t n,
              Taken taken,
              std::int64_t lines,
              std::int64_t distance) {
  backend().step({.y = at(maps.y, row, col),
                  .mean = at(maps.mean, row, col),
                  .scale = at(maps.scale, row, col),
                  .y_q = at(maps.y_q, row, col),
                  .y_hat = at(maps.y_hat, row, col),
                  .mean_out = at(maps.mean_out, row, col),
                  .scale_out = at(maps.scale_out, row, col),
                  .n = n,
                  .taken = taken,
                  .lines = lines,
                  .distance = distance});
}

/// The rows of one channel of one sample that the part takes pixels of.
void step_plane(const FourPartShape& shape,
                int part,
                const FourPartMaps& maps,
                std::int64_t sample,
                std::int64_t channel) {
  const int phase = phase_of(shape, part, channel);
  const Taken taken = phase % 2 == 0 ? Taken::kEven : Taken::kOdd;
  const std::int64_t first = (channel * shape.height + phase / 2) * shape.width;
  const std::int64_t lines = half(shape.height, phase / 2);
  step_run(maps, sample, first, shape.width, taken, lines, 2 * shape.width);
}

/// The one group of channels that the part takes of a pixel.
void step_pixel(const FourPartShape& shape,
                int part,
                const FourPartMaps& maps,
                std::int64_t pixel) {
  const std::int64_t phase = phase_of_pixel(shape, pixel);
  const auto& phases = kPhases[static_cast<std::size_t>(part)];
  const std::int64_t group = std::ranges::find(phases, phase) - phases.begin();
  const std::int64_t n = shape.channels / kParts;
  step_run(maps, pixel, group * n, n, Taken::kAll, 1, 0);
}

void merge_run(const FourPartMergeMaps& maps,
               std::array<std::size_t, 2> parts,  // of the even elements, of the odd
               std::int64_t row,
               std::int64_t col,
               std::int64_t n,
               std::int64_t lines,
               std::int64_t distance) {
  const auto two = [&](const std::array<MatrixView<const float>, kParts>& from) {
    return std::array{at(from[parts[0]], row, col), at(from[parts[1]], row, col)};
  };
  const auto mean = two(maps.means);
  const auto scale = two(maps.scales);
  backend().merge({.y = at(maps.y, row, col),
                   .mean = {mean[0], mean[1]},
                   .scale = {scale[0], scale[1]},
                   .y_q = at(maps.y_q, row, col),
                   .mean_out = at(maps.mean, row, col),
                   .scale_out = at(maps.scale, row, col),
                   .n = n,
                   .lines = lines,
                   .distance = distance});
}

std::size_t part_of(std::size_t group, std::int64_t phase) {
  std::size_t part = 0;
  while (kPhases[part][group] != phase) {
    ++part;
  }
  return part;
}

void merge_plane(const FourPartShape& shape,
                 const FourPartMergeMaps& maps,
                 std::int64_t sample,
                 std::int64_t channel) {
  const auto group = static_cast<std::size_t>(channel / (shape.channels / kParts));
  const std::int64_t w = shape.width;
  for (int odd = 0; odd < 2; ++odd) {  // lines
    const std::array parts = {part_of(group, 2 * odd), part_of(group, 2 * odd + 1)};
    const std::int64_t first = (channel * shape.height + odd) * w;
    merge_run(maps, parts, sample, first, w, half(shape.height, odd), 2 * w);
  }
}

void merge_pixel(const FourPartShape& shape, const FourPartMergeMaps& maps, std::int64_t pixel) {
  const std::int64_t n = shape.channels / kParts;
  for (std::size_t group = 0; group < kParts; ++group) {
    const std::size_t part = part_of(group, phase_of_pixel(shape, pixel));
    merge_run(maps, {part, part}, pixel, static_cast<std::int64_t>(group) * n, n, 1, 0);
  }
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

void four_part_step(const FourPartShape& shape, int part, const FourPartMaps& maps) {
  constexpr std::string_view kOp = "four_part_step";
  check_part(kOp, shape, part);
  check_maps(kOp, shape, maps);
  for_each_piece(shape, [&](std::int64_t piece) {
    if (shape.channels_last) {
      step_pixel(shape, part, maps, piece);
    } else {
      step_plane(shape, part, maps, piece / shape.channels, piece % shape.channels);
    }
  });
}

void four_part_merge(const FourPartShape& shape, const FourPartMergeMaps& maps) {
  constexpr std::string_view kOp = "four_part_merge";
  check_part(kOp, shape, 0);
  check_maps(kOp, shape, maps);
  expect_fresh(maps.y_q);
  expect_fresh(maps.mean);
  expect_fresh(maps.scale);
  for_each_piece(shape, [&](std::int64_t piece) {
    if (shape.channels_last) {
      merge_pixel(shape, maps, piece);
    } else {
      merge_plane(shape, maps, piece / shape.channels, piece % shape.channels);
    }
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

// SPDX-License-Identifier: Apache-2.0
#include "glc/four_part.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

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

/// Of `length` pixels in a line, those at odd or even places.
std::int64_t half(std::int64_t length, int odd) { return (length + 1 - odd) / 2; }

int part_of(std::size_t group, std::int64_t phase) {
  int part = 0;
  while (kPhases[static_cast<std::size_t>(part)][group] != phase) {
    ++part;
  }
  return part;
}

/// Elements that lie side by side and belong to the same one or two parts.
std::int64_t line_length(const FourPartShape& shape) {
  return shape.channels_last ? shape.channels / kParts : shape.width;
}

/// Some lines of a map as a matrix, whose even and odd elements belong to two parts.
struct Run {
  std::int64_t row;
  std::int64_t col;
  std::int64_t rows;      // from one line to the next, or
  std::int64_t elements;  // of the same row
  std::int64_t lines;
  std::array<int, 2> parts;

  template <class T>
  [[nodiscard]] FourPartRows<T> at(const MatrixView<T>& map) const {
    if (map.data == nullptr) return {.first = nullptr, .distance = 0};
    return {.first = map.row(row) + col, .distance = rows * map.row_stride + elements};
  }
  /// Of several maps, those of the two parts.
  template <class T>
  [[nodiscard]] std::array<FourPartRows<T>, 2> at(
      const std::array<MatrixView<T>, kParts>& maps) const {
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

/// How the maps are cut into pieces: some channels of a group or, with channels_last, a line of
/// pixels.
struct Pieces {
  static constexpr std::int64_t kElements = 65536;  // of a task

  explicit Pieces(const FourPartShape& of) : shape(of), quarter(of.channels / kParts) {
    const std::int64_t plane = std::max<std::int64_t>(1, shape.height * shape.width);
    if (shape.channels_last) {
      count = shape.batch * shape.height;
      per_task = kElements / std::max<std::int64_t>(1, shape.width * shape.channels);
    } else {
      // after an odd number of lines the next channel begins with the other run
      channels =
          shape.height % 2 == 0 ? std::clamp<std::int64_t>(kElements / plane, 1, quarter) : 1;
      per_group = (quarter + channels - 1) / channels;
      count = shape.batch * kParts * per_group;
      per_task = kElements / (channels * plane);
    }
    per_task = std::max<std::int64_t>(1, per_task);
  }

  /// f(run) for the runs of a piece, whose lines take turns.
  template <class F>
  void each_run(std::int64_t piece, F f) const {
    shape.channels_last ? pixels(piece, f) : planes(piece, f);
  }

  FourPartShape shape;
  std::int64_t quarter;
  std::int64_t count;
  std::int64_t per_task;
  std::int64_t channels = 1;
  std::int64_t per_group = 1;

 private:
  template <class F>
  void pixels(std::int64_t piece, F f) const {
    for (int odd = 0; odd < 2; ++odd) {
      for (std::size_t group = 0; group < kParts; ++group) {
        const int part = part_of(group, 2 * (piece % shape.height % 2) + odd);
        f(Run{.row = piece * shape.width + odd,
              .col = static_cast<std::int64_t>(group) * quarter,
              .rows = 2,
              .elements = 0,
              .lines = half(shape.width, odd),
              .parts = {part, part}});
      }
    }
  }

  template <class F>
  void planes(std::int64_t piece, F f) const {
    const std::int64_t group = piece / per_group % kParts;
    const std::int64_t first = piece % per_group * channels;
    const std::int64_t lines = std::min(channels, quarter - first) * shape.height;
    for (int odd = 0; odd < 2; ++odd) {
      const auto g = static_cast<std::size_t>(group);
      f(Run{.row = piece / (per_group * kParts),
            .col = ((group * quarter + first) * shape.height + odd) * shape.width,
            .rows = 0,
            .elements = 2 * shape.width,
            .lines = half(lines, odd),
            .parts = {part_of(g, 2 * odd), part_of(g, 2 * odd + 1)}});
    }
  }
};

/// A kernel on all threads, over all elements of the maps but for the runs that `make` leaves out.
template <class R, class Make>
void walk(const FourPartShape& shape, FourPartBackend::Lines<R> kernel, Make make) {
  const Pieces pieces(shape);
  const std::int64_t tasks = (pieces.count + pieces.per_task - 1) / pieces.per_task;
  parallel_for(static_cast<std::size_t>(tasks), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * pieces.per_task;
    for (std::int64_t k = first; k < std::min(pieces.count, first + pieces.per_task); ++k) {
      std::array<R, std::size_t{2} * kParts> runs;
      std::size_t n_runs = 0;
      FourPartLines over{.n = line_length(shape), .count = 0};
      pieces.each_run(k, [&](const Run& run) {
        const std::optional<R> made = run.lines == 0 ? std::nullopt : make(run);
        if (!made.has_value()) return;
        runs[n_runs++] = *made;
        over.count += run.lines;
      });
      kernel(runs.data(), n_runs, over);
    }
  });
}

/// Whether to store past the caches, which would not hold these outputs and would read each place
/// first. It pays where lines are whole cache lines.
bool streams(const FourPartShape& shape, const std::array<MatrixView<float>, 4>& outputs) {
  constexpr std::int64_t kManyFloats = std::int64_t{4} << 20;
  std::int64_t floats = 0;
  for (const MatrixView<float>& map : outputs) floats += map.size();
  const auto aligned = [](const MatrixView<float>& map) {
    return reinterpret_cast<std::uintptr_t>(map.data) % (kCacheLine * sizeof(float)) == 0 &&
           map.row_stride % kCacheLine == 0;
  };
  return backend().streamed_merge != nullptr && floats >= kManyFloats &&
         line_length(shape) % kCacheLine == 0 && std::ranges::all_of(outputs, aligned);
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
  walk(shape, backend().step, [&](const Run& run) -> std::optional<FourPartStepRun> {
    const Taken taken = run.taken(1U << static_cast<unsigned>(part));
    if (taken == Taken::kNone && maps.in_place()) return std::nullopt;
    return FourPartStepRun{.y = run.at(maps.y),
                           .mean = run.at(maps.mean),
                           .before = run.at(maps.before),
                           .y_hat = run.at(maps.y_hat),
                           .taken = taken};
  });
}

void four_part_merge(const FourPartShape& shape, const FourPartMergeMaps& maps) {
  constexpr std::string_view kOp = "four_part_merge";
  check_part(kOp, shape, 0);
  check_maps(kOp, shape, maps);
  const std::array outputs = {maps.y_q, maps.y_hat, maps.mean, maps.scale};
  for (const MatrixView<float>& out : outputs) expect_fresh(out);
  const auto kernel = streams(shape, outputs) ? backend().streamed_merge : backend().merge;
  walk(shape, kernel, [&](const Run& run) {
    return std::optional(FourPartMergeRun{.y = run.at(maps.y),
                                          .mean = run.at(maps.means),
                                          .scale = run.at(maps.scales),
                                          .y_q = run.at(maps.y_q),
                                          .y_hat = run.at(maps.y_hat),
                                          .mean_out = run.at(maps.mean),
                                          .scale_out = run.at(maps.scale)});
  });
}

void four_part_spread(const FourPartShape& shape, const FourPartSpreadMaps& maps) {
  constexpr std::string_view kOp = "four_part_spread";
  check_part(kOp, shape, 0);
  check_maps(kOp, shape, maps);
  std::array<MatrixView<float>, kParts> outputs;
  for (std::size_t k = 0; k < kParts; ++k) {
    outputs[k] = maps.targets[k].map;
    expect_fresh(outputs[k]);
  }
  const auto kernel = streams(shape, outputs) ? backend().streamed_spread : backend().spread;
  walk(shape, kernel, [&](const Run& run) {
    FourPartSpreadRun spread{
        .x = run.at(maps.x), .minus = run.at(maps.minus), .targets = 0, .to = {}, .taken = {}};
    for (const FourPartTarget& target : maps.targets) {
      if (target.map.data == nullptr) continue;
      const std::size_t next = spread.targets++;
      spread.to[next] = run.at(target.map);
      spread.taken[next] = run.taken(target.parts);
    }
    return std::optional(spread);
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

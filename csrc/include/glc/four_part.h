// SPDX-License-Identifier: Apache-2.0
/// The four parts of the spatial context model: which elements of a map each one codes, and what
/// happens to them. A map [batch, channels, height, width] has four equal groups of channels and
/// four phases of pixels, phase = 2 * (row % 2) + column % 2; a part takes one phase of each group.
/// No mask exists anywhere: positions follow from the shape.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "glc/views.h"

namespace glc::entropy {

inline constexpr int kParts = 4;
/// kPhases[part][group]: the phase of pixels that the part takes of a group of channels.
inline constexpr std::array<std::array<std::uint8_t, 4>, kParts> kPhases = {
    {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 3, 0, 1}, {1, 0, 3, 2}}};

/// Shape of a map, channels a multiple of 4. As a matrix it has a row per sample, or with
/// channels_last a row per pixel, and any row stride.
struct FourPartShape {
  std::int64_t batch;
  std::int64_t channels;
  std::int64_t height;
  std::int64_t width;
  bool channels_last;
};

/// Elements of one part in one sample.
[[nodiscard]] std::int64_t four_part_size(const FourPartShape& shape, int part);

/// What a step reads and writes, f32; a `before` with null data counts as zeros.
struct FourPartStepMaps {
  MatrixView<const float> y{};  // divided by the quantisation step
  MatrixView<const float> mean{};
  MatrixView<const float> before{};  // y_hat of the parts before; may be y_hat itself
  MatrixView<float> y_hat{};

  [[nodiscard]] bool in_place() const {
    return before.data != nullptr && before.data == y_hat.data;
  }
};

/// At the positions of a part: y_hat = y - mean, rounded half to even, + mean. Elsewhere
/// y_hat = before, which costs nothing in place. One rounding per operation, in this order, so the
/// same everywhere; a symbol of -0 is 0.
/// Throws InvalidArgument when shapes disagree or part is not 0..3. Never allocates.
void four_part_step(const FourPartShape& shape, int part, const FourPartStepMaps& maps);

/// What a merge reads and writes, f32; all of it.
struct FourPartMergeMaps {
  MatrixView<const float> y{};
  std::array<MatrixView<const float>, kParts> means{};  // of the parts
  std::array<MatrixView<const float>, kParts> scales{};
  MatrixView<float> y_q{};
  MatrixView<float> y_hat{};
  MatrixView<float> mean{};
  MatrixView<float> scale{};
};

/// At every position, from the maps of the part it belongs to: mean, scale, the symbol y_q that
/// four_part_step rounds to there, and the y_hat that it writes.
/// Throws InvalidArgument when shapes disagree. Never allocates.
void four_part_merge(const FourPartShape& shape, const FourPartMergeMaps& maps);

/// One map that a spread writes, f32, and whose positions it takes over.
struct FourPartTarget {
  MatrixView<float> map{};
  unsigned parts = 0;  // bit i: part i
};

/// What a spread reads and writes, f32. Null: a `minus` counts as zeros, a target is left out.
struct FourPartSpreadMaps {
  MatrixView<const float> x{};
  MatrixView<const float> minus{};
  std::array<FourPartTarget, kParts> targets{};
};

/// Each target = x - minus at the positions of its parts, 0 elsewhere: what a gradient does that
/// goes back through a step or a merge.
/// Throws InvalidArgument when shapes disagree. Never allocates.
void four_part_spread(const FourPartShape& shape, const FourPartSpreadMaps& maps);

/// picked = the part's elements of a map in ascending order of [batch, channels, height, width].
///   map [batch rows or a row per pixel] · picked [batch * four_part_size] f32, written
void four_part_pick(const FourPartShape& shape,
                    int part,
                    MatrixView<const float> map,
                    std::span<float> picked);

/// Dequantises decoded symbols, in the order of four_part_pick: y_hat = float(symbol) + mean at the
/// positions of the part. The same bits as four_part_step gave where it wrote them, denormals kept.
///   symbols [n] i32, below 2^24 in magnitude to be exact · mean [n] f32 · y_hat, written
void four_part_put(const FourPartShape& shape,
                   int part,
                   std::span<const std::int32_t> symbols,
                   std::span<const float> mean,
                   MatrixView<float> y_hat);

}  // namespace glc::entropy

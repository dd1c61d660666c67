// SPDX-License-Identifier: Apache-2.0
// The four-part step on a device: a thread for each cell of 2 x 2 pixels of a channel, of which a
// part takes one. Threads go over the cells as the map lies in memory.
#include <cstdint>

#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "entropy/four_part_check.h"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::first_index;
using entropy::FourPartMergeMaps;
using entropy::FourPartShape;
using entropy::FourPartSpreadMaps;
using entropy::FourPartStepMaps;
using entropy::FourPartTarget;
using entropy::grid_for;
using entropy::index_step;
using entropy::kParts;
using entropy::kThreads;

/// The cells of a map, and how to find one.
struct Cells {
  std::int64_t all;
  std::uint32_t quarter;  // channels of a group
  std::uint32_t height;
  std::uint32_t width;
  bool channels_last;
  Divisor channels;
  Divisor lines;    // of cells
  Divisor columns;  // of cells
};

struct Cell {
  std::uint32_t sample;
  std::uint32_t channel;
  std::uint32_t line;    // of its upper pixels, halved
  std::uint32_t column;  // of its left pixels, halved
  unsigned group;
};

__device__ Cell cell_at(const Cells& cells, std::uint32_t i) {
  Cell cell{};
  if (cells.channels_last) {
    i = cells.channels.divided(i, &cell.channel);
    i = cells.columns.divided(i, &cell.column);
    cell.sample = cells.lines.divided(i, &cell.line);
  } else {
    i = cells.columns.divided(i, &cell.column);
    i = cells.lines.divided(i, &cell.line);
    cell.sample = cells.channels.divided(i, &cell.channel);
  }
  for (unsigned group = 1; group < kParts; ++group) {
    cell.group += cell.channel >= group * cells.quarter ? 1U : 0U;
  }
  return cell;
}

/// The phase that the part takes of the group; entropy::kPhases, whose rows are permutations by
/// xor.
__device__ unsigned phase_of(int part, unsigned group) {
  constexpr unsigned kFirst = 0x1230U;  // phase of group 0 in parts 0..3: 0, 3, 2, 1
  return ((kFirst >> (4 * part)) & 3U) ^ group;
}

/// An element of a map as a matrix.
struct Place {
  std::uint32_t row;
  std::int64_t col;
  bool inside;  // false at the edge of a map of odd sides
};

__device__ Place place_of(const Cells& cells, const Cell& cell, unsigned phase) {
  const std::uint32_t y = 2 * cell.line + phase / 2;
  const std::uint32_t x = 2 * cell.column + phase % 2;
  const bool inside = y < cells.height && x < cells.width;
  if (cells.channels_last) {
    return {(cell.sample * cells.height + y) * cells.width + x, cell.channel, inside};
  }
  const std::uint32_t line = cell.channel * cells.height + y;
  return {cell.sample, std::int64_t{line} * cells.width + x, inside};
}

template <class T>
__device__ T* at(const MatrixView<T>& map, const Place& p) {
  return map.data + p.row * map.row_stride + p.col;
}

/// Adding 0 turns a symbol of -0 into 0, which is what its integer is.
__device__ float symbol(float y, float mean) { return rintf(y - mean) + 0.0F; }

struct StepParams {
  Cells cells;
  FourPartStepMaps maps;
  int part;
  bool in_place;
};

__global__ void __launch_bounds__(kThreads) step_kernel(StepParams q) {
  for (std::int64_t i = first_index(); i < q.cells.all; i += index_step()) {
    const Cell cell = cell_at(q.cells, static_cast<std::uint32_t>(i));
    const unsigned taken = phase_of(q.part, cell.group);
    const Place p = place_of(q.cells, cell, taken);
    if (p.inside) {
      const float mean = *at(q.maps.mean, p);
      *at(q.maps.y_hat, p) = symbol(*at(q.maps.y, p), mean) + mean;
    }
    if (q.in_place) continue;
#pragma unroll
    for (unsigned other = 1; other < kParts; ++other) {
      const Place rest = place_of(q.cells, cell, taken ^ other);
      if (!rest.inside) continue;
      *at(q.maps.y_hat, rest) = q.maps.before.data == nullptr ? 0.0F : *at(q.maps.before, rest);
    }
  }
}

struct MergeParams {
  Cells cells;
  FourPartMergeMaps maps;
};

__global__ void __launch_bounds__(kThreads) merge_kernel(MergeParams q) {
  const auto* const means = reinterpret_cast<const MatrixView<const float>*>(&q.maps.means);
  const auto* const scales = reinterpret_cast<const MatrixView<const float>*>(&q.maps.scales);
  for (std::int64_t i = first_index(); i < q.cells.all; i += index_step()) {
    const Cell cell = cell_at(q.cells, static_cast<std::uint32_t>(i));
    Place places[kParts];
    float y[kParts];
    float mean[kParts];
    float scale[kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const Place p = place_of(q.cells, cell, phase_of(part, cell.group));
      places[part] = p;
      y[part] = p.inside ? *at(q.maps.y, p) : 0.0F;
      mean[part] = p.inside ? *at(means[part], p) : 0.0F;
      scale[part] = p.inside ? *at(scales[part], p) : 0.0F;
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const Place& p = places[part];
      if (!p.inside) continue;
      const float y_q = symbol(y[part], mean[part]);
      *at(q.maps.y_q, p) = y_q;
      *at(q.maps.y_hat, p) = y_q + mean[part];
      *at(q.maps.mean, p) = mean[part];
      *at(q.maps.scale, p) = scale[part];
    }
  }
}

struct SpreadParams {
  Cells cells;
  FourPartSpreadMaps maps;
};

__global__ void __launch_bounds__(kThreads) spread_kernel(SpreadParams q) {
  const auto* const targets = reinterpret_cast<const FourPartTarget*>(&q.maps.targets);
  for (std::int64_t i = first_index(); i < q.cells.all; i += index_step()) {
    const Cell cell = cell_at(q.cells, static_cast<std::uint32_t>(i));
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const Place p = place_of(q.cells, cell, phase_of(part, cell.group));
      if (!p.inside) continue;
      float x = *at(q.maps.x, p);
      if (q.maps.minus.data != nullptr) x -= *at(q.maps.minus, p);
#pragma unroll
      for (int k = 0; k < kParts; ++k) {
        if (targets[k].map.data == nullptr) continue;
        *at(targets[k].map, p) = (targets[k].parts >> part & 1U) != 0 ? x : 0.0F;
      }
    }
  }
}

/// The order of a part's symbols: [batch, channels, height, width].
struct Order {
  std::int64_t per_sample;
  std::int64_t group_first[kParts];
};

__device__ std::int64_t rank_of(const Cells& cells,
                                const Order& order,
                                const Cell& cell,
                                unsigned phase) {
  const std::uint32_t in_line = (cells.width + 1 - phase % 2) / 2;
  const std::uint32_t lines = (cells.height + 1 - phase / 2) / 2;
  const std::uint32_t line = (cell.channel - cell.group * cells.quarter) * lines + cell.line;
  std::int64_t first = order.group_first[0];
#pragma unroll
  for (unsigned group = 1; group < kParts; ++group) {
    if (cell.group == group) first = order.group_first[group];
  }
  return cell.sample * order.per_sample + first + std::int64_t{line} * in_line + cell.column;
}

struct MoveParams {
  Cells cells;
  Order order;
  int part;
  MatrixView<const float> map;  // pick
  float* picked;
  MatrixView<float> y_hat;  // put
  const std::int32_t* symbols;
  const float* mean;
};

__global__ void __launch_bounds__(kThreads) move_kernel(MoveParams q) {
  for (std::int64_t i = first_index(); i < q.cells.all; i += index_step()) {
    const Cell cell = cell_at(q.cells, static_cast<std::uint32_t>(i));
    const unsigned phase = phase_of(q.part, cell.group);
    const Place p = place_of(q.cells, cell, phase);
    if (!p.inside) continue;
    const std::int64_t rank = rank_of(q.cells, q.order, cell, phase);
    if (q.picked != nullptr) {
      q.picked[rank] = *at(q.map, p);
    } else {
      *at(q.y_hat, p) = static_cast<float>(q.symbols[rank]) + q.mean[rank];
    }
  }
}

std::int64_t half(std::int64_t length, int odd) { return (length + 1 - odd) / 2; }

Order order_of(const FourPartShape& shape, int part) {
  Order order{};
  for (std::size_t group = 0; group < kParts; ++group) {
    const int phase = entropy::kPhases[static_cast<std::size_t>(part)][group];
    order.group_first[group] = order.per_sample;
    order.per_sample +=
        shape.channels / kParts * half(shape.height, phase / 2) * half(shape.width, phase % 2);
  }
  return order;
}

Cells checked_cells(const char* op, const FourPartShape& shape, int part) {
  entropy::check_part(op, shape, part);
  const std::int64_t lines = half(shape.height, 0);
  const std::int64_t columns = half(shape.width, 0);
  const std::int64_t all = shape.batch * shape.channels * lines * columns;
  const auto divisor = [&](std::int64_t value) { return Divisor(op, value, all); };
  const Divisor by_channels = divisor(shape.channels);  // checks that all sides fit 32 bits
  return {all,
          static_cast<std::uint32_t>(shape.channels / kParts),
          static_cast<std::uint32_t>(shape.height),
          static_cast<std::uint32_t>(shape.width),
          shape.channels_last,
          by_channels,
          divisor(lines),
          divisor(columns)};
}

}  // namespace

void four_part_step(const FourPartShape& shape,
                    int part,
                    const FourPartStepMaps& maps,
                    cudaStream_t stream) {
  constexpr const char* kOp = "four_part_step";
  const Cells cells = checked_cells(kOp, shape, part);
  entropy::check_maps(kOp, shape, maps);
  if (cells.all == 0) return;
  const StepParams params{cells, maps, part, maps.in_place()};
  launch(kOp, step_kernel, {grid_for(cells.all), kThreads}, stream, params);
}

void four_part_merge(const FourPartShape& shape,
                     const FourPartMergeMaps& maps,
                     cudaStream_t stream) {
  constexpr const char* kOp = "four_part_merge";
  const Cells cells = checked_cells(kOp, shape, 0);
  entropy::check_maps(kOp, shape, maps);
  if (cells.all == 0) return;
  launch(kOp, merge_kernel, {grid_for(cells.all), kThreads}, stream, {cells, maps});
}

void four_part_spread(const FourPartShape& shape,
                      const FourPartSpreadMaps& maps,
                      cudaStream_t stream) {
  constexpr const char* kOp = "four_part_spread";
  const Cells cells = checked_cells(kOp, shape, 0);
  entropy::check_maps(kOp, shape, maps);
  if (cells.all == 0) return;
  launch(kOp, spread_kernel, {grid_for(cells.all), kThreads}, stream, {cells, maps});
}

void four_part_pick(const FourPartShape& shape,
                    int part,
                    MatrixView<const float> map,
                    std::span<float> picked,
                    cudaStream_t stream) {
  constexpr const char* kOp = "four_part_pick";
  const Cells cells = checked_cells(kOp, shape, part);
  entropy::check_map(kOp, "map", shape, map);
  const Order order = order_of(shape, part);
  const std::int64_t size = shape.batch * order.per_sample;
  entropy::check_size(kOp, "picked", static_cast<std::size_t>(size), picked.size());
  if (cells.all == 0) return;
  const MoveParams params{cells, order, part, map, picked.data(), {}, nullptr, nullptr};
  launch(kOp, move_kernel, {grid_for(cells.all), kThreads}, stream, params);
}

void four_part_put(const FourPartShape& shape,
                   int part,
                   std::span<const std::int32_t> symbols,
                   std::span<const float> mean,
                   MatrixView<float> y_hat,
                   cudaStream_t stream) {
  constexpr const char* kOp = "four_part_put";
  const Cells cells = checked_cells(kOp, shape, part);
  entropy::check_map(kOp, "y_hat", shape, y_hat);
  const Order order = order_of(shape, part);
  const std::int64_t size = shape.batch * order.per_sample;
  entropy::check_size(kOp, "symbols", static_cast<std::size_t>(size), symbols.size());
  entropy::check_size(kOp, "mean", static_cast<std::size_t>(size), mean.size());
  if (cells.all == 0) return;
  const MoveParams params{cells, order, part, {}, nullptr, y_hat, symbols.data(), mean.data()};
  launch(kOp, move_kernel, {grid_for(cells.all), kThreads}, stream, params);
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
// The four-part step on a device: a thread for each element of a map, which knows from its place
// whether the part takes it.
#include <cstdint>

#include "core/cuda_launch.h"
#include "entropy/four_part_check.h"
#include "entropy/vec_cuda.cuh"
#include "glc/cuda/entropy.h"

namespace glc::cuda {
namespace {

using entropy::first_index;
using entropy::FourPartMaps;
using entropy::FourPartMergeMaps;
using entropy::FourPartShape;
using entropy::grid_for;
using entropy::index_step;
using entropy::kParts;
using entropy::kThreads;

/// Where an element of a map is.
struct Place {
  std::int64_t sample;
  std::int64_t channel;
  std::int64_t y;
  std::int64_t x;
  std::int64_t row;  // of the map as a matrix
  std::int64_t col;
  int group;
  int phase;
};

/// Elements are numbered as they lie in memory.
__device__ Place place_of(const FourPartShape& shape, std::int64_t i) {
  Place p{};
  const std::int64_t pixels = shape.height * shape.width;
  const std::int64_t cols = shape.channels_last ? shape.channels : shape.channels * pixels;
  p.row = i / cols;
  p.col = i % cols;
  const std::int64_t pixel = shape.channels_last ? p.row % pixels : p.col % pixels;
  p.sample = shape.channels_last ? p.row / pixels : p.row;
  p.channel = shape.channels_last ? p.col : p.col / pixels;
  p.y = pixel / shape.width;
  p.x = pixel % shape.width;
  p.group = static_cast<int>(p.channel / (shape.channels / kParts));
  p.phase = static_cast<int>(2 * (p.y % 2) + p.x % 2);
  return p;
}

/// The phase that the part takes of the group; entropy::kPhases, whose rows are permutations by
/// xor.
__device__ int phase_of(int part, int group) {
  constexpr unsigned kFirst = 0x1230U;  // phase of group 0 in parts 0..3: 0, 3, 2, 1
  return static_cast<int>((kFirst >> (4 * part)) & 3U) ^ group;
}

template <class T>
__device__ T* at(const MatrixView<T>& map, const Place& p) {
  return map.data + p.row * map.row_stride + p.col;
}

/// Adding 0 turns a symbol of -0 into 0, which is what its integer is.
__device__ float symbol(float y, float mean) { return rintf(y - mean) + 0.0F; }

struct StepParams {
  FourPartShape shape;
  FourPartMaps maps;
  int part;
  std::int64_t n;
};

__global__ void step_kernel(StepParams q) {
  for (std::int64_t i = first_index(); i < q.n; i += index_step()) {
    const Place p = place_of(q.shape, i);
    if (phase_of(q.part, p.group) != p.phase) continue;
    const float mean = q.maps.mean.data == nullptr ? 0.0F : *at(q.maps.mean, p);
    if (q.maps.y.data != nullptr) {
      const float y_q = symbol(*at(q.maps.y, p), mean);
      if (q.maps.y_q.data != nullptr) *at(q.maps.y_q, p) = y_q;
      if (q.maps.y_hat.data != nullptr) *at(q.maps.y_hat, p) = y_q + mean;
    }
    if (q.maps.mean_out.data != nullptr) *at(q.maps.mean_out, p) = mean;
    if (q.maps.scale_out.data != nullptr) *at(q.maps.scale_out, p) = *at(q.maps.scale, p);
  }
}

struct MergeParams {
  FourPartShape shape;
  FourPartMergeMaps maps;
  std::int64_t n;
};

__global__ void merge_kernel(MergeParams q) {
  for (std::int64_t i = first_index(); i < q.n; i += index_step()) {
    const Place p = place_of(q.shape, i);
    MatrixView<const float> means;
    MatrixView<const float> scales;
    const auto* const all_means = reinterpret_cast<const MatrixView<const float>*>(&q.maps.means);
    const auto* const all_scales = reinterpret_cast<const MatrixView<const float>*>(&q.maps.scales);
    for (int part = 0; part < kParts; ++part) {
      if (phase_of(part, p.group) == p.phase) {
        means = all_means[part];
        scales = all_scales[part];
      }
    }
    const float mean = *at(means, p);
    *at(q.maps.y_q, p) = symbol(*at(q.maps.y, p), mean);
    *at(q.maps.mean, p) = mean;
    *at(q.maps.scale, p) = *at(scales, p);
  }
}

/// The order of a part's symbols: [batch, channels, height, width].
struct Order {
  std::int64_t per_sample;
  std::int64_t group_first[kParts];
};

__host__ __device__ std::int64_t half(std::int64_t length, int odd) {
  return (length + 1 - odd) / 2;
}

__device__ std::int64_t rank_of(const FourPartShape& shape, const Order& order, const Place& p) {
  const std::int64_t in_line = half(shape.width, p.phase % 2);
  const std::int64_t in_channel = half(shape.height, p.phase / 2) * in_line;
  const std::int64_t channel = p.channel % (shape.channels / kParts);
  return p.sample * order.per_sample + order.group_first[p.group] + channel * in_channel +
         p.y / 2 * in_line + p.x / 2;
}

struct MoveParams {
  FourPartShape shape;
  Order order;
  int part;
  std::int64_t n;
  MatrixView<const float> map;  // pick
  float* picked;
  MatrixView<float> y_hat;  // put
  const std::int32_t* symbols;
  const float* mean;
};

__global__ void move_kernel(MoveParams q) {
  for (std::int64_t i = first_index(); i < q.n; i += index_step()) {
    const Place p = place_of(q.shape, i);
    if (phase_of(q.part, p.group) != p.phase) continue;
    const std::int64_t rank = rank_of(q.shape, q.order, p);
    if (q.picked != nullptr) {
      q.picked[rank] = *at(q.map, p);
    } else {
      *at(q.y_hat, p) = static_cast<float>(q.symbols[rank]) + q.mean[rank];
    }
  }
}

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

/// Elements of the whole map.
std::int64_t checked_size(const char* op, const FourPartShape& shape, int part) {
  entropy::check_part(op, shape, part);
  return shape.batch * shape.channels * shape.height * shape.width;
}

}  // namespace

void four_part_step(const FourPartShape& shape,
                    int part,
                    const FourPartMaps& maps,
                    cudaStream_t stream) {
  constexpr const char* kOp = "four_part_step";
  const std::int64_t n = checked_size(kOp, shape, part);
  entropy::check_maps(kOp, shape, maps);
  if (n == 0) return;
  launch(kOp, step_kernel, {grid_for(n), kThreads}, stream, {shape, maps, part, n});
}

void four_part_merge(const FourPartShape& shape,
                     const FourPartMergeMaps& maps,
                     cudaStream_t stream) {
  constexpr const char* kOp = "four_part_merge";
  const std::int64_t n = checked_size(kOp, shape, 0);
  entropy::check_maps(kOp, shape, maps);
  if (n == 0) return;
  launch(kOp, merge_kernel, {grid_for(n), kThreads}, stream, {shape, maps, n});
}

void four_part_pick(const FourPartShape& shape,
                    int part,
                    MatrixView<const float> map,
                    std::span<float> picked,
                    cudaStream_t stream) {
  constexpr const char* kOp = "four_part_pick";
  const std::int64_t n = checked_size(kOp, shape, part);
  entropy::check_map(kOp, "map", shape, map);
  const Order order = order_of(shape, part);
  const std::int64_t size = shape.batch * order.per_sample;
  entropy::check_size(kOp, "picked", static_cast<std::size_t>(size), picked.size());
  if (n == 0) return;
  const MoveParams params{shape, order, part, n, map, picked.data(), {}, nullptr, nullptr};
  launch(kOp, move_kernel, {grid_for(n), kThreads}, stream, params);
}

void four_part_put(const FourPartShape& shape,
                   int part,
                   std::span<const std::int32_t> symbols,
                   std::span<const float> mean,
                   MatrixView<float> y_hat,
                   cudaStream_t stream) {
  constexpr const char* kOp = "four_part_put";
  const std::int64_t n = checked_size(kOp, shape, part);
  entropy::check_map(kOp, "y_hat", shape, y_hat);
  const Order order = order_of(shape, part);
  const std::int64_t size = shape.batch * order.per_sample;
  entropy::check_size(kOp, "symbols", static_cast<std::size_t>(size), symbols.size());
  entropy::check_size(kOp, "mean", static_cast<std::size_t>(size), mean.size());
  if (n == 0) return;
  const MoveParams params{shape, order, part, n, {}, nullptr, y_hat, symbols.data(), mean.data()};
  launch(kOp, move_kernel, {grid_for(n), kThreads}, stream, params);
}

}  // namespace glc::cuda

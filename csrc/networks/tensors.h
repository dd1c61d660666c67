// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glc::networks {

using Shape = std::vector<std::int64_t>;

/// A borrowed tensor; values has as many elements as the shape says.
struct Tensor {
  Shape shape;
  std::span<const float> values;
};

/// A model's state, by the names of its modules.
using Tensors = std::map<std::string, Tensor, std::less<>>;

/// Weight [b, a, kernel, kernel] and bias [b] of a convolution from a to b channels.
struct ConvTensors {
  std::span<const float> weight;
  std::span<const float> bias;
};

/// Gives a network its weights, each of the shape that the layout says.
class Reader {
 public:
  /// Borrows the tensors.
  explicit Reader(const Tensors& tensors);

  /// Throws InvalidArgument when there is none of the name, or it is of another shape.
  std::span<const float> tensor(std::string_view name, const Shape& shape);
  ConvTensors conv(const std::string& name, std::int64_t a, std::int64_t b, std::int64_t kernel);

  /// Throws InvalidArgument when there are tensors that no network asked for, but those whose names
  /// begin with one of `others`.
  void require_all_read(std::initializer_list<std::string_view> others = {}) const;

 private:
  const Tensors& tensors_;
  std::set<std::string_view> unread_;
};

}  // namespace glc::networks

// SPDX-License-Identifier: Apache-2.0
#include "networks/tensors.h"

#include <algorithm>

#include "core/check.h"

namespace glc::networks {
namespace {

std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t side : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(side);
  }
  return text + "]";
}

}  // namespace

Reader::Reader(const Tensors& tensors) : tensors_(tensors) {
  for (const auto& [name, tensor] : tensors) unread_.insert(name);
}

std::span<const float> Reader::tensor(std::string_view name, const Shape& shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.shape != shape) {
    fail_argument("model",
                  name,
                  text_of(shape),
                  found == tensors_.end() ? "none" : text_of(found->second.shape));
  }
  unread_.erase(name);
  return found->second.values;
}

ConvTensors Reader::conv(const std::string& name,
                         std::int64_t a,
                         std::int64_t b,
                         std::int64_t kernel) {
  return {.weight = tensor(name + ".weight", {b, a, kernel, kernel}),
          .bias = tensor(name + ".bias", {b})};
}

void Reader::require_all_read(std::initializer_list<std::string_view> others) const {
  for (const std::string_view name : unread_) {
    const auto begins = [&](std::string_view other) { return name.starts_with(other); };
    if (std::ranges::none_of(others, begins)) {
      throw InvalidArgument("model: expected no weights but its own, got " + std::string(name));
    }
  }
}

}  // namespace glc::networks

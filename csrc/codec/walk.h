// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "codec/model.h"
#include "networks/layers.h"
#include "networks/map.h"
#include "networks/share.h"

namespace glc::codec {

/// Where the walk gets the symbols of a part: the latent (encoder) or the stream (decoder).
class SymbolSource {
 public:
  SymbolSource() = default;
  virtual ~SymbolSource() = default;
  SymbolSource(const SymbolSource&) = delete;
  SymbolSource& operator=(const SymbolSource&) = delete;
  SymbolSource(SymbolSource&&) = delete;
  SymbolSource& operator=(SymbolSource&&) = delete;

  /// The part's symbols, each at a position with a table row and a mean.
  ///   step: of the whole map, [N h w] · out, written
  virtual void symbols(int part,
                       std::span<const std::uint8_t> rows,
                       std::span<const float> mean,
                       std::span<const float> step,
                       std::span<std::int32_t> out) = 0;
  /// Throws this side's error for what the networks gave and is not finite.
  [[noreturn]] virtual void not_finite(std::string_view name) const = 0;
};

/// From hyper indices [z_height, z_width] to y_hat times the step [N, 4 z_height, 4 z_width], part
/// by part: what encoder and decoder both run, as `walk_parts` of glc/entropy_path.py. Throws
/// InvalidArgument for an index out of range, and what the source throws.
[[nodiscard]] networks::Map walk(const Model& model,
                                 std::span<const std::int32_t> z_index,
                                 std::int64_t z_height,
                                 std::int64_t z_width,
                                 SymbolSource& source,
                                 networks::Scratch& scratch,
                                 const networks::Share& progress);

}  // namespace glc::codec

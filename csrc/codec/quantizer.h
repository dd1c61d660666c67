// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "codec/walk.h"
#include "glc/error.h"
#include "glc/four_part.h"
#include "glc/rans.h"
#include "networks/map.h"

namespace glc::codec {

/// A latent that the model cannot code: the context of its symbols runs away.
class OutOfRange : public InvalidArgument {
 public:
  using InvalidArgument::InvalidArgument;
};

/// The symbols of one part that are coded, and their rows.
struct CodedPart {
  std::uint8_t threshold = 0;  // symbols of lower rows are zero, and not coded
  std::vector<std::int32_t> symbols;
  std::vector<std::uint8_t> rows;
};

using CodedParts = std::array<CodedPart, entropy::kParts>;

/// The encoder's source of symbols: the latent itself, quantised (facts D3, D6).
///   r = y / step - mean;  symbol = r rounded half to even
/// But a lone outlier in a part, in a row that has no bin for anything but zero, becomes zero: its
/// escape costs 30 bits, and with it no symbol of the rows above its own could be skipped.
class Quantizer final : public SymbolSource {
 public:
  /// Borrows y [N, h, w].
  Quantizer(const networks::Map& y, const rans::TableSet& tables);

  /// Throws OutOfRange for a symbol that is not finite, or as large as no picture's.
  void symbols(int part,
               std::span<const std::uint8_t> rows,
               std::span<const float> mean,
               std::span<const float> step,
               std::span<std::int32_t> out) override;
  /// Throws OutOfRange.
  [[noreturn]] void not_finite(std::string_view name) const override;

  /// What was quantised; once.
  [[nodiscard]] CodedParts take() { return std::move(parts_); }

 private:
  void pick(int part, std::span<const float> step, std::size_t n);
  void drop_lone_outlier(std::span<const std::uint8_t> rows, std::span<std::int32_t> symbols) const;

  const networks::Map& y_;
  std::uint8_t n_rows_;
  std::uint8_t n_zero_rows_;  // the first rows, which have no bin but zero's
  networks::Map scaled_;      // y / step
  std::vector<float> picked_;
  CodedParts parts_;
};

}  // namespace glc::codec

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/big_array.h"
#include "glc/bitstream.h"
#include "glc/rans.h"
#include "networks/layout.h"
#include "networks/tensors.h"

namespace glc::codec {

/// What `glc export` wrote of a model (docs/format.md).
struct ModelFile {
  networks::LightLayout layout;
  std::array<std::uint8_t, bitstream::kFingerprintBytes> fingerprint{};
  rans::TableSet gaussian;    // rows of the symbols
  std::vector<float> bounds;  // between the scales of these rows
  networks::Tensors tensors;  // of values that this holds
  BigArray<float> values;

  /// Copies what it keeps. Throws BitstreamError when the file is malformed or damaged, Unsupported
  /// when a newer glc wrote it.
  static ModelFile read(std::span<const std::uint8_t> file);
};

}  // namespace glc::codec

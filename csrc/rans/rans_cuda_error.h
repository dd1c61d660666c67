// SPDX-License-Identifier: Apache-2.0
//
// What a kernel can find wrong with the data: one number on the device, smallest place first.
#pragma once

#include <cstdint>

namespace glc::cuda {

enum class RansError : std::uint8_t {
  kNoSegments,  // for the CPU
  kOneStream,   // the same
  kDescriptor,
  kRecordCut,
  kRecordDescriptor,
  kSegmentSymbols,
  kSegments,
  kEnds,
  kStatesCut,
  kState,
  kWordsCut,
  kEscapeUnannounced,
  kEscapeNumber,
  kEscapeRange,
  kEscapePadding,
  kFinalState,
  kWordsLeft,
  kPadding,
  kStreamLeft,
  kMethod,
  kSize,
  kFrequencies,
  kDataCut,
  kRow,  // from here on the caller's mistakes; the place is a symbol's
  kSymbol,
  kCapacity,  // the place is the size that is needed
  kTooLarge,
  kLast = kTooLarge,
};

}  // namespace glc::cuda

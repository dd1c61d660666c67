// SPDX-License-Identifier: Apache-2.0
//
// The payload of a picture, or of a tile: 4 skip thresholds, then one coder stream with the hyper
// indices and the four parts (docs/format.md). The table rows of a part follow from the symbols of
// the parts before it, so a reader is pulled from by the walk; it cannot run ahead.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/bitstream.h"
#include "glc/four_part.h"
#include "glc/rans.h"

namespace glc::codec {

/// How the hyper indices of a rate level are coded: by their rank, in two halves.
struct IndexTables {
  struct Halves {
    std::vector<std::int32_t> high;
    std::vector<std::int32_t> low;
    std::vector<std::int32_t> low_rows;
  };

  std::vector<std::int32_t> rank;     // of every index, the likeliest first
  std::vector<std::int32_t> of_rank;  // the index at every rank
  rans::TableSet tables;              // row 0 for the high half of a rank, row 1 + high for the low

  /// From the logits of a level, as docs/format.md says. Throws InvalidArgument when there are none
  /// or over 2^16, or one is not finite.
  static IndexTables from(std::span<const float> logits);

  /// How indices, each below the codebook's size, are coded.
  [[nodiscard]] Halves halves(std::span<const std::int32_t> z_index) const;
};

/// Where a tile lies, or the whole picture in one piece; pixels.
struct Box {
  std::int64_t top;
  std::int64_t left;
  std::int64_t height;
  std::int64_t width;
};

/// How a header's picture is cut, row by row; boxes at the right and bottom may be smaller.
std::vector<Box> boxes(const bitstream::Header& header);

/// What a file says of a box.
struct Piece {
  Box box;
  std::uint8_t descriptor;
  std::span<const std::uint8_t> payload;
};

/// The pieces of a file, row by row. Borrows data; parsed is what `parse` says of it.
/// Throws BitstreamError unless all tiles are there, and not a byte more.
std::vector<Piece> pieces(std::span<const std::uint8_t> data, const bitstream::Parsed& parsed);

/// What a reader gives of a payload.
struct Wanted {
  int until = entropy::kParts;  // parts; all symbols of the others are taken for zero
  bool cut = false;  // the payload may end early: parts that are not whole are taken for zero too
};

class PayloadReader {
 public:
  /// Borrows all but `wanted`. Throws BitstreamError when there are no thresholds, one is beyond
  /// the rows, or the coder's stream is malformed.
  PayloadReader(const rans::TableSet& gaussian,
                const IndexTables& index,
                std::uint8_t descriptor,
                std::span<const std::uint8_t> payload,
                const Wanted& wanted);

  /// Hyper indices, which come first. Throws BitstreamError when the stream ends too early.
  [[nodiscard]] std::vector<std::int32_t> z_index(std::size_t n);

  /// The symbols of the next part, of which each has a table row.
  /// Throws BitstreamError when the stream ends too early, and need not.
  void symbols(int part, std::span<const std::uint8_t> rows, std::span<std::int32_t> out);

  /// Parts read so far.
  [[nodiscard]] int n_parts() const { return n_parts_; }

  /// Throws BitstreamError unless the stream ends exactly here, if it was read to its end.
  void finish();

 private:
  void pull(std::uint8_t threshold,
            std::span<const std::uint8_t> rows,
            std::span<std::int32_t> out);

  const rans::TableSet& gaussian_;
  const IndexTables& index_;
  Wanted wanted_;
  std::array<std::uint8_t, bitstream::kThresholdBytes> thresholds_{};
  rans::Decoder decoder_;
  int n_parts_ = 0;
};

}  // namespace glc::codec

// SPDX-License-Identifier: Apache-2.0
#include "codec/payload.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>

#include "core/byte_reader.h"
#include "core/check.h"
#include "glc/cdf.h"
#include "glc/entropy.h"
#include "glc/error.h"

namespace glc::codec {
namespace {

constexpr int kIndexBits = 16;
constexpr int kLowBits = 7;  // an index is coded as index >> kLowBits, then its low bits
constexpr std::size_t kLows = std::size_t{1} << kLowBits;
constexpr std::size_t kMostIndices = std::size_t{1} << 16;

/// The coder's part of a payload. Throws BitstreamError for thresholds beyond n_rows.
std::span<const std::uint8_t> stream_of(std::span<const std::uint8_t> payload, std::size_t n_rows) {
  if (payload.size() < bitstream::kThresholdBytes) {
    throw BitstreamError("decode: thresholds: truncated (at byte 0 of the payload)");
  }
  for (std::size_t part = 0; part < bitstream::kThresholdBytes; ++part) {
    if (payload[part] > n_rows) {
      throw BitstreamError("decode: threshold of part " + std::to_string(part) +
                           ": expected at most " + std::to_string(n_rows) + ", got " +
                           std::to_string(payload[part]) + " (at byte " + std::to_string(part) +
                           " of the payload)");
    }
  }
  return payload.subspan(bitstream::kThresholdBytes);
}

/// Tables of numbers below counts.size() from how often each occurs, at least once.
rans::TableSet index_tables(const std::vector<std::uint64_t>& counts) {
  const std::size_t n_rows = (counts.size() + kLows - 1) / kLows;
  std::vector<std::uint64_t> rows(n_rows);
  std::vector<std::int32_t> n_bins = {static_cast<std::int32_t>(n_rows)};
  for (std::size_t i = 0; i < counts.size(); ++i) rows[i / kLows] += counts[i];
  for (std::size_t i = 0; i < n_rows; ++i) {
    n_bins.push_back(static_cast<std::int32_t>(std::min(kLows, counts.size() - i * kLows)));
  }
  rows.insert(rows.end(), counts.begin(), counts.end());
  const std::vector<std::int32_t> offsets(n_bins.size());
  return cdf::count_tables(rows, n_bins, offsets, kIndexBits, false);
}

}  // namespace

std::vector<Box> boxes(const bitstream::Header& header) {
  const std::int64_t height = header.height;
  const std::int64_t width = header.width;
  const std::int64_t side =
      header.tile != 0 ? std::int64_t{header.tile} * bitstream::kTileUnit : std::max(height, width);
  std::vector<Box> out;
  for (std::int64_t top = 0; top < height; top += side) {
    for (std::int64_t left = 0; left < width; left += side) {
      out.push_back({top, left, std::min(side, height - top), std::min(side, width - left)});
    }
  }
  return out;
}

std::vector<Piece> pieces(std::span<const std::uint8_t> data, const bitstream::Parsed& parsed) {
  const bitstream::Header& header = parsed.header;
  const std::span<const std::uint8_t> rest = data.subspan(parsed.payload_offset);
  const std::span payload = rest.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), parsed.payload_bytes)));
  std::vector<Piece> out;
  if (header.tile == 0) {
    out.push_back({boxes(header).front(), header.coder, payload});
    return out;
  }
  static_cast<void>(bitstream::accounting(data));  // which finds the tiles well formed, or throws
  ByteReader reader(payload, "decode");
  for (const Box& box : boxes(header)) {
    const auto length = static_cast<std::size_t>(reader.varint("tile", reader.remaining()));
    const std::uint8_t descriptor = reader.u8("tile");
    out.push_back({box, descriptor, reader.bytes(length - 1, "tile")});
  }
  return out;
}

IndexTables IndexTables::from(std::span<const float> logits) {
  if (logits.empty() || logits.size() > kMostIndices) {
    fail_argument("cdf", "logits", "1 to 2^16", logits.size());
  }
  std::vector<std::int32_t> weights(logits.size());
  entropy::categorical_weights(logits, weights);
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto weight = [&](std::int32_t i) { return weights[static_cast<std::size_t>(i)]; };
  std::ranges::sort(order, [&](std::int32_t a, std::int32_t b) {  // of equal ones the first
    return weight(a) != weight(b) ? weight(a) > weight(b) : a < b;
  });
  std::vector<std::uint64_t> counts;
  counts.reserve(order.size());
  for (const std::int32_t i : order) {
    counts.push_back(static_cast<std::uint64_t>(std::max(weight(i), 1)));
  }
  std::vector<std::int32_t> rank(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    rank[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i);
  }
  rans::TableSet tables = index_tables(counts);
  return {.rank = std::move(rank), .of_rank = std::move(order), .tables = std::move(tables)};
}

IndexTables::Halves IndexTables::halves(std::span<const std::int32_t> z_index) const {
  Halves out;
  for (const std::int32_t index : z_index) {
    const std::int32_t place = rank[static_cast<std::size_t>(index)];
    out.high.push_back(place >> kLowBits);
    out.low.push_back(place & (static_cast<std::int32_t>(kLows) - 1));
    out.low_rows.push_back(out.high.back() + 1);
  }
  return out;
}

PayloadReader::PayloadReader(const rans::TableSet& gaussian,
                             const IndexTables& index,
                             std::uint8_t descriptor,
                             std::span<const std::uint8_t> payload,
                             const Wanted& wanted)
    : gaussian_(gaussian),
      index_(index),
      wanted_(wanted),
      decoder_(descriptor, stream_of(payload, gaussian.rows())) {
  std::copy_n(payload.begin(), thresholds_.size(), thresholds_.begin());
}

std::vector<std::int32_t> PayloadReader::z_index(std::size_t n) {
  std::vector<std::int32_t> high(n);
  decoder_.pull(0, index_.tables, high);
  std::vector<std::int32_t> rows(n);
  std::ranges::transform(high, rows.begin(), [](std::int32_t row) { return row + 1; });
  std::vector<std::int32_t> low(n);
  decoder_.pull(rows, index_.tables, low);
  for (std::size_t i = 0; i < n; ++i) {  // below k: the tables have no other
    low[i] = index_.of_rank[static_cast<std::size_t>(high[i] << kLowBits | low[i])];
  }
  return low;
}

void PayloadReader::symbols(int part,
                            std::span<const std::uint8_t> rows,
                            std::span<std::int32_t> out) {
  if (part < wanted_.until) {
    try {
      pull(thresholds_.at(static_cast<std::size_t>(part)), rows, out);
      ++n_parts_;
      return;
    } catch (const BitstreamError&) {
      if (!wanted_.cut) throw;  // else no later part is read: a decoder fails for good
    }
  }
  std::ranges::fill(out, 0);
}

void PayloadReader::finish() {
  if (wanted_.until == entropy::kParts && !wanted_.cut) decoder_.finish();
}

void PayloadReader::pull(std::uint8_t threshold,
                         std::span<const std::uint8_t> rows,
                         std::span<std::int32_t> out) {
  if (threshold == 0) {
    decoder_.pull(rows, gaussian_, out);
    return;
  }
  std::vector<std::uint8_t> coded;
  coded.reserve(rows.size());
  std::ranges::copy_if(rows, std::back_inserter(coded), [&](auto row) { return row >= threshold; });
  std::vector<std::int32_t> pulled(coded.size());
  decoder_.pull(coded, gaussian_, pulled);
  const std::int32_t* next = pulled.data();
  for (std::size_t i = 0; i < rows.size(); ++i) out[i] = rows[i] >= threshold ? *next++ : 0;
}

}  // namespace glc::codec

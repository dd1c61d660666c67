// SPDX-License-Identifier: Apache-2.0
#include "compat/stream_pieces.h"

#include <string>

#include "compat/compressai_tables.h"
#include "core/byte_reader.h"
#include "core/little_endian.h"
#include "core/overlap.h"
#include "glc/error.h"
#include "rans/rans_state.h"
#include "rans/stream.h"

namespace glc::compressai {

void PieceDecoder::fail(const char* what, std::size_t offset) {
  throw BitstreamError(std::string("rans: ") + what + " (at byte " + std::to_string(offset) + ")");
}

PieceDecoder::PieceDecoder(std::span<const std::uint8_t> data) : data_(data) {
  ByteReader reader(data, "rans");
  const std::uint8_t descriptor = reader.u8("descriptor");
  if (descriptor == rans::kDescriptorSegments) {
    reader.fail("descriptor", "expected a stream without segments", 0);
  }
  const rans::StreamHead head = rans::read_stream_head(descriptor, reader);
  n_lanes_ = static_cast<std::uint32_t>(head.lanes);
  escapes_begin_ = head.escapes_begin;
  escapes_ = rans::BitReader(head.escapes);
  rans::load_states(reader, head.lanes, states_);
  next_ = reader.position();
}

std::uint32_t PieceDecoder::next_word() {
  if (data_.size() - next_ < 2) fail("words: the data is truncated", next_);
  const std::uint32_t word = load_u16(&data_[next_]);
  next_ += 2;
  return word;
}

std::int64_t PieceDecoder::escape(std::uint32_t n_direct) {
  const std::size_t at = escapes_begin_ + escapes_.byte_position();
  const auto number = escapes_.gamma(rans::kMaxEscapeWidth);
  if (!number) fail("escape section: truncated, or a number too large", at);
  return rans::escape_value(*number - 1, n_direct);
}

void PieceDecoder::pull(std::span<const std::int32_t> rows,
                        const AnsTables& tables,
                        int bits,
                        std::span<std::int32_t> out) {
  const AnsTableData& data = tables.data();
  check_rows(rows, out.size(), tables.rows());
  require_apart(rows, out, "compressai: out: expected memory apart from the indexes'");
  require_apart(data_, out, "compressai: out: expected memory apart from the stream's");
  if (failed_) fail("pull: an earlier pull failed", next_);
  failed_ = true;  // until every symbol is there
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint32_t& x = states_[lane_];
    lane_ = (lane_ + 1) % n_lanes_;
    const auto r = static_cast<std::size_t>(rows[i]);
    const AnsRow& row = data.rows[r];
    const std::uint32_t slot = rans::slot_of(x, bits);
    const FoundBin bin = find_bin(data, r, slot);
    if (bin.number > row.n_direct) [[unlikely]]
      fail("words: no symbol of the row has this slot", next_);
    x = rans::decode_advance(x, slot, bin.start, bin.freq - 1, bits);
    if (x < rans::kStateLow) x = x << rans::kWordBits | next_word();
    std::int64_t symbol = bin.number;
    if (bin.number == row.n_direct) [[unlikely]]
      symbol = escape(row.n_direct);
    symbol += row.offset;
    if (symbol < INT32_MIN || symbol > INT32_MAX) [[unlikely]]
      fail("escape section: the symbol leaves the int32 range", next_);
    out[i] = static_cast<std::int32_t>(symbol);
  }
  failed_ = false;
}

}  // namespace glc::compressai

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "core/byte_reader.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "rans";

void check_rows(const Rows& rows, std::size_t n, std::size_t n_rows) {
  check_row_count(rows, n);
  visit_rows(rows, [&](auto row_at) {
    std::uint32_t highest = 0;
    for (std::size_t i = 0; i < n; ++i) highest = std::max(highest, row_at(i));
    if (highest < n_rows) return;
    for (std::size_t i = 0; i < n; ++i) {
      if (row_at(i) >= n_rows) fail_bad_row(row_at(i), n_rows, i);
    }
  });
}

}  // namespace

struct Decoder::Impl {
  explicit Impl(std::span<const std::uint8_t> bytes) : data(bytes) {}

  void parse(std::uint8_t descriptor, ByteReader& reader);
  void read_escapes(const Rows& rows, const TableData& tables, std::span<std::int32_t> out);
  [[noreturn]] void fail(const std::string& what, std::size_t offset) {
    failed = true;
    throw BitstreamError(std::string(kContext) + ": " + what + " (at byte " +
                         std::to_string(offset) + ")");
  }
  [[nodiscard]] std::size_t word_offset() const {
    return data.size() - static_cast<std::size_t>(words.end - words.next);
  }

  std::span<const std::uint8_t> data;
  int n_lanes = 1;
  bool failed = false;
  std::uint32_t states[kMaxLanes] = {};
  WordSource words{};
  BitReader escapes;
  std::size_t escapes_begin = 0;
};

void Decoder::Impl::parse(std::uint8_t descriptor, ByteReader& reader) {
  const std::size_t start = reader.position();
  const int log2_lanes = descriptor & kDescriptorLanesMask;
  if (log2_lanes > 5) reader.fail("descriptor", "expected at most 32 lanes", start);
  if ((descriptor & ~(kDescriptorLanesMask | kDescriptorEscape)) != 0) {
    reader.fail("descriptor", "reserved bits are set", start);
  }
  n_lanes = 1 << log2_lanes;
  if ((descriptor & kDescriptorEscape) != 0) {
    const std::size_t at = reader.position();
    const std::uint64_t n_bytes = reader.varint("escape section", UINT32_MAX);
    if (n_bytes == 0) reader.fail("escape section", "expected at least one byte, got 0", at);
    escapes_begin = reader.position();
    escapes = BitReader(reader.bytes(static_cast<std::size_t>(n_bytes), "escape section"));
  }
  load_states(reader, n_lanes, states);
  words.next = data.data() + reader.position();
  words.end = data.data() + data.size();
}

Decoder::Decoder(std::span<const std::uint8_t> data) : impl_(std::make_unique<Impl>(data)) {
  ByteReader reader(data, kContext);
  const std::uint8_t descriptor = reader.u8("descriptor");
  impl_->parse(descriptor, reader);
}

Decoder::Decoder(std::uint8_t descriptor, std::span<const std::uint8_t> data)
    : impl_(std::make_unique<Impl>(data)) {
  ByteReader reader(data, kContext);
  impl_->parse(descriptor, reader);
}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

int Decoder::lanes() const { return impl_->n_lanes; }

void Decoder::Impl::read_escapes(const Rows& rows,
                                 const TableData& tables,
                                 std::span<std::int32_t> out) {
  visit_rows(rows, [&](auto row_at) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] != kEscapeValue) [[likely]]
        continue;
      const RowInfo& row = tables.rows[row_at(i)];
      const std::size_t at = escapes_begin + escapes.byte_position();
      const auto number = escapes.gamma(kMaxEscapeWidth);
      if (!number) fail("escape section: truncated, or a number too large", at);
      const std::int64_t symbol = escape_value(*number - 1, row.n_direct) + row.offset;
      if (symbol < INT32_MIN || symbol > INT32_MAX) {
        fail("escape section: symbol " + std::to_string(symbol) + " leaves the int32 range", at);
      }
      out[i] = static_cast<std::int32_t>(symbol);
    }
  });
}

void Decoder::pull(Rows rows, const TableSet& tables, std::span<std::int32_t> out) {
  Impl& impl = *impl_;
  check_rows(rows, out.size(), tables.rows());
  if (impl.failed) throw BitstreamError("rans: pull: the stream failed before");
  const std::size_t n = decode_run(
      tables.data(), rows, out.size(), impl.n_lanes, impl.states, impl.words, out.data());
  if (n != out.size()) {
    impl.fail("words: the data is truncated, symbol " + std::to_string(n) + " of " +
                  std::to_string(out.size()) + " needs more",
              impl.word_offset());
  }
  if (tables.escape()) impl.read_escapes(rows, tables.data(), out);
}

void Decoder::finish() {
  Impl& impl = *impl_;
  if (impl.failed) throw BitstreamError("rans: finish: the stream failed before");
  if (impl.words.next != impl.words.end) {
    impl.fail("words: " + std::to_string(impl.words.end - impl.words.next) + " bytes too many",
              impl.word_offset());
  }
  for (int lane = 0; lane < impl.n_lanes; ++lane) {
    if (impl.states[lane] != kStateLow) {
      impl.fail("words: lane " + std::to_string(lane) + " does not end in its initial state",
                impl.data.size());
    }
  }
  if (!impl.escapes.only_padding_left()) {
    impl.fail("escape section: unused bits", impl.escapes_begin + impl.escapes.byte_position());
  }
}

}  // namespace glc::rans

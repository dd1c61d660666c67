// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <type_traits>

#include "core/byte_reader.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/escapes.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/segments.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

constexpr const char* kContext = "rans";

}  // namespace

struct Decoder::Impl {
  explicit Impl(std::span<const std::uint8_t> bytes) : data(bytes) {}

  void parse(std::uint8_t descriptor, ByteReader& reader);
  void decode(const Rows& rows, const TableSet& tables, std::span<std::int32_t> out);
  [[noreturn]] void fail(const std::string& what, std::size_t offset) {
    failed = true;
    throw BitstreamError(std::string(kContext) + ": " + what + " (at byte " +
                         std::to_string(offset) + ")");
  }
  [[nodiscard]] std::size_t bytes_left() const {
    return static_cast<std::size_t>(words_end - words);
  }
  [[nodiscard]] std::size_t word_offset() const { return data.size() - bytes_left(); }

  std::span<const std::uint8_t> data;
  int n_lanes = 1;
  bool failed = false;
  bool segmented = false;
  std::size_t next_record = 0;  // segmented streams only, and the rest for the others only
  std::uint32_t states[kMaxLanes] = {};
  std::uint32_t sum = 0;  // of the symbols so far
  const std::uint8_t* words = nullptr;
  const std::uint8_t* words_end = nullptr;
  std::span<const std::uint8_t> escape_section;
  BitReader escapes;
  std::size_t escapes_begin = 0;
};

void Decoder::Impl::parse(std::uint8_t descriptor, ByteReader& reader) {
  const std::size_t start = reader.position();
  if (descriptor == kDescriptorSegments) {
    const auto zeros = reader.bytes(kStreamHeadBytes - 1, "descriptor");
    if (std::any_of(zeros.begin(), zeros.end(), [](std::uint8_t b) { return b != 0; })) {
      reader.fail("descriptor", "expected three zero bytes", start);
    }
    segmented = true;
    next_record = reader.position();
    return;
  }
  const StreamHead head = read_stream_head(descriptor, reader);
  n_lanes = head.lanes;
  escape_section = head.escapes;
  escapes = BitReader(head.escapes);
  escapes_begin = head.escapes_begin;
  load_states(reader, n_lanes, states);
  words = data.data() + reader.position();
  words_end = data.data() + data.size();
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

int Decoder::lanes() const { return impl_->segmented ? 0 : impl_->n_lanes; }

void Decoder::Impl::decode(const Rows& rows, const TableSet& tables, std::span<std::int32_t> out) {
  visit_rows(rows, [&]<class Row>(const Row* typed) {
    DecodeRun<Row, std::int32_t> run{.rows = typed,
                                     .n = out.size(),
                                     .states = states,
                                     .next = words,
                                     .end = words_end,
                                     .out = out.data(),
                                     .symbols_per_byte = out.size() / (bytes_left() + 1),
                                     .sum = sum};
    EscapePlaces places;
    decode_runs(tables.data().decode_tables(), n_lanes, std::span(&run, 1), std::span(&places, 1));
    words = run.next;
    if (run.n != 0) {
      fail("words: the data is truncated, symbol " + std::to_string(out.size() - run.n) + " of " +
               std::to_string(out.size()) + " needs more",
           word_offset());
    }
    if (const char* what = read_escapes(escapes, typed, tables.data(), places, out, run.sum)) {
      fail(what, escapes_begin + escapes.byte_position());
    }
    sum = run.sum;
  });
}

void Decoder::pull(Rows rows, const TableSet& tables, std::span<std::int32_t> out) {
  Impl& impl = *impl_;
  if (out.size() > kMaxPush) {
    throw InvalidArgument("rans: out: expected at most 2^31 - 1 symbols in a pull, got " +
                          std::to_string(out.size()));
  }
  check_rows(rows, out.size(), tables.rows());
  check_apart(rows, impl.data, out);
  if (impl.failed) throw BitstreamError("rans: pull: an earlier pull failed");
  impl.failed = true;  // unless this returns: states and words have moved by then
  if (impl.segmented) {
    impl.next_record = read_record(impl.data, impl.next_record, rows, tables, out);
  } else {
    impl.decode(rows, tables, out);
  }
  impl.failed = false;
}

void Decoder::finish() {
  Impl& impl = *impl_;
  if (impl.failed) throw BitstreamError("rans: finish: an earlier call failed");
  if (impl.segmented) {
    if (impl.next_record != impl.data.size()) {
      impl.fail(
          "record: " + std::to_string(impl.data.size() - impl.next_record) + " bytes too many",
          impl.next_record);
    }
    return;
  }
  if (impl.words != impl.words_end) {
    impl.fail("words: " + std::to_string(impl.words_end - impl.words) + " bytes too many",
              impl.word_offset());
  }
  const std::uint32_t check = check_with_sum<std::int32_t>(check_of(impl.escape_section), impl.sum);
  const int astray = lane_astray(impl.states, impl.n_lanes, check);
  if (astray != impl.n_lanes) {
    impl.fail("words: lane " + std::to_string(astray) + " does not end in its initial state",
              impl.data.size());
  }
  if (!impl.escapes.only_padding_left()) {
    impl.fail("escape section: unused bits", impl.escapes_begin + impl.escapes.byte_position());
  }
}

}  // namespace glc::rans

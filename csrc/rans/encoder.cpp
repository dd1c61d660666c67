// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "core/byte_writer.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

[[noreturn]] void fail_symbol(const TableData& tables,
                              std::int32_t symbol,
                              std::uint32_t row,
                              std::size_t i) {
  const RowInfo& info = tables.rows[row];
  const std::int64_t last = std::int64_t{info.offset} + info.n_direct - 1;
  const bool inside = symbol >= info.offset && symbol <= last;
  throw InvalidArgument("rans: symbols: expected " +
                        (inside
                             ? "a symbol of frequency >= 1"
                             : std::to_string(info.offset) + ".." + std::to_string(last) +
                                   " in row " + std::to_string(row) + " of tables without escape") +
                        ", got " + std::to_string(symbol) + " at symbol " + std::to_string(i));
}

/// Turns symbols into entries: on_bin(i, index into encode and cost) for each symbol in turn, and
/// on_escape(raw) besides for one that its row does not hold.
template <class RowAt, class OnBin, class OnEscape>
void resolve(const TableData& tables,
             std::span<const std::int32_t> symbols,
             RowAt row_at,
             OnBin on_bin,
             OnEscape on_escape) {
  const std::size_t n_rows = tables.rows.size();
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const std::uint32_t row = row_at(i);
    if (row >= n_rows) fail_bad_row(row, n_rows, i);
    const RowInfo info = tables.rows[row];
    const std::int64_t v = std::int64_t{symbols[i]} - info.offset;
    if (static_cast<std::uint64_t>(v) < info.n_direct) [[likely]] {
      const std::size_t bin = info.encode_base + static_cast<std::size_t>(v);
      if (tables.cost[bin] == kNoCost) fail_symbol(tables, symbols[i], row, i);
      on_bin(i, bin);
      continue;
    }
    if (!tables.escape) fail_symbol(tables, symbols[i], row, i);
    on_bin(i, std::size_t{info.encode_base} + info.n_direct);
    on_escape(escape_raw(v, info.n_direct));
  }
}

std::uint64_t escape_cost(std::uint64_t raw) {
  return static_cast<std::uint64_t>(gamma_bits(raw + 1)) << 16;
}

}  // namespace

std::uint64_t TableSet::cost(std::span<const std::int32_t> symbols, Rows rows) const {
  check_row_count(rows, symbols.size());
  const TableData& tables = *data_;
  std::uint64_t cost = 0;
  visit_rows(rows, [&](auto row_at) {
    resolve(
        tables,
        symbols,
        row_at,
        [&](std::size_t, std::size_t bin) { cost += tables.cost[bin]; },
        [&](std::uint64_t raw) { cost += escape_cost(raw); });
  });
  return cost;
}

struct Encoder::Impl {
  struct Push {
    std::size_t n;
    int bits;
  };

  std::optional<int> lanes;
  bool finished = false;
  std::vector<Push> pushes;
  std::vector<EncodeEntry> entries;
  std::vector<std::uint64_t> escapes;  // raw values, in push order
  std::uint64_t cost = 0;              // units of 2^-16 bit
  std::uint64_t escape_bits = 0;

  [[nodiscard]] int lanes_in_force() const { return lanes.value_or(lanes_for_cost(cost)); }
  [[nodiscard]] std::size_t bound() const;
  std::size_t code(std::span<std::uint8_t> out);
};

Encoder::Encoder(std::optional<int> lanes) : impl_(std::make_unique<Impl>()) {
  if (lanes && (*lanes < 1 || *lanes > kMaxLanes || (*lanes & (*lanes - 1)) != 0)) {
    throw InvalidArgument("rans: lanes: expected 1, 2, 4, 8, 16 or 32, got " +
                          std::to_string(*lanes));
  }
  impl_->lanes = lanes;
}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;

void Encoder::push(std::span<const std::int32_t> symbols, Rows rows, const TableSet& tables) {
  Impl& impl = *impl_;
  if (impl.finished) throw InvalidArgument("rans: push: the encoder is finished");
  check_row_count(rows, symbols.size());
  const TableData& data = tables.data();
  const std::size_t n_entries = impl.entries.size();
  const std::size_t n_escapes = impl.escapes.size();
  std::uint64_t cost = 0;
  std::uint64_t escape_bits = 0;
  try {
    impl.entries.resize(n_entries + symbols.size());
    EncodeEntry* entries = impl.entries.data() + n_entries;
    visit_rows(rows, [&](auto row_at) {
      resolve(
          data,
          symbols,
          row_at,
          [&](std::size_t i, std::size_t bin) {
            entries[i] = data.encode[bin];
            cost += data.cost[bin];
          },
          [&](std::uint64_t raw) {
            impl.escapes.push_back(raw);
            escape_bits += static_cast<std::uint64_t>(gamma_bits(raw + 1));
          });
    });
    impl.pushes.push_back({symbols.size(), data.bits});
  } catch (...) {
    impl.entries.resize(n_entries);
    impl.escapes.resize(n_escapes);
    throw;
  }
  impl.cost += cost + (escape_bits << 16);
  impl.escape_bits += escape_bits;
}

std::size_t Encoder::Impl::bound() const {
  const std::uint64_t escape_bytes = (escape_bits + 7) / 8;
  const std::size_t escape_section =
      escapes.empty() ? 0 : varint_bytes(escape_bytes) + static_cast<std::size_t>(escape_bytes);
  return 1 + escape_section + 4 * static_cast<std::size_t>(lanes_in_force()) + 2 * entries.size();
}

std::size_t Encoder::encoded_bound() const { return impl_->bound(); }

std::size_t Encoder::Impl::code(std::span<std::uint8_t> out) {
  const int n_lanes = lanes_in_force();
  const auto n_lanes_size = static_cast<std::size_t>(n_lanes);
  // Words grow downwards: renormalisation words, then the states in front; one word of slack.
  const std::size_t capacity = entries.size() + 2 * n_lanes_size + 1;
  const auto buffer = std::make_unique_for_overwrite<std::uint16_t[]>(capacity);
  std::uint16_t* const words_end = buffer.get() + capacity;
  std::uint16_t* words = words_end;
  std::uint32_t states[kMaxLanes];
  std::fill_n(states, n_lanes, kStateLow);
  const EncodeEntry* end = entries.data() + entries.size();
  for (std::size_t p = pushes.size(); p-- > 0;) {
    end -= pushes[p].n;
    words = encode_run(end, pushes[p].n, pushes[p].bits, n_lanes, states, words);
  }
  words = store_states(states, n_lanes, words);

  ByteWriter head;
  head.u8(descriptor_of(n_lanes, !escapes.empty()));
  if (!escapes.empty()) {
    BitWriter bits;
    for (const std::uint64_t raw : escapes) bits.gamma(raw + 1);
    const std::vector<std::uint8_t> section = bits.take();
    head.varint(section.size());
    head.bytes(section);
  }
  std::copy_n(head.view().data(), head.size(), out.data());
  const auto n_words = static_cast<std::size_t>(words_end - words);
  store_words(words, n_words, out.data() + head.size());
  return head.size() + 2 * n_words;
}

std::size_t Encoder::finish(std::span<std::uint8_t> out) {
  if (impl_->finished) throw InvalidArgument("rans: finish: the encoder is finished");
  if (out.size() < impl_->bound()) {
    throw InvalidArgument("rans: out: expected at least " + std::to_string(impl_->bound()) +
                          " bytes, got " + std::to_string(out.size()));
  }
  const std::size_t size = impl_->code(out);
  impl_->finished = true;
  return size;
}

std::vector<std::uint8_t> Encoder::finish() {
  std::vector<std::uint8_t> stream(impl_->bound());
  stream.resize(finish(stream));
  return stream;
}

}  // namespace glc::rans

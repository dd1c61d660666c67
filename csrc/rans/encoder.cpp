// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "core/big_array.h"
#include "core/byte_writer.h"
#include "core/thread_pool.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans/bit_io.h"
#include "rans/rans_kernels.h"
#include "rans/rows_visit.h"
#include "rans/segments.h"
#include "rans/stream.h"
#include "rans/tables.h"

namespace glc::rans {
namespace {

/// Symbols whose bins are found at a time: if one of them escapes, all are still in the cache.
constexpr std::size_t kPiece = 1024;
/// Symbols of one thread's turn.
constexpr std::size_t kChunk = std::size_t{1} << 16;

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

std::uint64_t escape_bits_of(std::uint64_t raw) {
  return static_cast<std::uint64_t>(gamma_bits(raw + 1));
}

/// What symbols come to.
struct Priced {
  std::uint64_t cost = 0;  // units of 2^-16 bit, escapes included
  std::uint64_t escape_bits = 0;

  void escape(std::size_t, std::uint64_t raw) {
    const std::uint64_t bits = escape_bits_of(raw);
    escape_bits += bits;
    cost += bits << 16;
  }
  void append(const Priced& next) {
    cost += next.cost;
    escape_bits += next.escape_bits;
  }
};

/// The same, with the escapes that are to be coded.
struct Resolved : Priced {
  std::vector<Escape> escapes;

  // NOLINTNEXTLINE(bugprone-derived-method-shadowing-base-method): resolve_range knows which it has
  void escape(std::size_t symbol, std::uint64_t raw) {
    escapes.push_back({symbol, raw});
    Priced::escape(symbol, raw);
  }
  void append(const Resolved& next) {
    escapes.insert(escapes.end(), next.escapes.begin(), next.escapes.end());
    Priced::append(next);
  }
};

/// Finds the bins of the symbols from begin to end, piece by piece: keep(i, bins, sum) is given
/// those from symbol i on, and the sum (stream_check.h) of these symbols.
template <class Found, class Row, class Keep>
Found resolve_range(const TableData& tables,
                    std::span<const std::int32_t> symbols,
                    const Row* rows,
                    std::size_t begin,
                    std::size_t end,
                    Keep keep) {
  Found resolved;
  std::uint32_t bins[kPiece];
  for (; begin < end; begin += kPiece) {
    const auto piece = symbols.subspan(begin, std::min(kPiece, end - begin));
    const FoundBins found = find_bins(tables.bin_tables(), piece, rows_from(rows, begin), bins);
    keep(begin, std::span<const std::uint32_t>(bins, piece.size()), found.sum);
    resolved.cost += found.cost;
    if (!found.no_cost && !found.escapes) continue;
    for (std::size_t i = 0; i < piece.size(); ++i) {
      const std::uint32_t row = row_at(rows, begin + i);
      const RowInfo& info = tables.rows[row];
      const bool outside = bins[i] == info.encode_base + info.n_direct;
      if (tables.escape) {  // and so no bin without cost
        const std::int64_t v = std::int64_t{piece[i]} - info.offset;
        if (outside) resolved.escape(begin + i, escape_raw(v, info.n_direct));
      } else if (outside || tables.cost[bins[i]] == kNoCost) {
        fail_symbol(tables, piece[i], row, begin + i);
      }
    }
  }
  return resolved;
}

/// The same for all symbols, with threads where there are many. Found: Priced or Resolved.
template <class Found, class Keep>
Found resolve(const TableSet& tables,
              std::span<const std::int32_t> symbols,
              const Rows& rows,
              Keep keep) {
  check_rows(rows, symbols.size(), tables.rows());
  std::vector<Found> chunks((symbols.size() + kChunk - 1) / kChunk);
  visit_rows(rows, [&](const auto* typed) {
    parallel_for(chunks.size(), [&](std::size_t i) {
      const std::size_t begin = i * kChunk;
      const std::size_t end = std::min(begin + kChunk, symbols.size());
      chunks[i] = resolve_range<Found>(tables.data(), symbols, typed, begin, end, keep);
    });
  });
  Found resolved;
  if constexpr (std::is_same_v<Found, Resolved>) {
    std::size_t n_escapes = 0;
    for (const Found& chunk : chunks) n_escapes += chunk.escapes.size();
    resolved.escapes.reserve(n_escapes);
  }
  for (Found& chunk : chunks) resolved.append(std::exchange(chunk, {}));
  return resolved;
}

/// The sums (stream_check.h) of a push's segments, given those of its pieces.
std::vector<std::uint32_t> segment_sums(std::span<const std::int32_t> symbols,
                                        std::span<const std::uint32_t> pieces,
                                        std::size_t segment_symbols) {
  std::vector<std::uint32_t> sums;
  for (std::size_t i = 0; i < symbols.size();) {
    const std::size_t end = std::min(i + segment_symbols, symbols.size());
    std::uint32_t& sum = sums.emplace_back(0);
    while (i < end) {
      const std::size_t piece_end = std::min(i - i % kPiece + kPiece, symbols.size());
      const std::size_t begin = std::exchange(i, std::min(piece_end, end));
      if (begin % kPiece == 0 && i == piece_end) {
        sum = sum * sum_power(i - begin) + pieces[begin / kPiece];
      } else {
        sum = symbol_sum(symbols.subspan(begin, i - begin), sum);
      }
    }
  }
  return sums;
}

}  // namespace

std::uint64_t TableSet::cost(std::span<const std::int32_t> symbols, Rows rows) const {
  const auto keep_none = [](std::size_t, std::span<const std::uint32_t>, std::uint32_t) {};
  return resolve<Priced>(*this, symbols, rows, keep_none).cost;
}

struct Encoder::Impl {
  struct Push {
    TableSet tables;
    std::size_t n = 0;
    // [n], index into the tables' encode; 16 bits where those do
    std::variant<BigArray<std::uint16_t>, BigArray<std::uint32_t>> bins;
    std::vector<Escape> escapes;
    std::vector<std::uint32_t> sums;  // of its segments; of all where it will not be cut
    std::uint64_t escape_bits = 0;
    std::uint64_t cost = 0;  // units of 2^-16 bit, escapes included

    [[nodiscard]] const EncodeEntry* entries() const { return tables.data().encode.data(); }
    [[nodiscard]] int bits() const { return tables.bits(); }
  };

  std::optional<int> lanes;
  std::optional<std::size_t> segment_symbols;
  bool finished = false;
  std::vector<Push> pushes;
  std::size_t n_symbols = 0;
  std::uint64_t cost = 0;  // units of 2^-16 bit
  std::uint64_t escape_bits = 0;
  std::uint32_t sum = 0;  // of all symbols

  /// Symbols of a push that each of its sums is of.
  [[nodiscard]] std::size_t sum_step(const Push& push) const;
  /// Adds a push to what is known of all.
  void count(const Push& push);
  [[nodiscard]] bool segmented() const {
    return segment_symbols ? *segment_symbols != kNoSegments : worth_segments(cost);
  }
  [[nodiscard]] int lanes_in_force() const { return lanes.value_or(lanes_for_cost(cost)); }
  [[nodiscard]] Segmentation cut(const Push& push) const {
    return segmentation(push.n, push.cost, lanes, segment_symbols);
  }
  [[nodiscard]] std::size_t bound() const;
  std::size_t code(std::span<std::uint8_t> out) const;
  std::size_t code_segments(std::span<std::uint8_t> out) const;
};

Encoder::Encoder(std::optional<int> lanes, std::optional<std::size_t> segment_symbols)
    : impl_(std::make_unique<Impl>()) {
  if (lanes) check_lanes(*lanes);
  if (segment_symbols && *segment_symbols != kNoSegments) check_segment_symbols(*segment_symbols);
  impl_->lanes = lanes;
  impl_->segment_symbols = segment_symbols;
}
Encoder::~Encoder() = default;
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;

void Encoder::push(std::span<const std::int32_t> symbols, Rows rows, const TableSet& tables) {
  Impl& impl = *impl_;
  if (impl.finished) throw InvalidArgument("rans: push: the encoder is finished");
  if (symbols.size() > kMaxPush) {
    throw InvalidArgument("rans: symbols: expected at most 2^31 - 1 in a push, got " +
                          std::to_string(symbols.size()));
  }
  Impl::Push push{.tables = tables, .n = symbols.size(), .bins = {}, .escapes = {}, .sums = {}};
  if (tables.data().encode.size() <= std::size_t{UINT16_MAX} + 1) {
    push.bins = big_array<std::uint16_t>(push.n);
  } else {
    push.bins = big_array<std::uint32_t>(push.n);
  }
  std::vector<std::uint32_t> sums(ceil_div(push.n, kPiece));
  Resolved resolved = std::visit(
      [&](const auto& kept) {
        return resolve<Resolved>(
            tables,
            symbols,
            rows,
            [&sums, to = kept.get()](
                std::size_t i, std::span<const std::uint32_t> bins, std::uint32_t sum) {
              std::copy(bins.begin(), bins.end(), to + i);
              sums[i / kPiece] = sum;
            });
      },
      push.bins);
  push.escapes = std::move(resolved.escapes);
  push.escape_bits = resolved.escape_bits;
  push.cost = resolved.cost;
  push.sums = segment_sums(symbols, sums, impl.sum_step(push));
  impl.pushes.push_back(std::move(push));  // the last that can fail, for want of memory
  impl.count(impl.pushes.back());
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the bins went with the push

std::size_t Encoder::Impl::sum_step(const Push& push) const {
  return segment_symbols == kNoSegments ? push.n : cut(push).segment_symbols;
}

void Encoder::Impl::count(const Push& push) {
  cost += push.cost;
  escape_bits += push.escape_bits;
  n_symbols += push.n;
  const std::size_t step = sum_step(push);
  std::size_t left = push.n;
  for (const std::uint32_t part : push.sums) {
    const std::size_t n = std::min(step, left);
    sum = sum * sum_power(n) + part;
    left -= n;
  }
}

std::size_t Encoder::Impl::bound() const {
  if (segmented()) {
    std::size_t bytes = kStreamHeadBytes;
    for (const Push& push : pushes) bytes += record_bound(push.n, push.escape_bits, cut(push));
    return bytes;
  }
  const std::uint64_t escape_bytes = (escape_bits + 7) / 8;
  const std::size_t escape_section =
      escape_bits == 0 ? 0 : varint_bytes(escape_bytes) + static_cast<std::size_t>(escape_bytes);
  return 1 + escape_section + kStateBytes * static_cast<std::size_t>(lanes_in_force()) +
         kWordSlack + 2 * n_symbols;
}

std::size_t Encoder::encoded_bound() const { return impl_->bound(); }

std::size_t Encoder::Impl::code(std::span<std::uint8_t> out) const {
  check_escape_section((escape_bits + 7) / 8);  // before the work
  BitWriter numbers;
  for (const Push& push : pushes) {
    for (const Escape& escape : push.escapes) numbers.gamma(escape.raw + 1);
  }
  const std::vector<std::uint8_t> section = numbers.take();
  const int n_lanes = lanes_in_force();
  std::uint32_t states[kMaxLanes];
  start_states(states, n_lanes, check_with_sum<std::int32_t>(check_of(section), sum));
  std::uint8_t* const words_end = out.data() + bound();
  std::uint8_t* words = words_end;
  for (std::size_t p = pushes.size(); p-- > 0;) {
    const Push& push = pushes[p];
    words = std::visit(
        [&]<class Index>(const BigArray<Index>& bins) {
          EncodeRun<Index> run{
              .indices = bins.get(), .n = push.n, .states = states, .words = words};
          encode_runs(push.entries(), push.bits(), n_lanes, std::span(&run, 1));
          return run.words;
        },
        push.bins);
  }

  ByteWriter head;
  write_stream_head(n_lanes, section, head);
  // Head and states may end where the words began: the words move first.
  std::uint8_t* const body = out.data() + head.size();
  const auto n_bytes = static_cast<std::size_t>(words_end - words);
  std::memmove(body + kStateBytes * n_lanes, words, n_bytes);
  std::copy_n(head.view().data(), head.size(), out.data());
  store_states(states, n_lanes, body);
  return head.size() + static_cast<std::size_t>(kStateBytes * n_lanes) + n_bytes;
}

std::size_t Encoder::Impl::code_segments(std::span<std::uint8_t> out) const {
  std::fill_n(out.data(), kStreamHeadBytes, 0);
  out[0] = kDescriptorSegments;
  std::size_t size = kStreamHeadBytes;
  for (const Push& push : pushes) {
    const Segmentation segments = cut(push);
    const EscapesOf escapes_of = [&push](std::size_t begin, std::size_t end) {
      BitWriter numbers;
      auto escape = std::ranges::lower_bound(push.escapes, begin, {}, &Escape::symbol);
      for (; escape != push.escapes.end() && escape->symbol < end; ++escape) {
        numbers.gamma(escape->raw + 1);
      }
      return numbers.take();
    };
    const std::size_t bytes = std::visit(
        [&]<class Index>(const BigArray<Index>& bins) {
          return write_record<Index>(
              push.entries(),
              push.bits(),
              {bins.get(), push.n},
              push.escapes.empty() ? nullptr : &escapes_of,
              segments,
              0,
              push.sums,
              out.subspan(size, record_bound(push.n, push.escape_bits, segments)));
        },
        push.bins);
    if (bytes == 0) {
      throw InvalidArgument(
          "rans: push: expected at most 16 GiB of coded segments; use several pushes");
    }
    size += bytes;
  }
  return size;
}

std::size_t Encoder::finish(std::span<std::uint8_t> out) {
  if (impl_->finished) throw InvalidArgument("rans: finish: the encoder is finished");
  if (out.size() < impl_->bound()) {
    throw InvalidArgument("rans: out: expected at least " + std::to_string(impl_->bound()) +
                          " bytes, got " + std::to_string(out.size()));
  }
  const std::size_t size = impl_->segmented() ? impl_->code_segments(out) : impl_->code(out);
  impl_->finished = true;
  impl_->pushes.clear();
  return size;
}

std::vector<std::uint8_t> Encoder::finish() {
  const std::size_t bound = impl_->bound();
  const auto buffer = big_array<std::uint8_t>(bound);
  const std::size_t size = finish({buffer.get(), bound});
  return {buffer.get(), buffer.get() + size};
}

}  // namespace glc::rans

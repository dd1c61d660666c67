// SPDX-License-Identifier: Apache-2.0
#include "rans/tables.h"

#include <algorithm>
#include <string>
#include <utility>

#include "glc/error.h"
#include "glc/rans.h"
#include "rans/cost.h"

namespace glc::rans {
namespace {

// Rows share one number of buckets. More buckets mean fewer walks; the first limit keeps 64 rows at
// 512 buckets (256 KiB, in a second-level cache) and gives a few-row set a direct lookup, the
// second bounds the memory of sets of thousands of rows.
constexpr std::size_t kManyBuckets = std::size_t{1} << 15;
constexpr std::size_t kMostBuckets = std::size_t{1} << 20;
constexpr int kGoodCoarseBits = 8;
constexpr int kFewBucketsBits = 11;

[[noreturn]] void fail_row(std::size_t row, const std::string& what) {
  throw InvalidArgument("rans: tables: row " + std::to_string(row) + ": " + what);
}

int choose_coarse_bits(std::size_t n_rows, int bits) {
  int coarse_bits = bits;
  while (coarse_bits > kGoodCoarseBits && n_rows << coarse_bits > kManyBuckets) --coarse_bits;
  while (n_rows << coarse_bits > kMostBuckets) --coarse_bits;
  return coarse_bits;
}

// Half as many pairs as buckets, in the same memory, or 0 for none: many buckets find nearly every
// bin by themselves, and sets that no cache holds would only grow.
int choose_pair_bits(std::size_t n_rows, int bits, int coarse_bits) {
  const bool few = coarse_bits < bits && coarse_bits <= kFewBucketsBits;
  return few && n_rows << coarse_bits <= kManyBuckets ? coarse_bits - 1 : 0;
}

void check_row(std::size_t row,
               std::span<const std::uint32_t> freqs,
               std::int32_t offset,
               int bits,
               bool escape) {
  std::uint64_t total = 0;
  for (const std::uint32_t freq : freqs) {
    if (escape && freq == 0) fail_row(row, "expected every frequency >= 1 in tables with escape");
    total += freq;
  }
  if (total != std::uint64_t{1} << bits) {
    fail_row(row,
             "frequencies: expected a sum of " + std::to_string(1U << bits) + ", got " +
                 std::to_string(total));
  }
  const std::int64_t n_direct = static_cast<std::int64_t>(freqs.size()) - (escape ? 1 : 0);
  if (std::int64_t{offset} + n_direct - 1 > INT32_MAX || (escape && offset == INT32_MIN)) {
    fail_row(row, "offset: expected symbols inside int32, got offset " + std::to_string(offset));
  }
}

// Appends the pairs of the row whose decode entries begin at base, the last ones so far.
void append_pairs(TableData& data, std::size_t base) {
  const int shift = data.bits - data.pair_bits;
  const std::span<const DecodeEntry> bins = std::span(data.decode).subspan(base);
  std::size_t bin = 0;
  for (std::uint32_t bucket = 0; bucket < 1U << data.pair_bits; ++bucket) {
    while (bin + 1 < bins.size() && bins[bin + 1].start <= bucket << shift) ++bin;
    data.pairs.push_back({bins[bin], bins[std::min(bin + 1, bins.size() - 1)]});
  }
}

// Appends one checked row to every array of data.
void append_row(TableData& data, std::span<const std::uint32_t> freqs, std::int32_t offset) {
  const auto n_direct = static_cast<std::uint32_t>(freqs.size() - (data.escape ? 1 : 0));
  data.rows.push_back({static_cast<std::uint32_t>(data.encode.size()), n_direct, offset, 0});
  data.n_bins.push_back(static_cast<std::int32_t>(freqs.size()));
  data.offsets.push_back(offset);
  const std::size_t base = data.decode.size();
  data.decode_base.push_back(static_cast<std::uint32_t>(base));

  const int shift = data.bits - data.coarse_bits;
  const std::uint32_t n_buckets = 1U << data.coarse_bits;
  std::size_t likeliest = base;
  std::uint32_t start = 0;
  std::uint32_t bucket = 0;
  for (std::uint32_t bin = 0; bin < freqs.size(); ++bin) {
    const std::uint32_t freq = freqs[bin];
    if (freq == 0) {
      data.encode.push_back({0, 0, 0});
      data.cost.push_back(kNoCost);
      continue;
    }
    const auto freq_minus_1 = static_cast<std::uint16_t>(freq - 1);
    const auto start16 = static_cast<std::uint16_t>(start);
    data.encode.push_back({reciprocal_of(freq), freq_minus_1, start16});
    data.cost.push_back(symbol_cost(freq, data.bits));
    const std::int32_t value =
        bin < n_direct ? static_cast<std::int32_t>(offset + std::int64_t{bin}) : kEscapeValue;
    const auto entry = static_cast<std::uint16_t>(data.decode.size() - base);
    data.decode.push_back({start16, freq_minus_1, value});
    if (freq_minus_1 > data.decode[likeliest].freq_minus_1) likeliest = data.decode.size() - 1;
    start += freq;
    for (; bucket < n_buckets && bucket << shift < start; ++bucket) {
      data.coarse.push_back(entry);
      data.buckets.push_back(data.decode.back());
    }
  }
  if (data.pair_bits != 0) append_pairs(data, base);
  data.likeliest.push_back(data.decode[likeliest]);
  data.rows.back().likeliest = static_cast<std::uint32_t>(likeliest);
  data.likeliest_escapes |= data.escape && data.likeliest.back().value == kEscapeValue;
}

}  // namespace

void check_shape(std::size_t n_rows, std::size_t n_offsets, int bits) {
  if (bits < kMinBits || bits > kMaxBits) {
    throw InvalidArgument("rans: bits: expected 8..16, got " + std::to_string(bits));
  }
  if (n_rows == 0 || n_rows > kMaxRows) {
    throw InvalidArgument("rans: tables: expected 1..65536 rows, got " + std::to_string(n_rows));
  }
  if (n_offsets != n_rows) {
    throw InvalidArgument("rans: offsets: expected " + std::to_string(n_rows) + " entries, got " +
                          std::to_string(n_offsets));
  }
}

std::uint32_t symbol_cost(std::uint32_t freq, int bits) { return fixed_point_cost(freq, bits); }

int lanes_for_cost(std::uint64_t cost) { return 1 << log2_lanes_for(cost); }

TableSet TableSet::from_freqs(std::span<const std::uint32_t> freqs,
                              std::span<const std::int32_t> n_bins,
                              std::span<const std::int32_t> offsets,
                              int bits,
                              bool escape) {
  check_shape(n_bins.size(), offsets.size(), bits);
  std::size_t total_bins = 0;
  for (std::size_t row = 0; row < n_bins.size(); ++row) {
    if (n_bins[row] < 1 || n_bins[row] > 1 << bits) {
      fail_row(row,
               "expected 1.." + std::to_string(1U << bits) + " bins, got " +
                   std::to_string(n_bins[row]));
    }
    total_bins += static_cast<std::size_t>(n_bins[row]);
  }
  if (total_bins != freqs.size() || total_bins > kMaxBins) {
    throw InvalidArgument("rans: freqs: expected " + std::to_string(total_bins) +
                          " entries, at most " + std::to_string(kMaxBins) + ", got " +
                          std::to_string(freqs.size()));
  }

  auto data = std::make_shared<TableData>();
  data->bits = bits;
  data->coarse_bits = choose_coarse_bits(n_bins.size(), bits);
  data->pair_bits = choose_pair_bits(n_bins.size(), bits, data->coarse_bits);
  data->escape = escape;
  data->encode.reserve(total_bins);
  data->cost.reserve(total_bins + 1);
  data->decode.reserve(total_bins);
  data->coarse.reserve(n_bins.size() << data->coarse_bits);
  data->buckets.reserve(n_bins.size() << data->coarse_bits);
  if (data->pair_bits != 0) data->pairs.reserve(n_bins.size() << data->pair_bits);
  std::size_t begin = 0;
  for (std::size_t row = 0; row < n_bins.size(); ++row) {
    const auto row_freqs = freqs.subspan(begin, static_cast<std::size_t>(n_bins[row]));
    check_row(row, row_freqs, offsets[row], bits, escape);
    append_row(*data, row_freqs, offsets[row]);
    begin += row_freqs.size();
  }
  data->cost.push_back(kNoCost);  // what the vector kernels read beyond the last row
  return TableSet(std::move(data));
}

TableSet TableSet::from_cdfs(std::span<const std::int32_t> cdfs,
                             std::size_t width,
                             std::span<const std::int32_t> sizes,
                             std::span<const std::int32_t> offsets,
                             int bits) {
  check_shape(sizes.size(), offsets.size(), bits);
  if (width > kMaxBins || cdfs.size() != sizes.size() * width) {
    throw InvalidArgument("rans: cdfs: expected " + std::to_string(sizes.size()) +
                          " rows of one width, got " + std::to_string(cdfs.size()) + " entries");
  }
  std::vector<std::uint32_t> freqs;
  std::vector<std::int32_t> n_bins;
  for (std::size_t row = 0; row < sizes.size(); ++row) {
    if (sizes[row] < 2 || static_cast<std::size_t>(sizes[row]) > width) {
      fail_row(
          row,
          "size: expected 2.." + std::to_string(width) + ", got " + std::to_string(sizes[row]));
    }
    const auto cdf = cdfs.subspan(row * width, static_cast<std::size_t>(sizes[row]));
    if (cdf.front() != 0 || cdf.back() != 1 << bits) {
      fail_row(row,
               "cdf: expected 0 first and " + std::to_string(1U << bits) + " last, got " +
                   std::to_string(cdf.front()) + " and " + std::to_string(cdf.back()));
    }
    for (std::size_t i = 1; i < cdf.size(); ++i) {
      // 64 bits, since hostile entries may lie anywhere in int32.
      const std::int64_t freq = std::int64_t{cdf[i]} - cdf[i - 1];
      if (freq < 1 || freq > 1 << bits) {
        fail_row(row,
                 "cdf: expected strictly increasing entries, got " + std::to_string(cdf[i - 1]) +
                     " then " + std::to_string(cdf[i]));
      }
      freqs.push_back(static_cast<std::uint32_t>(freq));
    }
    n_bins.push_back(sizes[row] - 1);
  }
  return from_freqs(freqs, n_bins, offsets, bits, true);
}

std::size_t TableSet::rows() const { return data_->rows.size(); }
int TableSet::bits() const { return data_->bits; }
bool TableSet::escape() const { return data_->escape; }
std::span<const std::int32_t> TableSet::n_bins() const { return data_->n_bins; }
std::span<const std::int32_t> TableSet::offsets() const { return data_->offsets; }

std::size_t TableSet::nbytes() const {
  const TableData& d = *data_;
  return d.rows.size() * sizeof(RowInfo) + d.encode.size() * sizeof(EncodeEntry) +
         d.cost.size() * sizeof(std::uint32_t) + d.decode.size() * sizeof(DecodeEntry) +
         d.decode_base.size() * sizeof(std::uint32_t) + d.coarse.size() * sizeof(std::uint16_t) +
         (d.buckets.size() + 2 * d.pairs.size() + d.likeliest.size()) * sizeof(DecodeEntry);
}

std::vector<std::uint32_t> TableSet::freqs() const {
  std::vector<std::uint32_t> freqs(data_->encode.size());
  for (std::size_t i = 0; i < freqs.size(); ++i) {
    freqs[i] = data_->cost[i] == kNoCost ? 0 : data_->encode[i].freq_minus_1 + 1U;
  }
  return freqs;
}

}  // namespace glc::rans

// SPDX-License-Identifier: Apache-2.0
#include "compat/compressai_tables.h"

#include <algorithm>
#include <bit>
#include <string>

#include "glc/compressai_ans.h"
#include "glc/error.h"

namespace glc::compressai {
namespace {

__extension__ using Uint128 = unsigned __int128;

// coarse holds bin numbers in 16 bits; no row has more bins of frequency >= 1.
constexpr std::int32_t kMaxSize = 1 << 16;

[[noreturn]] void fail_row(std::size_t row, const std::string& what) {
  throw InvalidArgument("compressai: tables: row " + std::to_string(row) + ": " + what);
}

void check_row(std::size_t row, std::span<const std::int32_t> cdf, std::int32_t offset) {
  if (cdf.front() != 0) {
    fail_row(row, "expected a cdf that begins with 0, got " + std::to_string(cdf.front()));
  }
  for (std::size_t i = 1; i < cdf.size(); ++i) {
    if (cdf[i] < cdf[i - 1]) {
      fail_row(row,
               "expected a cdf that never decreases, got " + std::to_string(cdf[i - 1]) +
                   " before " + std::to_string(cdf[i]));
    }
  }
  if (cdf.back() > static_cast<std::int32_t>(kTotal)) {
    fail_row(row, "expected a cdf up to 65536, got " + std::to_string(cdf.back()));
  }
  const auto n_direct = static_cast<std::int64_t>(cdf.size()) - 2;
  if (std::int64_t{offset} + n_direct - 1 > INT32_MAX) {
    fail_row(row, "offset: symbols leave the int32 range, got offset " + std::to_string(offset));
  }
}

// With s = ceil(log2 f) and m = ceil(2^(63 + s) / f), x * m exceeds the exact 2^(63 + s) * x / f
// by less than 2^(63 + s) / f for x < 2^63, which never carries into the next quotient. For f = 1
// that m would need 65 bits; 2^64 - 1 gives x - 1 instead, and the bias makes up for it.
EncodeBin encode_bin(std::uint32_t start, std::uint32_t freq, bool escape) {
  if (freq == 0) return {0, 0, 0, 0, kAbsent};
  const std::uint8_t kind = escape ? kEscape : kDirect;
  if (freq == 1) return {UINT64_MAX, start + kTotal - 1, 0, 0, kind};
  const int s = static_cast<int>(std::bit_width(freq - 1));
  const Uint128 numerator = (Uint128{1} << (63 + s)) + freq - 1;
  return {static_cast<std::uint64_t>(numerator / freq),
          start,
          static_cast<std::uint16_t>(freq - 1),
          static_cast<std::uint8_t>(s - 1),
          kind};
}

void append_row(AnsTableData& data, std::span<const std::int32_t> cdf, std::int32_t offset) {
  const std::size_t n_bins = cdf.size() - 1;
  data.rows.push_back({static_cast<std::uint32_t>(data.encode.size()),
                       static_cast<std::uint32_t>(data.starts.size()),
                       static_cast<std::uint32_t>(n_bins - 1),
                       offset});
  for (std::size_t bin = 0; bin < n_bins; ++bin) {
    const auto start = static_cast<std::uint32_t>(cdf[bin]);
    const auto end = static_cast<std::uint32_t>(cdf[bin + 1]);
    data.encode.push_back(encode_bin(start, end - start, bin + 1 == n_bins));
    data.starts.push_back(start);
  }
  data.starts.push_back(static_cast<std::uint32_t>(cdf.back()));
  data.starts.push_back(kNoSlot);

  const std::uint32_t* const starts = data.starts.data() + data.rows.back().starts_base;
  std::size_t bin = 0;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    while (starts[bin + 1] <= bucket * (kTotal / kBuckets)) ++bin;
    data.coarse.push_back(static_cast<std::uint16_t>(bin));
  }
}

}  // namespace

AnsTables::AnsTables(std::span<const std::int32_t> cdfs,
                     std::size_t width,
                     std::span<const std::int32_t> sizes,
                     std::span<const std::int32_t> offsets) {
  const std::size_t n_rows = sizes.size();
  if (n_rows == 0 || width == 0 || cdfs.size() / width != n_rows || cdfs.size() % width != 0) {
    throw InvalidArgument("compressai: cdfs: expected one row for each of " +
                          std::to_string(n_rows) + " sizes, got " + std::to_string(cdfs.size()) +
                          " entries in rows of " + std::to_string(width));
  }
  if (offsets.size() != n_rows) {
    throw InvalidArgument("compressai: offsets: expected " + std::to_string(n_rows) + ", got " +
                          std::to_string(offsets.size()));
  }
  if (cdfs.size() > INT32_MAX) {
    throw InvalidArgument("compressai: cdfs: expected at most 2^31 - 1 entries");
  }
  AnsTableData data;
  for (std::size_t row = 0; row < n_rows; ++row) {
    const std::int32_t size = sizes[row];
    if (size < 2 || static_cast<std::size_t>(size) > width || size > kMaxSize) {
      fail_row(row,
               "expected a size of 2.." + std::to_string(width) + " entries, got " +
                   std::to_string(size));
    }
    const auto cdf = cdfs.subspan(row * width, static_cast<std::size_t>(size));
    check_row(row, cdf, offsets[row]);
    append_row(data, cdf, offsets[row]);
  }
  data_ = std::make_shared<const AnsTableData>(std::move(data));
}

void check_rows(std::span<const std::int32_t> rows, std::size_t n, std::size_t n_rows) {
  if (rows.size() != n) {
    throw InvalidArgument("compressai: indexes: expected one per symbol, " + std::to_string(n) +
                          ", got " + std::to_string(rows.size()));
  }
  std::uint32_t highest = 0;
  for (const std::int32_t row : rows) highest = std::max(highest, static_cast<std::uint32_t>(row));
  if (highest < n_rows) return;
  for (std::size_t i = 0; i < n; ++i) {
    if (static_cast<std::uint32_t>(rows[i]) >= n_rows) {
      throw InvalidArgument("compressai: indexes: expected 0.." + std::to_string(n_rows - 1) +
                            ", got " + std::to_string(rows[i]) + " for symbol " +
                            std::to_string(i));
    }
  }
}

std::size_t AnsTables::rows() const { return data_->rows.size(); }

}  // namespace glc::compressai

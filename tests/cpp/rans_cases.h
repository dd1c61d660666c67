// SPDX-License-Identifier: Apache-2.0
//
// Cases of the coder for test_rans_identity.cpp: drawn from integers alone, so that every machine
// draws the same, and kept in files.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "check.h"
#include "glc/cdf.h"
#include "glc/rans.h"

namespace glc::test {

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;
using rans::Rows;
using rans::TableSet;

constexpr std::uint32_t kAuto = 0xFFFFFFFFU;  ///< leave it to the rule of the format

/// What TableSet::from_freqs takes.
struct TableSpec {
  std::vector<std::uint32_t> freqs;
  Symbols n_bins;
  Symbols offsets;
  std::uint32_t bits = 0;
  std::uint32_t escape = 0;

  [[nodiscard]] TableSet build() const {
    return TableSet::from_freqs(freqs, n_bins, offsets, static_cast<int>(bits), escape != 0);
  }
};

struct Push {
  std::uint32_t table = 0;
  Rows::Type type = Rows::Type::kScalar;
  Symbols symbols;
  Symbols rows;  ///< of each symbol, whatever the type; all equal for kScalar
};

/// One stream of pushes, or one order-0 file.
struct Case {
  std::uint32_t lanes = kAuto;
  std::uint32_t segment = kAuto;  ///< symbols, or 0 for none
  std::vector<Push> pushes;
  Bytes bytes;  ///< only without pushes
};

// -------------------------------------------------------------------------------------- drawing

class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}

  std::uint32_t below(std::size_t n) {
    return static_cast<std::uint32_t>(random_()) % static_cast<std::uint32_t>(n);
  }
  std::uint32_t any() { return static_cast<std::uint32_t>(random_()); }

  /// Rows of every kind: sure, flat, falling, one bin with nearly all, random, with gaps.
  TableSpec table(std::uint32_t bits) {
    TableSpec spec;
    spec.bits = bits;
    spec.escape = below(2);
    const std::uint32_t n_rows = below(8) == 0 ? 300 : 1 + below(40);
    for (std::uint32_t r = 0; r < n_rows; ++r) {
      const std::vector<std::uint32_t> row = freqs(bits, spec.escape != 0);
      spec.freqs.insert(spec.freqs.end(), row.begin(), row.end());
      spec.n_bins.push_back(static_cast<std::int32_t>(row.size()));
      const std::int32_t extremes[] = {INT32_MIN + static_cast<std::int32_t>(spec.escape),
                                       INT32_MAX - 600};
      spec.offsets.push_back(below(50) == 0 ? extremes[below(2)]
                                            : static_cast<std::int32_t>(below(600)) - 300);
    }
    return spec;
  }

  /// n symbols with rows of the table, mostly as likely as the row has them.
  Push push(std::uint32_t index, const TableSpec& spec, std::size_t n) {
    const std::size_t n_rows = spec.n_bins.size();
    Push push{.table = index, .type = static_cast<Rows::Type>(below(4)), .symbols = {}, .rows = {}};
    if (push.type == Rows::Type::kUint8 && n_rows > 256) push.type = Rows::Type::kUint16;
    std::vector<std::size_t> first(n_rows + 1);
    for (std::size_t r = 0; r < n_rows; ++r)
      first[r + 1] = first[r] + static_cast<std::size_t>(spec.n_bins[r]);
    const std::uint32_t one_row = below(n_rows);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t row = push.type == Rows::Type::kScalar ? one_row : below(n_rows);
      const auto freqs = std::span(spec.freqs).subspan(first[row], first[row + 1] - first[row]);
      push.rows.push_back(static_cast<std::int32_t>(row));
      push.symbols.push_back(symbol(spec, freqs, spec.offsets[row]));
    }
    return push;
  }

  Bytes bytes(std::size_t n) {
    const std::uint32_t kind = below(4);
    const std::uint32_t width = 1 + below(256);
    Bytes out(n);
    for (auto& byte : out) {
      const std::uint32_t value = kind == 0   ? 7
                                  : kind == 1 ? below(width)
                                  : kind == 2 ? below(width) * below(width) / 256
                                              : below(1 + below(1 + below(width)));
      byte = static_cast<std::uint8_t>(value);
    }
    return out;
  }

 private:
  std::vector<std::uint32_t> freqs(std::uint32_t bits, bool escape) {
    const std::uint32_t kind = below(6);
    const std::uint32_t total = 1U << bits;
    const std::uint32_t n = kind == 0 ? 1 : 1 + below(std::min(total, below(4) == 0 ? 512U : 24U));
    std::vector<std::uint64_t> counts(n, 1);
    for (std::uint32_t i = 0; i < n; ++i) {
      if (kind == 2) counts[i] = (std::uint64_t{1} << 40) >> std::min(i, 40U);
      if (kind == 3 && i == n / 2) counts[i] = std::uint64_t{1} << 45;
      if (kind == 4) counts[i] = 1 + below(100);
      if (kind == 5) counts[i] = escape ? 1 + below(3) : below(3);
    }
    counts[below(n)] += kind == 5;  // not all of them zero
    std::vector<std::uint32_t> out(n);
    cdf::normalise(counts, static_cast<int>(bits), out);
    return out;
  }

  std::int32_t symbol(const TableSpec& spec,
                      std::span<const std::uint32_t> freqs,
                      std::int32_t offset) {
    if (spec.escape != 0 && below(64) == 0) return static_cast<std::int32_t>(any());
    std::uint32_t slot = below(std::size_t{1} << spec.bits);
    std::uint32_t bin = 0;
    while (slot >= freqs[bin]) slot -= freqs[bin++];
    if (below(8) == 0) {
      const std::uint32_t other = below(freqs.size());
      if (freqs[other] != 0) bin = other;
    }
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(offset) + bin);
  }

  std::mt19937 random_;
};

// ---------------------------------------------------------------------------------------- files

/// Numbers and arrays of the cases, written or read in the same order.
class CaseFile {
 public:
  CaseFile(const char* path, bool write)
      : file_(std::fopen(path, write ? "wb" : "rb")), write_(write) {
    check(file_ != nullptr, path);
  }
  ~CaseFile() { check(std::fclose(file_) == 0, "close"); }
  CaseFile(const CaseFile&) = delete;
  CaseFile& operator=(const CaseFile&) = delete;

  template <class T>
  void number(T& value) {
    auto wide = static_cast<std::uint32_t>(value);
    raw(std::as_writable_bytes(std::span(&wide, 1)), sizeof(wide));
    value = static_cast<T>(wide);
  }
  template <class T>
  void array(std::vector<T>& values) {
    auto n = static_cast<std::uint32_t>(values.size());
    number(n);
    values.resize(n);
    raw(std::as_writable_bytes(std::span(values)), sizeof(T));
  }
  void item(TableSpec& spec) {
    array(spec.freqs);
    array(spec.n_bins);
    array(spec.offsets);
    number(spec.bits);
    number(spec.escape);
  }
  void item(Push& push) {
    number(push.table);
    number(push.type);
    array(push.symbols);
    array(push.rows);
  }
  void item(Case& c) {
    number(c.lanes);
    number(c.segment);
    items(c.pushes);
    array(c.bytes);
  }
  template <class T>
  void items(std::vector<T>& values) {
    auto n = static_cast<std::uint32_t>(values.size());
    number(n);
    values.resize(n);
    for (T& value : values) item(value);
  }

 private:
  /// Values lie in the file as on little-endian machines.
  void raw(std::span<std::byte> data, std::size_t size) {
    if (write_) swap(data, size);
    const std::size_t done = write_ ? std::fwrite(data.data(), 1, data.size(), file_)
                                    : std::fread(data.data(), 1, data.size(), file_);
    check(done == data.size(), "a case file that ends too early, or a full disk");
    swap(data, size);
  }
  static void swap(std::span<std::byte> data, std::size_t size) {
    if (std::endian::native == std::endian::little) return;
    for (; !data.empty(); data = data.subspan(size)) std::ranges::reverse(data.first(size));
  }
  std::FILE* file_;
  bool write_;
};

}  // namespace glc::test

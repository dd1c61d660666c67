// SPDX-License-Identifier: Apache-2.0
//
// Every back end of this machine writes the same bytes, with any number of threads, and reads
// them; and the same as another machine's, whose cases it replays.
//
//   test_rans_identity [SYMBOLS]         draws cases of so many symbols in all, and of plain bytes
//   test_rans_identity SYMBOLS FILE      the same, and keeps cases and bytes in FILE
//   test_rans_identity --replay FILE     takes cases and bytes from FILE
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "glc/rans.h"
#include "glc/threads.h"
#include "rans_cases.h"

namespace {

using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::Rows;
using glc::rans::TableSet;
using glc::test::Bytes;
using glc::test::Case;
using glc::test::CaseFile;
using glc::test::check;
using glc::test::Draw;
using glc::test::kAuto;
using glc::test::Push;
using glc::test::Symbols;
using glc::test::TableSpec;

constexpr std::uint32_t kTables = 200;
constexpr std::uint32_t kLanes[] = {1, 2, 4, 8, 16, 32, kAuto};
constexpr std::uint32_t kSegments[] = {0, kAuto, 32, 96, 1024, 8192};

// -------------------------------------------------------------------------------------- drawing

/// Cases take turns through the tables, lanes and segments; one in eight codes plain bytes.
Case draw_case(Draw& draw, const std::vector<TableSpec>& specs, std::uint32_t number) {
  Case c;
  c.lanes = kLanes[number % std::size(kLanes)];
  c.segment = kSegments[number / std::size(kLanes) % std::size(kSegments)];
  const bool large = number % 61 == 60;  // for the rule to cut it, and threads to share its bins
  std::size_t n = large ? 300000 : (std::size_t{1} << draw.below(14)) + draw.below(33) - 1;
  if (number % 8 == 7) {
    c.bytes = draw.bytes(16 * n + draw.below(33));
    return c;
  }
  std::uint32_t table = number % kTables;
  for (std::uint32_t p = draw.below(4) + 1; p > 0; --p) {
    c.pushes.push_back(draw.push(table, specs[table], n));
    table = draw.below(specs.size());
    n = draw.below(200);
  }
  return c;
}

// --------------------------------------------------------------------------------------- coding

/// The rows of a push in the type that it asks for.
struct TypedRows {
  explicit TypedRows(const Push& p)
      : push(p), rows8(p.rows.begin(), p.rows.end()), rows16(p.rows.begin(), p.rows.end()) {}

  [[nodiscard]] Rows get() const {
    switch (push.type) {
      case Rows::Type::kUint8:
        return {std::span(rows8)};
      case Rows::Type::kUint16:
        return {std::span(rows16)};
      case Rows::Type::kInt32:
        return {std::span(push.rows)};
      case Rows::Type::kScalar:
        break;
    }
    return {push.rows.empty() ? 0 : push.rows[0]};
  }

  const Push& push;
  std::vector<std::uint8_t> rows8;
  std::vector<std::uint16_t> rows16;
};

template <class T>
std::optional<T> unless_auto(std::uint32_t value) {
  return value == kAuto ? std::nullopt : std::optional<T>(static_cast<T>(value));
}

Bytes encode(const Case& c, const std::vector<TableSet>& tables, std::uint64_t& cost) {
  const auto segment = unless_auto<std::size_t>(c.segment);
  if (c.pushes.empty()) return glc::rans::encode_bytes(c.bytes, segment);
  Encoder encoder(unless_auto<int>(c.lanes), segment);
  for (const Push& push : c.pushes) {
    const TypedRows rows(push);
    encoder.push(push.symbols, rows.get(), tables[push.table]);
    cost += tables[push.table].cost(push.symbols, rows.get());
  }
  return encoder.finish();
}

void decode(const Case& c, const std::vector<TableSet>& tables, const Bytes& stream) {
  if (c.pushes.empty()) {
    Bytes out(glc::rans::decoded_bytes_size(stream, c.bytes.size()));
    glc::rans::decode_bytes(stream, out);
    check(out == c.bytes, "bytes read back");
    return;
  }
  Decoder decoder(stream);
  for (const Push& push : c.pushes) {
    Symbols out(push.symbols.size());
    const TypedRows rows(push);
    decoder.pull(rows.get(), tables[push.table], out);
    check(out == push.symbols, "symbols read back");
  }
  decoder.finish();
}

// ------------------------------------------------------------------------------------ comparing

class Comparison {
 public:
  explicit Comparison(const std::vector<TableSpec>& specs) {
    for (const TableSpec& spec : specs) tables_.push_back(spec.build());
  }

  /// Codes the case on every back end; expected, when not empty, is another machine's result.
  Bytes run(const Case& c, Bytes expected) {
    std::optional<std::uint64_t> first_cost;
    for (std::size_t b = 0; b < back_ends_.size(); ++b) {
      glc::test::use_back_end(back_ends_[b]);
      glc::set_threads(1 + static_cast<int>((n_cases_ + b) % 3));
      std::uint64_t cost = 0;
      const Bytes stream = encode(c, tables_, cost);
      if (expected.empty()) expected = stream;
      check(stream == expected, back_ends_[b]);
      check(cost == first_cost.value_or(cost), "cost");
      first_cost = cost;
      glc::set_threads(1 + static_cast<int>((n_cases_ + b + 1) % 3));
      decode(c, tables_, expected);
    }
    ++n_cases_;
    n_bytes_ += expected.size();
    n_plain_ += c.bytes.size();
    shapes_.insert({c.lanes, c.segment});
    for (const Push& push : c.pushes) {
      n_symbols_ += push.symbols.size();
      used_.insert(push.table);
    }
    return expected;
  }

  [[nodiscard]] std::uint64_t n_symbols() const { return n_symbols_; }

  void report(const char* source) const {
    std::string names;
    for (const char* name : back_ends_) names += std::string(names.empty() ? "" : ", ") + name;
    std::printf(
        "%s: %zu cases, %llu symbols over %zu table sets and %llu plain bytes, %zu shapes of "
        "lanes and segments, 1 to 3 threads: %llu bytes equal from %s, each read by each\n",
        source,
        n_cases_,
        static_cast<unsigned long long>(n_symbols_),
        used_.size(),
        static_cast<unsigned long long>(n_plain_),
        shapes_.size(),
        static_cast<unsigned long long>(n_bytes_),
        names.c_str());
  }

 private:
  std::vector<const char*> back_ends_ = glc::test::back_ends();
  std::vector<TableSet> tables_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> shapes_;
  std::set<std::uint32_t> used_;
  std::size_t n_cases_ = 0;
  std::uint64_t n_symbols_ = 0;
  std::uint64_t n_plain_ = 0;
  std::uint64_t n_bytes_ = 0;
};

void draw_all(std::uint64_t n_symbols, const char* path) {
  Draw draw(2026);
  std::vector<TableSpec> specs;
  specs.reserve(kTables);
  for (std::uint32_t t = 0; t < kTables; ++t) specs.push_back(draw.table(8 + t % 9));
  Comparison comparison(specs);
  std::vector<Case> cases;
  std::vector<Bytes> streams;
  for (std::uint32_t number = 0; comparison.n_symbols() < n_symbols; ++number) {
    Case c = draw_case(draw, specs, number);
    Bytes stream = comparison.run(c, {});
    if (path == nullptr) continue;
    cases.push_back(std::move(c));
    streams.push_back(std::move(stream));
  }
  comparison.report("drawn");
  if (path == nullptr) return;
  CaseFile file(path, true);
  file.items(specs);
  auto n = static_cast<std::uint32_t>(cases.size());
  file.number(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    file.item(cases[i]);
    file.array(streams[i]);
  }
}

void replay(const char* path) {
  CaseFile file(path, false);
  std::vector<TableSpec> specs;
  file.items(specs);
  Comparison comparison(specs);
  std::uint32_t n = 0;
  file.number(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    Case c;
    Bytes stream;
    file.item(c);
    file.array(stream);
    comparison.run(c, std::move(stream));
  }
  comparison.report("replayed");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--replay") {
    replay(argv[2]);
    return 0;
  }
  const long long n = argc > 1 ? std::atoll(argv[1]) : 300000;
  check(n > 0, "expected a number of symbols");
  draw_all(static_cast<std::uint64_t>(n), argc > 2 ? argv[2] : nullptr);
  return 0;
}

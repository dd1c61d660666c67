// SPDX-License-Identifier: Apache-2.0
//
// The CUDA coder against the CPU's: the same bytes, the same symbols, the same refusals.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "check.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "rans_cuda_cases.h"
#include "rans_cuda_harness.h"

#ifdef GLC_CUDA_EMULATED
#include "cuda_on_cpu/scheduler.h"
#endif

namespace {

using glc::BitstreamError;
using glc::InvalidArgument;
using glc::Unsupported;
using glc::rans::Rows;
using glc::rans::TableSet;
using glc::test::Case;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;
using glc::test::cuda_decode;
using glc::test::cuda_decode_only;
using glc::test::cuda_encode;
using glc::test::CudaPush;
using glc::test::make_case;
using glc::test::random_freqs;

using Bytes = std::vector<std::uint8_t>;
using Symbols = std::vector<std::int32_t>;

// On the CPU lanes and blocks run in an order of the seed's choice; a device has its own.
void permute(std::uint64_t seed) {
#ifdef GLC_CUDA_EMULATED
  cuda_on_cpu::set_seed(seed);
#else
  static_cast<void>(seed);
#endif
}

Bytes cpu_encode(const std::vector<CudaPush>& pushes, int lanes, std::size_t segment_symbols) {
  glc::rans::Encoder encoder(lanes, segment_symbols);
  for (const CudaPush& push : pushes) encoder.push(push.symbols, push.rows, push.tables);
  return encoder.finish();
}

std::vector<Symbols> cpu_decode(std::span<const std::uint8_t> data,
                                const std::vector<CudaPush>& pushes) {
  glc::rans::Decoder decoder(data);
  std::vector<Symbols> symbols;
  for (const CudaPush& push : pushes) {
    symbols.emplace_back(push.symbols.size());
    decoder.pull(push.rows, push.tables, symbols.back());
  }
  decoder.finish();
  return symbols;
}

void check_round_trip(const std::vector<CudaPush>& pushes, int lanes, std::size_t segment_symbols) {
  const Bytes stream = cpu_encode(pushes, lanes, segment_symbols);
  check(cuda_encode(pushes, lanes, segment_symbols) == stream, "the CPU's bytes");
  const auto decoded = cuda_decode(stream, pushes);
  if (pushes.size() == 1) check(cuda_decode_only(stream, pushes[0]) == decoded, "symbols in one");
  for (std::size_t p = 0; p < pushes.size(); ++p) {
    check(std::equal(decoded[p].begin(), decoded[p].end(), pushes[p].symbols.begin()), "symbols");
  }
}

void sizes_and_lanes() {
  for (const std::size_t n : std::vector<std::size_t>{0, 1, 31, 32, 33, 997}) {
    for (const int lanes : {1, 2, 4, 8, 16, 32}) {
      const Case c = make_case(n, static_cast<std::uint32_t>(n) + 7U);
      for (const unsigned segment : {32U, 96U, 4096U}) {
        check_round_trip({c.push(0)}, lanes, segment);
      }
    }
  }
}

// A million symbols in all, over two hundred table sets; thirty where threads are watched.
void many_tables(std::size_t n_cases, std::size_t n) {
  for (std::size_t i = 0; i < n_cases; ++i) {
    const auto seed = static_cast<std::uint32_t>(i);
    permute(seed);
    const Case c = make_case(n, 1000U + seed, i % 5 == 0 ? 3 : 200);
    check_round_trip({c.push(static_cast<int>(i % 3))}, 1 << i % 6, i % 2 == 0 ? 1024 : 192);
  }
  permute(0);
}

void several_pushes() {
  const Case a = make_case(300, 1);
  const Case b = make_case(1000, 2);
  const Case empty = make_case(0, 3);
  Symbols one_symbol(777, a.symbols[0]);
  const CudaPush one_row{one_symbol, Rows(a.rows32[0]), a.tables};
  check_round_trip({a.push(0), empty.push(1), b.push(2), one_row}, 8, 128);
  check_round_trip({}, 8, 128);
}

/// A decoder looks for escapes only in the parts of a segment where its lanes met any.
void lone_escapes() {
  const std::vector<std::uint32_t> freqs = {100, 155, 1};
  const std::vector<std::int32_t> n_bins = {3};
  const std::vector<std::int32_t> offsets = {0};
  const TableSet tables = TableSet::from_freqs(freqs, n_bins, offsets, 8, true);
  constexpr std::size_t kSegment = 20000;  // parts of 1024 symbols
  constexpr std::size_t kSymbols = kSegment + 9000;
  Symbols symbols(kSymbols);
  std::mt19937 r(3);
  for (auto& symbol : symbols) symbol = static_cast<std::int32_t>(r() % 2);
  Symbols all = symbols;
  for (const std::size_t i : std::vector<std::size_t>{
           0, 127, 1023, 1024, 1151, 19967, 19968, kSegment - 1, kSegment, kSymbols - 1}) {
    Symbols one = symbols;
    one[i] = all[i] = static_cast<std::int32_t>(1000 + i);
    check_round_trip({{one, Rows(0), tables}}, 32, kSegment);
  }
  for (const int lanes : {1, 8, 32}) {
    check_round_trip({{all, Rows(0), tables}}, lanes, kSegment);
  }
}

// A frequency of 2^16, which 16 bits do not hold, beside others and bins of frequency 0.
void certain_symbols() {
  const std::vector<std::uint32_t> freqs = {0, 65536, 0, 0, 40000, 0, 25536};
  const std::vector<std::int32_t> n_bins = {3, 4};
  const std::vector<std::int32_t> offsets = {7, -1};
  const TableSet tables = TableSet::from_freqs(freqs, n_bins, offsets, 16, false);
  Symbols symbols(3000);
  std::vector<std::uint8_t> rows(symbols.size());
  std::mt19937 r(8);
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    rows[i] = static_cast<std::uint8_t>(r() % 2);
    symbols[i] = rows[i] == 0 ? 8 : r() % 2 == 0 ? 0 : 2;
  }
  for (const int lanes : {4, 32}) {
    check_round_trip({{symbols, Rows(std::span<const std::uint8_t>(rows)), tables}}, lanes, 1024);
  }
}

// So many bins and rows that the kernels leave them in global memory.
void large_tables() {
  std::mt19937 r(5);
  for (const unsigned n_bins : {3000U, 1000U}) {
    const std::size_t n_rows = 70;
    std::vector<std::uint32_t> freqs;
    for (std::size_t row = 0; row < n_rows; ++row) {
      const auto some = random_freqs(n_bins, 16, true, r);
      freqs.insert(freqs.end(), some.begin(), some.end());
    }
    const std::vector<std::int32_t> sizes(n_rows, static_cast<std::int32_t>(n_bins));
    const std::vector<std::int32_t> offsets(n_rows, -5);
    const TableSet tables = TableSet::from_freqs(freqs, sizes, offsets, 16, true);
    Symbols symbols(2000);
    std::vector<std::uint8_t> rows(2000);
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      symbols[i] = static_cast<std::int32_t>(r() % n_bins) - 5;
      rows[i] = static_cast<std::uint8_t>(r() % n_rows);
    }
    check_round_trip({{symbols, Rows(std::span<const std::uint8_t>(rows)), tables}}, 32, 512);
  }
}

/// What decoding comes to: symbols, or nothing when the stream is refused.
template <class Decode>
std::vector<Symbols> outcome(Decode decode) {
  try {
    return decode();
  } catch (const BitstreamError&) {
    return {};
  } catch (const Unsupported&) {
    return {};
  }
}

/// Any bytes: the CPU's symbols or the CPU's refusal. A plain stream is for the CPU alone.
void check_same_outcome(const Bytes& data,
                        const CudaPush& push,
                        const glc::cuda::RansTables& tables) {
  const auto ours = outcome([&] { return cuda_decode(data, {push}, &tables); });
  check(ours == outcome([&] { return cuda_decode_only(data, push, &tables); }), "in one call");
  if (!data.empty() && (data[0] & 0xF0U) == 0) return check(ours.empty(), "refuses a plain stream");
  check(ours == outcome([&] { return cpu_decode(data, {push}); }), "the CPU's outcome");
}

/// Damages and table sets of which one is tried where threads are watched, which takes longest: all
/// that is asked there is how they share memory. Each byte still has a bit of its own flipped.
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t kOneOf = 7;
#else
constexpr std::size_t kOneOf = 1;
#endif

/// Calls test(bytes) with each prefix and each flip of one bit, or of every step-th.
template <class F>
void each_damage(const Bytes& bytes, std::size_t step, F test) {
  for (std::size_t n = 0; n < bytes.size(); n += kOneOf)
    test(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)));
  for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += step) {
    Bytes flipped = bytes;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ 1U << bit % 8);
    test(flipped);
  }
}

void hostile_streams() {
  const Case c = make_case(150, 12, 20, true);
  const glc::cuda::RansTables tables(c.tables);
  const auto test = [&](const Bytes& damaged) { check_same_outcome(damaged, c.push(0), tables); };
  for (const int lanes : {4, 32}) {
    const Bytes stream = cpu_encode({c.push(0)}, lanes, 64);
    each_damage(stream, kOneOf, test);
    Bytes longer = stream;
    longer.resize(stream.size() + 4);
    test(longer);
  }
}

/// The stream has to be the one push and nothing else, as long as the device says it is.
void only_pushes() {
  const Case a = make_case(300, 1);
  const Case b = make_case(100, 2);
  const Bytes stream = cpu_encode({a.push(0)}, 8, 128);
  const std::vector<Symbols> symbols = {a.symbols};
  Bytes in_room = stream;  // memory goes on behind the stream
  in_room.resize(stream.size() + 40, 0xAB);
  check(cuda_decode_only(in_room, a.push(1), nullptr, stream.size()) == symbols, "size");
  check(cuda_decode_only(stream, a.push(2), nullptr, stream.size() + 40) == symbols, "beyond data");
  const auto refused = [](const Bytes& data,
                          const CudaPush& push,
                          const char* why,
                          std::optional<std::uint64_t> size = std::nullopt) {
    check_throws<BitstreamError>([&] { cuda_decode_only(data, push, nullptr, size); }, why);
  };
  refused(in_room, a.push(0), "bytes behind the push");
  refused(stream, a.push(0), "cut", stream.size() - 4);
  refused(stream, a.push(0), "cut in the head", 2);
  refused(stream, a.push(0), "nothing", 0);
  refused(stream, b.push(0), "fewer symbols than were pushed");
  refused(cpu_encode({a.push(0), b.push(0)}, 8, 128), a.push(0), "two pushes");
  refused(cpu_encode({}, 8, 128), a.push(0), "no push");
  const Case empty = make_case(0, 3);
  refused(cpu_encode({}, 8, 128), empty.push(0), "no push, not even of nothing");
  refused(stream, empty.push(0), "nothing of a push");
}

Bytes make_bytes(std::size_t n, std::uint32_t seed, double deviation) {
  std::mt19937 r(seed);
  std::normal_distribution<double> normal(128, deviation);
  Bytes bytes(n);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(std::clamp(normal(r), 0.0, 255.0));
  return bytes;
}

/// Nearly all one value, and ten others once each: enough of them to share an escape bin.
Bytes make_rare_bytes(std::size_t n) {
  Bytes bytes(n, 128);
  for (std::size_t i = 0; i < 10; ++i) bytes[n / 10 * i + i] = static_cast<std::uint8_t>(20 * i);
  return bytes;
}

void check_bytes(const Bytes& data, unsigned segment, std::optional<int> lanes = std::nullopt) {
  const Bytes coded = glc::rans::encode_bytes(data, segment, lanes);
  check(glc::test::cuda_encode_bytes(data, segment, lanes) == coded, "the CPU's bytes");
  check(glc::test::cuda_decode_bytes(coded, data.size()) == data, "the data");
}

void bytes() {
  for (const std::size_t n : std::vector<std::size_t>{0, 1, 2, 31, 33, 1000, 20011}) {
    for (const double deviation : {0.0, 0.4, 3.0, 1000.0}) {
      for (const unsigned segment : {32U, 2048U, 1U << 16}) {
        check_bytes(make_bytes(n, static_cast<std::uint32_t>(n), deviation), segment);
      }
    }
  }
  check_bytes(make_rare_bytes(60000), 4096);
  for (const int lanes : {1, 8, 32}) check_bytes(make_rare_bytes(20000), 4096, lanes);
}

void hostile_bytes(const Bytes& data, unsigned segment, int method, std::size_t step) {
  const Bytes coded = glc::rans::encode_bytes(data, segment);
  check_equal(int{coded[0]}, method, "method");
  const auto read = [&data](const Bytes& damaged, auto decode) {
    return outcome([&] {
      if (glc::rans::decoded_bytes_size(damaged, 1 << 20) != data.size()) {
        throw BitstreamError("another size");
      }
      const Bytes out = decode(damaged);
      check(out == data, "other bytes without an error");
      return std::vector<Symbols>{Symbols(out.begin(), out.end())};
    });
  };
  each_damage(coded, step, [&](const Bytes& damaged) {
    const auto ours = read(damaged, [&](const Bytes& bytes) {
      return glc::test::cuda_decode_bytes(bytes, data.size());
    });
    if (!damaged.empty() && damaged[0] % 2 == 1) {
      return check(ours.empty(), "a stream in one piece is for the CPU");
    }
    const auto theirs = read(damaged, [&](const Bytes& bytes) {
      Bytes out(data.size());
      glc::rans::decode_bytes(bytes, out);
      return out;
    });
    check(ours == theirs, "the CPU's outcome");
  });
}

void mistakes() {
  const std::vector<std::uint32_t> freqs = {128, 0, 128};
  const std::vector<std::int32_t> n_bins = {3};
  const std::vector<std::int32_t> offsets = {0};
  const TableSet tables = TableSet::from_freqs(freqs, n_bins, offsets, 8, false);
  const auto coded = [&](const Symbols& symbols, std::int32_t row, std::size_t capacity = 0) {
    return cuda_encode({{symbols, Rows(row), tables}}, 32, 32, capacity);
  };
  check(!coded({0, 2, 0}, 0).empty(), "good");
  check_throws<InvalidArgument>([&] { coded({0, 2, 0}, 1); }, "row");
  check_throws<InvalidArgument>([&] { coded({0, 2, 0}, -1); }, "negative row");
  check_throws<InvalidArgument>([&] { coded({0, 1, 0}, 0); }, "frequency 0");
  check_throws<InvalidArgument>([&] { coded({0, 3, 0}, 0); }, "outside the row");
  check_throws<InvalidArgument>([&] { coded({0, -1, 0}, 0); }, "outside the row");
  check_throws<InvalidArgument>([&] { coded(Symbols(500), 0, 64); }, "capacity");
  check_throws<InvalidArgument>([&] { coded({0}, 0, 2); }, "capacity of the head");
  const Bytes stream = coded({0, 2, 0}, 0);
  const Symbols three(3);
  check_throws<InvalidArgument>([&] { cuda_decode(stream, {{three, Rows(7), tables}}); }, "row");
  check_throws<InvalidArgument>([&] { cuda_decode_only(stream, {three, Rows(7), tables}); }, "row");
  const Bytes two(2);
  check_throws<InvalidArgument>([&] { cuda_decode_only(stream, {three, Rows(two), tables}); },
                                "rows");
  const glc::test::OnDevice<std::uint8_t> data(stream);
  const glc::test::OnDevice<std::int32_t> shared(3);
  const glc::test::OnDevice<glc::cuda::RansProgress> progress(1);
  const glc::cuda::RansTables made(tables);
  const glc::test::OnDevice<std::byte> blob(made.blob());
  const auto over = [&](const Rows& rows) {
    glc::cuda::rans_decode_only(
        data.span(), nullptr, rows, made, blob.data(), shared.span(), progress.data(), nullptr);
  };
  check_throws<InvalidArgument>([&] { over(Rows(shared.span())); }, "over its rows");
  check_throws<InvalidArgument>(
      [] { static_cast<void>(glc::cuda::rans_encode_workspace_bytes(10, 3, 32)); }, "lanes");
  check_throws<InvalidArgument>(
      [] { static_cast<void>(glc::cuda::rans_encode_workspace_bytes(10, 4, 33)); }, "segment");
}

}  // namespace

int main(int n_arguments, char**) {
  sizes_and_lanes();
  several_pushes();
  only_pushes();
  lone_escapes();
  certain_symbols();
  large_tables();
  mistakes();
  bytes();
  if (n_arguments > 1) return 0;  // with any argument, what a device's sanitizer gets done
  hostile_streams();
  hostile_bytes(make_rare_bytes(40000), 16384, 4, 5);  // so many take a while on a CPU
  hostile_bytes(make_bytes(200, 6, 2.0), 128, 2, kOneOf);
  many_tables(210 / kOneOf, 5000);
  return 0;
}

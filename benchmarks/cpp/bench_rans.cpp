// SPDX-License-Identifier: Apache-2.0
//
// The coder from C++, memory of the caller reused: a table row per symbol (W2) beside our own
// single lane, plain bytes (W1) beside htscodecs where CMake has found it. One thread, except where
// a side is said to have more.
//
//   bench_rans [--fast] [--cpu] [WORD]     only the cases whose name has WORD in it
// --cpu counts the CPU time of the process, without the sides of several threads: better where
// other work runs beside it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "glc/cdf.h"
#include "glc/rans.h"
#include "glc/threads.h"
#include "race.h"

#ifdef GLC_HTSCODECS
#include <rANS_static4x16.h>
#endif

namespace {

using glc::bench::Pace;
using glc::bench::Side;
using Bytes = std::vector<std::uint8_t>;

struct Options {
  bool fast = false;
  bool cpu = false;
  std::string word;

  int threads = glc::threads();

  [[nodiscard]] bool wants(const std::string& name) const {
    return name.find(word) != std::string::npos;
  }
  void race(const std::string& name, const std::vector<Side>& sides, std::size_t work) const {
    if (wants(name))
      glc::bench::race(name, sides, work, Pace{fast ? 0.0005 : 0.005, fast ? 3 : 41, cpu});
  }
};

/// The side, calling run with as many threads as there may be; empty where that is one.
std::vector<Side> several(const Options& options, const std::function<void()>& run, double over) {
  if (options.cpu || options.threads == 1) return {};
  const auto call = [run, n = options.threads] {
    glc::set_threads(n);
    run();
    glc::set_threads(1);
  };
  return {{"ours, " + std::to_string(options.threads) + " threads", call, over}};
}

std::vector<Side> operator+(std::vector<Side> sides, const std::vector<Side>& more) {
  sides.insert(sides.end(), more.begin(), more.end());
  return sides;
}

void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what + ": decoded is not what was encoded");
}

double over_percent(std::size_t bytes, double ideal_bytes) {
  return 100 * (static_cast<double>(bytes) / ideal_bytes - 1);
}

// ---------------------------------------------------------------- W2

struct Level {
  const char* name;
  double low, high;  // scales are log-uniform between these
};
constexpr std::array kLevels = {
    Level{"low", 0.11, 0.5}, Level{"mid", 0.2, 4}, Level{"high", 2, 30}};
constexpr std::size_t kScales = 64;

struct Message {
  std::vector<std::int32_t> symbols;
  std::vector<std::uint8_t> rows;
};

double scale(std::size_t row) {
  return 0.11 * std::pow(64 / 0.11, static_cast<double>(row) / (kScales - 1));
}

Message draw(const Level& level, std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> log_scale(std::log(level.low), std::log(level.high));
  const double step = std::log(64 / 0.11) / (kScales - 1);
  Message m;
  for (std::size_t i = 0; i < n; ++i) {
    const double row = std::round((log_scale(random) - std::log(0.11)) / step);
    m.rows.push_back(static_cast<std::uint8_t>(row));
    m.symbols.push_back(static_cast<std::int32_t>(std::lround(normal(random) * scale(m.rows[i]))));
  }
  return m;
}

/// Messages of n symbols that are coded in turn: a processor that meets the same few thousand
/// symbols again learns by heart which way their branches go.
std::vector<Message> draw_several(const Level& level, std::size_t n) {
  constexpr std::size_t kTooMany = 512 * 1024;  // symbols, to be learnt
  std::vector<Message> messages;
  for (std::size_t seed = 0; seed <= kTooMany / n; ++seed) {
    messages.push_back(draw(level, n, seed));
  }
  return messages;
}

/// One setting of our coder; each call takes the next message, the buffers are reused.
class Symbols {
 public:
  Symbols(std::span<const Message> messages,
          const glc::rans::TableSet& tables,
          std::optional<int> lanes)
      : messages_(messages),
        tables_(tables),
        lanes_(lanes),
        streams_(messages.size()),
        sizes_(messages.size()),
        decoded_(messages[0].symbols.size()) {
    for (const Message& message : messages) {
      encode();
      decode();
      require(decoded_ == message.symbols, "symbols");
    }
  }

  void encode() {
    const std::size_t i = next_coded_++ % messages_.size();
    glc::rans::Encoder encoder(lanes_);
    encoder.push(messages_[i].symbols, std::span(messages_[i].rows), tables_);
    streams_[i].resize(encoder.encoded_bound());
    sizes_[i] = encoder.finish(streams_[i]);
  }

  void decode() {
    const std::size_t i = next_decoded_++ % messages_.size();
    const std::span<const std::uint8_t> stream(streams_[i].data(), sizes_[i]);
    glc::rans::Decoder decoder(stream);
    decoder.pull(std::span(messages_[i].rows), tables_, decoded_);
    decoder.finish();
  }

  /// Of all streams.
  [[nodiscard]] std::size_t size() const {
    return std::accumulate(sizes_.begin(), sizes_.end(), std::size_t{0});
  }

 private:
  std::span<const Message> messages_;
  const glc::rans::TableSet& tables_;
  std::optional<int> lanes_;
  std::vector<Bytes> streams_;
  std::vector<std::size_t> sizes_;
  std::size_t next_coded_ = 0;
  std::size_t next_decoded_ = 0;
  std::vector<std::int32_t> decoded_;
};

void race_symbols(const Options& options) {
  std::vector<double> scales;
  for (std::size_t row = 0; row < kScales; ++row) scales.push_back(scale(row));
  const glc::rans::TableSet tables = glc::cdf::gaussian_tables(scales, 14);
  const glc::rans::TableSet finest = glc::cdf::gaussian_tables(scales, 16);  // what is ideal
  const std::array<std::size_t, 3> sizes = {8192, 400'000, options.fast ? 800'000U : 8'000'000U};
  for (const std::size_t n : sizes) {
    for (const Level& level : kLevels) {
      const std::string name = std::string(level.name) + " " + std::to_string(n);
      if (!options.wants("encode " + name) && !options.wants("decode " + name)) continue;
      const std::vector<Message> messages = draw_several(level, n);
      double ideal = 0;
      for (const Message& message : messages) {
        ideal +=
            static_cast<double>(finest.cost(message.symbols, std::span(message.rows))) / 65536 / 8;
      }
      Symbols ours(messages, tables, std::nullopt);
      Symbols one_lane(messages, tables, 1);
      const double over = over_percent(ours.size(), ideal);
      const double over_one = over_percent(one_lane.size(), ideal);
      options.race("encode " + name,
                   std::vector<Side>{{"ours", [&] { ours.encode(); }, over},
                                     {"ours, one lane", [&] { one_lane.encode(); }, over_one}} +
                       several(
                           options, [&] { ours.encode(); }, over),
                   n);
      options.race("decode " + name,
                   std::vector<Side>{{"ours", [&] { ours.decode(); }, over},
                                     {"ours, one lane", [&] { one_lane.decode(); }, over_one}} +
                       several(
                           options, [&] { ours.decode(); }, over),
                   n);
    }
  }
}

// ---------------------------------------------------------------- W1

struct Deviation {
  const char* name;
  double value;  // of the normal distribution that the bytes are rounded from
};
constexpr std::array kDeviations = {
    Deviation{"0.8 bit", 0.35}, Deviation{"3.5 bit", 2.73}, Deviation{"7.8 bit", 70}};

#ifdef GLC_HTSCODECS
/// One setting of htscodecs; the buffers are reused from call to call.
class Hts {
 public:
  Hts(const Bytes& data, int order, int cpu)
      : data_(data),
        order_(order),
        cpu_(cpu),
        coded_(rans_compress_bound_4x16(static_cast<unsigned>(data.size()), order)),
        decoded_(data.size()) {
    encode();
    decode();
    require(decoded_ == data, "htscodecs");
  }

  void encode() {
    rans_set_cpu(cpu_);
    size_ = static_cast<unsigned>(coded_.size());
    auto* in = const_cast<std::uint8_t*>(data_.data());  // its interface does not say const
    rans_compress_to_4x16(in, static_cast<unsigned>(data_.size()), coded_.data(), &size_, order_);
  }

  void decode() {
    rans_set_cpu(cpu_);
    auto room = static_cast<unsigned>(decoded_.size());
    rans_uncompress_to_4x16(coded_.data(), size_, decoded_.data(), &room);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  const Bytes& data_;
  int order_, cpu_;
  Bytes coded_;
  unsigned size_ = 0;
  Bytes decoded_;
};
#endif

double entropy_bytes(const Bytes& data) {
  std::array<double, 256> counts{};
  for (const std::uint8_t byte : data) counts[byte] += 1;
  double bits = 0;
  for (const double count : counts) {
    if (count > 0) bits -= count * std::log2(count / static_cast<double>(data.size()));
  }
  return bits / 8;
}

void race_bytes(const Options& options, const Deviation& deviation) {
  const std::string name = std::string("bytes ") + deviation.name;
  if (!options.wants("encode " + name) && !options.wants("decode " + name)) return;
  Bytes data(options.fast ? std::size_t{1} << 20 : std::size_t{1} << 24);
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(128, deviation.value);
  for (std::uint8_t& byte : data) {
    byte = static_cast<std::uint8_t>(std::clamp(std::lround(normal(random)), 0L, 255L));
  }
  const double ideal = entropy_bytes(data);
  Bytes coded = glc::rans::encode_bytes(data);
  Bytes decoded(data.size());
  glc::rans::decode_bytes(coded, decoded);
  require(decoded == data, "bytes");
  const double over = over_percent(coded.size(), ideal);
  std::vector<Side> encode = {{"ours", [&] { coded = glc::rans::encode_bytes(data); }, over}};
  std::vector<Side> decode = {{"ours", [&] { glc::rans::decode_bytes(coded, decoded); }, over}};
#ifdef GLC_HTSCODECS
  constexpr int kAny = 0xFFFF;
  std::array<Hts, 3> peers = {Hts(data, RANS_ORDER_X32, RANS_CPU_ENC_AVX2 | RANS_CPU_DEC_AVX2),
                              Hts(data, RANS_ORDER_X32, kAny),
                              Hts(data, 0, 0)};
  constexpr std::array kNames = {"htscodecs 32x16 AVX2", "htscodecs 32x16 best", "htscodecs 4x16"};
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const double over_peer = over_percent(peers[i].size(), ideal);
    encode.push_back({kNames[i], [&hts = peers[i]] { hts.encode(); }, over_peer});
    decode.push_back({kNames[i], [&hts = peers[i]] { hts.decode(); }, over_peer});
  }
#endif
  encode = encode + several(options, encode[0].run, over);
  decode = decode + several(options, decode[0].run, over);
  options.race("encode " + name, encode, data.size());
  options.race("decode " + name, decode, data.size());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (const std::string_view argument :
       std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (argument == "--fast") {
      options.fast = true;
    } else if (argument == "--cpu") {
      options.cpu = true;
    } else {
      options.word = argument;
    }
  }
  try {
    glc::set_threads(1);
    glc::bench::print_head();
    race_symbols(options);
    for (const Deviation& deviation : kDeviations) race_bytes(options, deviation);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_rans: %s\n", error.what());
    return 1;
  }
}

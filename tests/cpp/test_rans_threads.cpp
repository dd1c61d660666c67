// SPDX-License-Identifier: Apache-2.0
//
// One TableSet, used by several threads at once, each with coders of its own: the streams and
// symbols are those of one thread. Built with GLC_SANITIZE=thread this also proves that the tables
// are only read.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/thread_pool.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "glc/rans_c.h"
#include "glc/threads.h"
#include "rans/segments.h"

namespace {

using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::TableSet;
using glc::test::check;
using glc::test::check_equal;

constexpr std::size_t kThreads = 4;
constexpr std::size_t kSymbols = 20000;
constexpr int kRounds = 5;

struct Message {
  std::vector<std::int32_t> symbols;
  std::vector<std::uint8_t> rows;
};

Message make_message(std::uint32_t seed, std::size_t n_rows) {
  std::mt19937 random(seed);
  Message m;
  for (std::size_t i = 0; i < kSymbols; ++i) {
    m.rows.push_back(static_cast<std::uint8_t>(random() % n_rows));
    m.symbols.push_back(static_cast<std::int32_t>(random() % 9) - 4);
    if (random() % 200 == 0) m.symbols.back() = static_cast<std::int32_t>(random());
  }
  return m;
}

// Segments as well: then the threads also meet in the coder's own pool.
std::vector<std::uint8_t> encode(const Message& m, const TableSet& tables) {
  Encoder encoder(std::nullopt, 1024);
  encoder.push(m.symbols, std::span(m.rows), tables);
  return encoder.finish();
}

void code_repeatedly(const Message& m,
                     const TableSet& tables,
                     const std::vector<std::uint8_t>& expected) {
  for (int round = 0; round < kRounds; ++round) {
    // shares the memory: its counter is the one thing written
    const TableSet copy = tables;  // NOLINT(performance-unnecessary-copy-initialization): the test
    check(encode(m, copy) == expected, "another stream");
    std::vector<std::int32_t> out(m.symbols.size());
    Decoder decoder(expected);
    decoder.pull(std::span(m.rows), tables, out);
    decoder.finish();
    check(out == m.symbols, "other symbols");
    check_equal(copy.cost(m.symbols, std::span(m.rows)), tables.cost(m.symbols, std::span(m.rows)));
  }
}

// The text of an error is the thread's own.
void fail_repeatedly(std::uint8_t descriptor) {
  for (int round = 0; round < kRounds * 100; ++round) {
    glc_rans_decoder* decoder = nullptr;
    const std::uint8_t data[] = {descriptor, 0, 0, 0, 0};
    check_equal(glc_rans_decoder_create(data, sizeof(data), &decoder), GLC_RANS_BITSTREAM_ERROR);
    const std::string text = glc_rans_last_error();
    check((text.find("32 lanes") != std::string::npos) == (descriptor < 8), text.c_str());
  }
}

// Threads of somebody else's: as many as asked for, made anew for each piece of work.
void foreign_team(void (*work)(void*), void* data, unsigned n_threads, unsigned) {
  std::vector<std::jthread> others;
  for (unsigned t = 1; t < n_threads; ++t) others.emplace_back(work, data);
  work(data);
}

// Calls from inside of others, and the exception of one, on whichever threads.
void check_calls_from_inside() {
  for (const int n_threads : {1, 4}) {
    glc::set_threads(n_threads);
    std::atomic<int> calls = 0;
    bool thrown = false;
    try {
      glc::parallel_for(100, [&](std::size_t i) {
        glc::parallel_for(3, [&](std::size_t) { ++calls; });
        if (i == 50) throw glc::InvalidArgument("as asked");
      });
    } catch (const glc::InvalidArgument&) {
      thrown = true;
    }
    check(thrown, "an exception is lost");
    if (n_threads == 1) check_equal(calls.load(), 3 * 51, "calls before the exception");
    check(calls >= 3 && calls <= 300, "calls");
  }
}

void check_foreign_team(const Message& m,
                        const TableSet& tables,
                        const std::vector<std::uint8_t>& expected) {
  glc::use_team(&foreign_team);
  code_repeatedly(m, tables, expected);
  check_calls_from_inside();
  glc::use_team(nullptr);
  check_calls_from_inside();
  code_repeatedly(m, tables, expected);
}

// Every segment is coded once, in order, at most so many in a turn; and all threads have work
// to the end.
void check_turns(std::size_t n_segments, std::size_t n_threads, std::size_t at_once) {
  const glc::rans::Turns turns(n_segments, n_threads, at_once);
  std::size_t next = 0;
  for (std::size_t turn = 0; turn < turns.size(); ++turn) {
    const std::size_t n = turns.first(turn + 1) - turns.first(turn);
    check_equal(turns.first(turn), next);
    check(n >= 1 && n <= at_once, "the segments of a turn");
    next += n;
  }
  check_equal(next, n_segments);
  const std::size_t rounds = glc::rans::ceil_div(n_segments, at_once * n_threads);
  check(turns.size() <= rounds * n_threads, "more turns than the threads can take at once");
  check(turns.size() >= std::min(n_segments, n_threads), "an idle thread");
}

// From 96 KiB on, which are two good segments and no longer one.
void check_cuts() {
  constexpr std::size_t kMany = 1U << 20;
  constexpr std::uint64_t kTwo = std::uint64_t{96 * 1024 * 8} << 16;
  for (const std::uint64_t cost : {kTwo - 1, kTwo}) {
    check(glc::rans::worth_segments(cost) == (cost == kTwo), "worth segments");
    const auto cut = glc::rans::segmentation(kMany, cost, std::nullopt, std::nullopt);
    check_equal(cut.n_segments, std::size_t{cost == kTwo ? 2U : 1U}, "segments");
  }
  const auto odd = glc::rans::segmentation(kMany + 1, kTwo, std::nullopt, std::nullopt);
  check_equal(odd.segment_symbols, kMany / 2 + 32, "the last segment is the shorter one");
  const auto lanes = glc::rans::segmentation(1024, std::uint64_t{2048} << 19, std::nullopt, 512);
  check_equal(lanes.lanes, 2, "those of a segment's share");
}

}  // namespace

int main() {
  check_cuts();
  for (std::size_t n_threads = 1; n_threads <= 9; ++n_threads) {
    for (std::size_t n = 0; n <= 100; ++n) {
      for (const std::size_t at_once : {2U, 4U, 8U}) check_turns(n, n_threads, at_once);
    }
  }
  const std::vector<double> scales = {0.1, 0.7, 2.0, 9.0};
  const TableSet tables = glc::cdf::gaussian_tables(scales, 14);
  std::vector<Message> messages;
  std::vector<std::vector<std::uint8_t>> streams;
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    messages.push_back(make_message(t + 1, scales.size()));
    streams.push_back(encode(messages.back(), tables));
  }
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { code_repeatedly(messages[t], tables, streams[t]); });
    }
  }
  check_foreign_team(messages[0], tables, streams[0]);
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([t] { fail_repeatedly(t % 2 == 0 ? 0x07 : 0xE0); });
    }
  }
  return 0;
}

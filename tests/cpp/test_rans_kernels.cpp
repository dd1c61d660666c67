// SPDX-License-Identifier: Apache-2.0
//
// One step of the coder for every frequency and the states at which its arithmetic could slip, on
// every back end: the encoder's division at the edges of the multiples and of the range, and the
// decoder's step back. The usual division by a reciprocal is right below 2^31 only.
//
//   test_rans_kernels [all]     all: every frequency, else one in eight
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "back_ends.h"
#include "check.h"
#include "glc/rans.h"
#include "rans/rans_kernels.h"
#include "rans/rans_state.h"
#include "rans/tables.h"

namespace {

using glc::rans::EncodeEntry;
using glc::rans::kStateLow;
using glc::test::check_equal;

constexpr std::size_t kLanes = glc::rans::kMaxLanes;
using States = std::array<std::uint32_t, kLanes>;

/// States from which a symbol of this frequency is coded: the ends of the range before and after a
/// word is given up, and quotients times freq, one below and one above, with and without a word.
std::array<States, 2> edges(std::uint32_t freq, int bits, std::mt19937& random) {
  const std::uint64_t limit = std::uint64_t{freq}
                              << (32 - bits);   // from here on, a word goes first
  const std::uint64_t last = limit / freq - 1;  // largest quotient
  const std::uint64_t quotients[] = {1, 2, last / 2, last - 1, last, random() % (last + 1)};
  std::vector<std::uint64_t> states = {
      kStateLow, limit - 1, limit, limit + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, random()};
  for (const std::uint64_t q : quotients) {
    for (const std::uint64_t x : {q * freq - 1, q * freq, q * freq + 1}) {
      states.push_back(x);
      states.push_back(x << 16 | (random() & 0xFFFFU));
    }
  }
  std::array<States, 2> out{};
  for (std::size_t i = 0; i < 2 * kLanes; ++i) {
    const std::uint64_t x = i < states.size() ? states[i] : random();
    out[i / kLanes][i % kLanes] =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(x, kStateLow, 0xFFFFFFFF));
  }
  return out;
}

/// What rans_state.h says of one step of all lanes, with C++'s own division.
struct Expected {
  States states;
  std::vector<std::uint16_t> words;  ///< in the decoder's order
};

Expected literal_step(const States& before, std::uint32_t freq, std::uint32_t start, int bits) {
  Expected out{.states = before, .words = {}};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::uint32_t& x = out.states[lane];
    if (x >= std::uint64_t{freq} << (32 - bits)) {
      out.words.push_back(static_cast<std::uint16_t>(x));
      x >>= 16;
    }
    x = (x / freq << bits) + x % freq + start;
  }
  return out;
}

/// Numbers of lanes that this frequency is tried with: each vector kernel has its own loop for 8,
/// 16 and 32, the scalar code for all; few frequencies take turns through all.
std::vector<int> lane_counts(std::uint32_t freq, bool scalar) {
  if (freq % 16 == 1) return {1, 8, 16, 32};
  return {scalar ? 1 : 32};
}

/// Codes one symbol per lane.
void check_encoders(std::span<const int> lane_counts,
                    const States& before,
                    std::uint32_t freq,
                    std::uint32_t start,
                    int bits,
                    const Expected& expected) {
  const EncodeEntry entry{glc::rans::reciprocal_of(freq),
                          static_cast<std::uint16_t>(freq - 1),
                          static_cast<std::uint16_t>(start)};
  const std::uint32_t indices[kLanes] = {};
  for (const int lanes : lane_counts) {
    const auto n_lanes = static_cast<std::size_t>(lanes);
    States got = before;
    std::array<std::uint8_t, 2 * kLanes + glc::rans::kWordSlack> room;
    std::uint8_t* words = room.data() + room.size();
    for (std::size_t first = kLanes; first != 0; first -= n_lanes) {
      glc::rans::EncodeRun<std::uint32_t> run{
          .indices = indices, .n = n_lanes, .states = got.data() + first - n_lanes, .words = words};
      glc::rans::encode_runs(&entry, bits, lanes, std::span(&run, 1));
      words = run.words;
    }
    check_equal(got == expected.states, true, "states after coding");
    check_equal(static_cast<std::size_t>(room.data() + room.size() - words),
                2 * expected.words.size(),
                "words");
    for (const std::uint16_t word : expected.words) {
      check_equal(words[0] | words[1] << 8, static_cast<int>(word), "word");
      words += 2;
    }
  }
}

/// Steps back from the states that coding led to.
void check_decoders(std::span<const int> lane_counts,
                    const glc::rans::TableSet& tables,
                    const States& before,
                    const Expected& coded) {
  std::vector<std::uint8_t> words;
  for (const std::uint16_t word : coded.words) {
    words.push_back(static_cast<std::uint8_t>(word));
    words.push_back(static_cast<std::uint8_t>(word >> 8));
  }
  words.resize(words.size() + 2 * kLanes);  // for the kernels to go on
  for (const int lanes : lane_counts) {
    for (const std::size_t symbols_per_byte :
         {std::size_t{0}, std::size_t{SIZE_MAX}}) {  // it guesses at many
      const auto n_lanes = static_cast<std::size_t>(lanes);
      States got = coded.states;
      std::array<std::int32_t, kLanes> symbols{};
      const std::uint8_t* next = words.data();
      for (std::size_t first = 0; first < kLanes; first += n_lanes) {
        const glc::rans::OneRow row{0};
        glc::rans::DecodeRun<glc::rans::OneRow, std::int32_t> run{
            .rows = &row,
            .n = n_lanes,
            .states = got.data() + first,
            .next = next,
            .end = words.data() + words.size(),
            .out = symbols.data() + first,
            .symbols_per_byte = symbols_per_byte};
        glc::rans::EscapePlaces places;
        glc::rans::decode_runs(
            tables.data().decode_tables(), lanes, std::span(&run, 1), std::span(&places, 1));
        next = run.next;
      }
      check_equal(got == before, true, "states before coding");
      check_equal(
          std::all_of(symbols.begin(), symbols.end(), [](std::int32_t s) { return s == 1; }),
          true,
          "symbols");
    }
  }
}

/// The way to the next frequency: to all of them at 16 bits, which divide as at any other, if so
/// asked; else to the smallest and largest, and one in eight.
std::uint32_t few(bool all, int bits, std::uint32_t freq, std::uint32_t total) {
  return (all && bits == glc::rans::kMaxBits) || freq < 32 || total - freq < 32 ? 1 : 8;
}

/// A row whose bin 1 has the frequency and the start.
glc::rans::TableSet table_of(std::uint32_t freq, std::uint32_t start, int bits) {
  const std::vector<std::uint32_t> freqs = {start, freq, (1U << bits) - start - freq};
  return glc::rans::TableSet::from_freqs(freqs, std::array{3}, std::array{0}, bits, false);
}

}  // namespace

int main(int argc, char** argv) {
  const bool all = argc > 1 && std::string_view(argv[1]) == "all";
  std::mt19937 random(3);
  std::size_t n_steps = 0;
  const std::vector<const char*> back_ends = glc::test::back_ends();
  for (int bits = glc::rans::kMinBits; bits <= glc::rans::kMaxBits; ++bits) {
    const std::uint32_t total = 1U << bits;
    for (std::uint32_t freq = 1; freq <= total; freq += few(all, bits, freq, total)) {
      const std::uint32_t start = static_cast<std::uint32_t>(random()) % (total - freq + 1);
      const bool decode = freq % 16 == 1 || total - freq < 16;  // tables take a while to make
      for (const States& before : edges(freq, bits, random)) {
        const Expected expected = literal_step(before, freq, start, bits);
        for (const char* back_end : back_ends) {
          glc::test::use_back_end(back_end);
          const std::vector<int> lanes = lane_counts(freq, back_end == back_ends.front());
          check_encoders(lanes, before, freq, start, bits, expected);
          if (decode) check_decoders(lanes, table_of(freq, start, bits), before, expected);
          ++n_steps;
        }
      }
    }
  }
  std::printf("%s frequency at 16 bits: %zu steps of 32 lanes on %zu back ends\n",
              all ? "every" : "one in eight",
              n_steps,
              back_ends.size());
  return 0;
}

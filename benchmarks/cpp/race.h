// SPDX-License-Identifier: Apache-2.0
//
// Times functions in turn, many rounds in a new order each, and prints medians of the times and of
// the ratios within a round: what benchmarks/harness.py does for Python.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace glc::bench {

struct Side {
  std::string name;
  std::function<void()> run;
  double over_ideal = 0;  ///< Size over the ideal, in per cent.
};

/// How long a race lasts, and what it counts.
struct Pace {
  double round_seconds = 0.005;  ///< The least that a round takes.
  int rounds = 41;
  bool cpu = false;  ///< The CPU time of the process, not the time on the wall.
};

inline double now(bool cpu) {
  if (cpu) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds per call.
inline double seconds(const std::function<void()>& run, int calls, bool cpu) {
  const double begin = now(cpu);
  for (int i = 0; i < calls; ++i) run();
  return (now(cpu) - begin) / calls;
}

/// The value below which a share of the values lies. values not empty.
inline double quantile(std::vector<double> values, double share) {
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

inline void print_head() {
  std::printf("%-20s %-22s %10s %10s %7s %15s %12s\n",
              "case",
              "side",
              "us",
              "M/s",
              "ratio",
              "quartiles",
              "over ideal %");
}

/// Times the sides, of which the first is ours, and prints a row for each. work: symbols per call.
inline void race(const std::string& name,
                 const std::vector<Side>& sides,
                 std::size_t work,
                 const Pace& pace) {
  std::vector<int> calls;
  for (const Side& side : sides) {
    side.run();  // warm
    calls.push_back(std::max(
        1, static_cast<int>(pace.round_seconds / std::max(1e-9, seconds(side.run, 1, false)))));
  }
  std::vector<std::vector<double>> taken(sides.size());
  std::vector<std::size_t> order(sides.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random(0);
  for (int round = 0; round < pace.rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order) taken[i].push_back(seconds(sides[i].run, calls[i], pace.cpu));
  }
  for (std::size_t i = 0; i < sides.size(); ++i) {
    std::vector<double> ratios;
    for (std::size_t j = 0; j < taken[i].size(); ++j) ratios.push_back(taken[i][j] / taken[0][j]);
    const double median = quantile(taken[i], 0.5);
    std::printf("%-20s %-22s %10.1f %10.1f %6.2fx %6.2f-%5.2fx  %12.3f\n",
                i == 0 ? name.c_str() : "",
                sides[i].name.c_str(),
                1e6 * median,
                static_cast<double>(work) / median / 1e6,
                quantile(ratios, 0.5),
                quantile(ratios, 0.25),
                quantile(ratios, 0.75),
                sides[i].over_ideal);
  }
  std::fflush(stdout);
}

}  // namespace glc::bench

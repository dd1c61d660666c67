// SPDX-License-Identifier: Apache-2.0
#include "glc/cdf.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <string>

#include "core/float_mode.h"
#include "glc/error.h"

namespace glc::cdf {
namespace {

using rans::kMaxBits;
using rans::kMinBits;

void check(std::size_t n, std::size_t n_out, int bits) {
  if (bits < kMinBits || bits > kMaxBits) {
    throw InvalidArgument("cdf: bits: expected 8..16, got " + std::to_string(bits));
  }
  if (n != n_out) {
    throw InvalidArgument("cdf: freqs: expected " + std::to_string(n) + " entries, got " +
                          std::to_string(n_out));
  }
}

/// A change of one in a frequency moves the coded size by about count / (freq +- 1/2) / ln 2;
/// compared as count / odd without dividing: products stay below 2^46 * 2^17.
struct Step {
  std::uint64_t count;
  std::uint64_t odd;  // 2 * freq + 1 when adding, 2 * freq - 1 when taking away
  std::size_t index;
};

/// -1, 0 or 1 as a's change weighs less than, as much as or more than b's.
int compare(const Step& a, const Step& b) {
  const std::uint64_t left = a.count * b.odd;
  const std::uint64_t right = b.count * a.odd;
  return left < right ? -1 : (left > right ? 1 : 0);
}

/// Heap order: the weightiest step on top (kSign = 1) or the lightest (kSign = -1); on a tie the
/// lower index.
template <int kSign>
struct Later {
  bool operator()(const Step& a, const Step& b) const {
    const int order = kSign * compare(a, b);
    return order != 0 ? order < 0 : a.index > b.index;
  }
};
template <int kSign>
using Heap = std::priority_queue<Step, std::vector<Step>, Later<kSign>>;

/// Adds one to the frequencies that gain most by it, until missing is used up.
void add(std::span<const std::uint64_t> counts,
         std::uint64_t missing,
         std::span<std::uint32_t> freqs) {
  Heap<1> steps;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] != 0) steps.push({counts[i], 2 * std::uint64_t{freqs[i]} + 1, i});
  }
  for (; missing != 0; --missing) {
    Step step = steps.top();
    steps.pop();
    ++freqs[step.index];
    step.odd += 2;
    steps.push(step);
  }
}

/// Takes one from the frequencies above 1 that lose least by it, until surplus is used up.
void take(std::span<const std::uint64_t> counts,
          std::uint64_t surplus,
          std::span<std::uint32_t> freqs) {
  Heap<-1> steps;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (freqs[i] > 1) steps.push({counts[i], 2 * std::uint64_t{freqs[i]} - 1, i});
  }
  for (; surplus != 0; --surplus) {
    Step step = steps.top();
    steps.pop();
    --freqs[step.index];
    step.odd -= 2;
    if (freqs[step.index] > 1) steps.push(step);
  }
}

template <class T>
void count(std::span<const T> values, std::span<std::uint64_t> counts) {
  std::fill(counts.begin(), counts.end(), 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<std::uint32_t>(values[i]);
    if (value >= counts.size()) {
      throw InvalidArgument("cdf: values: expected 0.." +
                            std::to_string(static_cast<std::int64_t>(counts.size()) - 1) +
                            ", got " + std::to_string(values[i]) + " at " + std::to_string(i));
    }
    ++counts[value];
  }
}

}  // namespace

void normalise(std::span<const std::uint64_t> counts, int bits, std::span<std::uint32_t> freqs) {
  check(counts.size(), freqs.size(), bits);
  const std::uint64_t target = std::uint64_t{1} << bits;
  std::uint64_t total = 0;
  std::uint64_t n_present = 0;
  for (const std::uint64_t count : counts) {
    if (count > kMaxTotal - total) {
      throw InvalidArgument("cdf: counts: expected a sum of at most 2^46");
    }
    total += count;
    n_present += count != 0 ? 1 : 0;
  }
  if (n_present == 0 || n_present > target) {
    throw InvalidArgument("cdf: counts: expected 1.." + std::to_string(target) +
                          " positive entries, got " + std::to_string(n_present));
  }
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const std::uint64_t share = counts[i] * target / total;
    freqs[i] = static_cast<std::uint32_t>(counts[i] != 0 ? std::max<std::uint64_t>(share, 1) : 0);
    sum += freqs[i];
  }
  if (sum < target) add(counts, target - sum, freqs);
  if (sum > target) take(counts, sum - target, freqs);
}

void normalise(std::span<const double> pmf, int bits, std::span<std::uint32_t> freqs) {
  check(pmf.size(), freqs.size(), bits);
  const IeeeFloats mode;  // a probability that the caller's thread flushes to zero is positive
  double total = 0;
  for (std::size_t i = 0; i < pmf.size(); ++i) {
    if (!std::isfinite(pmf[i]) || pmf[i] < 0) {
      throw InvalidArgument("cdf: pmf: expected finite entries >= 0, got another at " +
                            std::to_string(i));
    }
    total += pmf[i];
  }
  if (!std::isfinite(total) || total <= 0) {
    throw InvalidArgument("cdf: pmf: expected a positive, finite sum");
  }
  constexpr double kScale = 1099511627776.0;  // 2^40
  std::vector<std::uint64_t> counts(pmf.size());
  for (std::size_t i = 0; i < pmf.size(); ++i) {
    const auto count = static_cast<std::uint64_t>(std::floor(pmf[i] / total * kScale + 0.5));
    counts[i] = pmf[i] > 0 ? std::max<std::uint64_t>(count, 1) : 0;
  }
  normalise(counts, bits, freqs);
}

void histogram(std::span<const std::int32_t> values, std::span<std::uint64_t> counts) {
  count(values, counts);
}
void histogram(std::span<const std::uint8_t> values, std::span<std::uint64_t> counts) {
  count(values, counts);
}

rans::TableSet count_tables(std::span<const std::uint64_t> counts,
                            std::span<const std::int32_t> n_bins,
                            std::span<const std::int32_t> offsets,
                            int bits,
                            bool escape) {
  if (counts.size() > rans::kMaxBins) {
    throw InvalidArgument("cdf: counts: expected at most 2^24 entries, got " +
                          std::to_string(counts.size()));
  }
  std::vector<std::uint64_t> present(counts.begin(), counts.end());
  if (escape) {
    for (std::uint64_t& entry : present) entry = std::max<std::uint64_t>(entry, 1);
  }
  std::vector<std::uint32_t> freqs(counts.size());
  std::size_t begin = 0;
  for (const std::int32_t n : n_bins) {
    if (n < 1 || static_cast<std::size_t>(n) > counts.size() - begin) {
      throw InvalidArgument("cdf: n_bins: expected rows that share out " +
                            std::to_string(counts.size()) + " counts, got one of " +
                            std::to_string(n) + " at " + std::to_string(begin));
    }
    const auto n_row = static_cast<std::size_t>(n);
    normalise(std::span<const std::uint64_t>(present).subspan(begin, n_row),
              bits,
              std::span(freqs).subspan(begin, n_row));
    begin += n_row;
  }
  return rans::TableSet::from_freqs(freqs, n_bins, offsets, bits, escape);  // checks the rest
}

}  // namespace glc::cdf

// SPDX-License-Identifier: Apache-2.0
//
// Gaussian bins from +, -, * and / alone, in a fixed order: unlike libm's erf, these give the same
// bits on every IEEE machine (this project compiles with -ffp-contract=off), on threads that keep
// to the standard (IeeeFloats).
#include <cmath>
#include <string>
#include <vector>

#include "core/float_mode.h"
#include "glc/cdf.h"
#include "glc/error.h"
#include "rans/tables.h"

namespace glc::cdf {
namespace {

constexpr double kMaxScale = 1024.0;
constexpr double kLn2 = 0.693147180559945309417;
constexpr double kInvSqrt2Pi = 0.398942280401432677940;

/// exp(-t) for 0 <= t <= 700: 2^-n times the Taylor series of the rest.
double exp_minus(double t) {
  const int n = static_cast<int>(t / kLn2);
  const double rest = -(t - n * kLn2);  // in (-ln 2, 0]
  double sum = 1.0;
  for (int i = 22; i >= 1; --i) sum = 1.0 + rest / i * sum;
  return std::ldexp(sum, -n);
}

/// Probability of (0, z] under the standard Gaussian, 0 <= z; absolute error about 1e-16.
/// phi(z) * (z + z^3/3 + z^5/(3*5) + ...)                      (Marsaglia 2004, eq. 1)
double half_mass(double z) {
  if (z > 9.0) return 0.5;
  double term = z;
  double sum = z;
  for (int i = 3; term > sum * 1e-17; i += 2) {
    term = term * (z * z) / i;
    sum += term;
  }
  return kInvSqrt2Pi * exp_minus(z * z / 2) * sum;
}

}  // namespace

rans::TableSet gaussian_tables(std::span<const double> scales, int bits) {
  rans::check_shape(scales.size(), scales.size(), bits);  // before the work
  const IeeeFloats mode;
  for (const double scale : scales) {
    if (!(scale > 0) || scale > kMaxScale) {
      throw InvalidArgument("cdf: scales: expected values in (0, 1024], got " +
                            std::to_string(scale));
    }
  }
  std::vector<std::uint32_t> freqs;
  std::vector<std::int32_t> n_bins;
  std::vector<std::int32_t> offsets;
  const double floor = std::ldexp(1.0, -(bits + 1));
  for (const double scale : scales) {
    std::vector<double> side;  // probability of symbol 1, 2, ...
    double inner = half_mass(0.5 / scale);
    const double centre = 2 * inner;
    double covered = centre;
    for (int v = 1;; ++v) {
      const double outer = half_mass((v + 0.5) / scale);
      if (outer - inner < floor) break;
      side.push_back(outer - inner);
      covered += 2 * (outer - inner);
      inner = outer;
    }
    std::vector<double> pmf(side.rbegin(), side.rend());
    pmf.push_back(centre);
    pmf.insert(pmf.end(), side.begin(), side.end());
    // What is left escapes; never nothing, so that any symbol can be coded.
    pmf.push_back(std::max(1.0 - covered, std::ldexp(1.0, -40)));
    const std::size_t begin = freqs.size();
    if (pmf.size() > rans::kMaxBins - begin) {
      throw InvalidArgument("cdf: scales: expected rows of at most " +
                            std::to_string(rans::kMaxBins) + " bins in all, got more");
    }
    freqs.resize(begin + pmf.size());
    normalise(std::span<const double>(pmf), bits, std::span(freqs).subspan(begin));
    n_bins.push_back(static_cast<std::int32_t>(pmf.size()));
    offsets.push_back(-static_cast<std::int32_t>(side.size()));
  }
  return rans::TableSet::from_freqs(freqs, n_bins, offsets, bits, true);
}

}  // namespace glc::cdf

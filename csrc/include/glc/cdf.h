// SPDX-License-Identifier: Apache-2.0
//
// Integer frequencies for the coder: counts, probabilities and Gaussians in, frequencies out that
// sum to 1 << bits exactly. Same input bits, same output bits, on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/rans.h"

namespace glc::cdf {

/// Largest sum of counts that normalise() takes; keeps its products inside 64 bits.
inline constexpr std::uint64_t kMaxTotal = std::uint64_t{1} << 46;

/// freqs[i] ~ counts[i] * 2^bits / sum, summing to 2^bits exactly; a positive count gives a
/// frequency >= 1, a zero count 0. Frequencies that already sum to 2^bits come back unchanged.
/// counts [n], freqs [n], 1 <= present counts <= 2^bits. Throws InvalidArgument.
void normalise(std::span<const std::uint64_t> counts, int bits, std::span<std::uint32_t> freqs);

/// The same for probabilities, which need not sum to one: finite, >= 0, at least one positive.
/// Each is rounded to a multiple of 2^-40 of their sum, and a positive one to at least that.
void normalise(std::span<const double> pmf, int bits, std::span<std::uint32_t> freqs);

/// counts[v] = number of values equal to v. Throws InvalidArgument on a value outside
/// 0 .. counts.size() - 1.
void histogram(std::span<const std::int32_t> values, std::span<std::uint64_t> counts);
void histogram(std::span<const std::uint8_t> values, std::span<std::uint64_t> counts);

/// Tables from histograms: TableSet::from_freqs of the normalised rows. Row r has n_bins[r] of the
/// concatenated counts. With escape the last bin of each row is its escape, and a count of 0 is
/// taken as 1. Throws InvalidArgument.
[[nodiscard]] rans::TableSet count_tables(std::span<const std::uint64_t> counts,
                                          std::span<const std::int32_t> n_bins,
                                          std::span<const std::int32_t> offsets,
                                          int bits,
                                          bool escape);

/// One row per scale: the symbols -n..n of a zero-mean Gaussian, binned at half-integers, as far
/// as their probability reaches 2^-(bits + 1), and an escape bin for the rest.
/// scales > 0, finite, at most 1024; 1..65536 of them, of at most 2^24 bins in all.
/// Throws InvalidArgument.
[[nodiscard]] rans::TableSet gaussian_tables(std::span<const double> scales, int bits);

}  // namespace glc::cdf

// SPDX-License-Identifier: Apache-2.0
// What training needs beside the search: the selected rows and their error, and sums per code whose
// order of addition does not depend on the number of threads.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/thread_pool.h"
#include "glc/vq.h"

namespace glc {
namespace {

constexpr std::int64_t kRows = 128;  // of a task

void check_indices(const char* op, std::span<const std::int32_t> indices, std::int64_t k) {
  for (const std::int32_t index : indices) {
    if (index < 0 || index >= k) {
      fail_argument(op, "indices", "values in [0, " + std::to_string(k) + ")", index);
    }
  }
}

/// |a - b|^2 in double: eight sums at once, added in a fixed order.
double squared_distance(const float* a, const float* b, std::int64_t n) {
  double sums[8] = {};
  std::int64_t t = 0;
  for (; t + 8 <= n; t += 8) {
    for (std::int64_t i = 0; i < 8; ++i) {
      const double difference = double{a[t + i]} - double{b[t + i]};
      sums[i] += difference * difference;
    }
  }
  for (; t < n; ++t) {
    const double difference = double{a[t]} - double{b[t]};
    sums[0] += difference * difference;
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

double vq_lookup(MatrixView<const float> latents,
                 MatrixView<const float> codebook,
                 std::span<const std::int32_t> indices,
                 MatrixView<float> quantised) {
  constexpr const char* kOp = "vq_lookup";
  const std::int64_t n = latents.rows;
  const std::int64_t d = codebook.cols;
  if (latents.cols != d) fail_argument(kOp, "latents", "the codebook's columns", latents.cols);
  if (quantised.rows != n || quantised.cols != d) {
    fail_argument(kOp, "quantised", "the shape of latents", "another");
  }
  if (ssize(indices) != n) fail_argument(kOp, "indices", n, ssize(indices));
  check_indices(kOp, indices, codebook.rows);
  std::vector<double> errors(static_cast<std::size_t>(n));
  parallel_for(static_cast<std::size_t>((n + kRows - 1) / kRows), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * kRows;
    for (std::int64_t i = first; i < std::min(first + kRows, n); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float* code = codebook.row(indices[at]);
      std::copy_n(code, d, quantised.row(i));
      errors[at] = squared_distance(code, latents.row(i), d);
    }
  });
  double sum = 0.0;
  for (const double error : errors) sum += error;
  return sum;
}

void vq_usage(std::span<const std::int32_t> indices, std::span<std::int64_t> counts) {
  check_indices("vq_usage", indices, ssize(counts));
  std::ranges::fill(counts, 0);
  for (const std::int32_t index : indices) ++counts[static_cast<std::size_t>(index)];
}

void vq_segment_sums(MatrixView<const float> latents,
                     std::span<const std::int32_t> indices,
                     std::span<const std::int64_t> counts,
                     MatrixView<float> sums) {
  constexpr const char* kOp = "vq_segment_sums";
  const std::int64_t n = latents.rows;
  if (ssize(indices) != n) fail_argument(kOp, "indices", n, ssize(indices));
  check_indices(kOp, indices, ssize(counts));
  const auto fail_counts = [] {
    fail_argument(kOp, "counts", "how often each index occurs", "others");
  };
  // places[j]: where the rows of code j begin in `order`; begins: those of the codes that occur
  std::vector<std::int64_t> places(counts.size() + 1);
  std::vector<std::int64_t> begins;
  for (std::size_t j = 0; j < counts.size(); ++j) {
    if (counts[j] < 0 || counts[j] > n - places[j]) fail_counts();
    if (counts[j] != 0) begins.push_back(places[j]);
    places[j + 1] = places[j] + counts[j];
  }
  begins.push_back(n);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::vector<std::int64_t> next(places.begin(), places.end());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto j = static_cast<std::size_t>(indices[static_cast<std::size_t>(i)]);
    if (next[j] == places[j + 1]) fail_counts();  // sooner or later, where counts are too few
    order[static_cast<std::size_t>(next[j]++)] = i;
  }
  const std::int64_t n_sums = std::ssize(begins) - 1;
  if (sums.rows != n_sums || sums.cols != latents.cols) {
    fail_argument(kOp, "sums", std::to_string(n_sums) + " rows of the latents' width", sums.rows);
  }
  constexpr std::int64_t kSums = 64;  // of a task
  parallel_for(static_cast<std::size_t>((n_sums + kSums - 1) / kSums), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * kSums;
    for (std::int64_t s = first; s < std::min(first + kSums, n_sums); ++s) {
      float* sum = sums.row(s);
      std::fill_n(sum, sums.cols, 0.0F);
      const auto at = static_cast<std::size_t>(s);
      for (std::int64_t i = begins[at]; i < begins[at + 1]; ++i) {
        const float* latent = latents.row(order[static_cast<std::size_t>(i)]);
        for (std::int64_t t = 0; t < sums.cols; ++t) sum[t] += latent[t];
      }
    }
  });
}

}  // namespace glc

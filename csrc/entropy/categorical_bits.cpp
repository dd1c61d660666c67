// SPDX-License-Identifier: Apache-2.0
// A row is read once: in runs that stay in the first cache, its sum of exponentials scaled anew
// whenever a run holds a larger logit. Nothing of the size of the logits is kept for the gradients,
// which need only the largest logit and that sum.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>
#include <string_view>

#include "core/thread_pool.h"
#include "entropy/categorical_kernel.h"
#include "entropy/entropy_check.h"
#include "entropy/runs.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

constexpr double kBitsPerNat = std::numbers::log2e;

template <class T>
void check_choices(std::string_view op,
                   const MatrixView<const T>& logits,
                   std::span<const std::int64_t> index,
                   const MatrixView<const float>& norms) {
  check_choices_shape(op, logits, index, norms);
  const auto odd =
      std::ranges::find_if(index, [&](std::int64_t j) { return j < 0 || j >= logits.cols; });
  if (odd != index.end()) {
    fail_argument(op, "index", "values in [0, " + std::to_string(logits.cols) + ")", *odd);
  }
}

struct Norm {
  float largest;
  double total;  // of exp(logit - largest); NaN when a logit is, or infinite, or all are -infinite
};

template <class T>
Norm norm_of(const CategoricalBackend& backend, const T* logits, std::int64_t n) {
  // finite, so that logits of -infinity differ from it by -infinity
  Norm norm{.largest = std::numeric_limits<float>::lowest(), .total = 0.0};
  InputRun<T> run;
  for (std::int64_t first = 0; first < n; first += kRun) {
    const std::int64_t size = std::min(kRun, n - first);
    const float* const in = run.unpadded(logits + first, size);
    float odd = 0.0F;
    const float largest = backend.largest(in, size, &odd);
    if (largest > norm.largest) {
      if (first > 0) {
        norm.total *= std::exp(static_cast<double>(norm.largest) - static_cast<double>(largest));
      }
      norm.largest = largest;
    }
    norm.total += backend.total(in, norm.largest, size);
  }
  constexpr double kSome = 0.5;  // the largest logit has 1
  if (norm.total < kSome) {
    norm.total = std::numeric_limits<double>::quiet_NaN();
  }
  return norm;
}

/// Where all share a row, its gradient: block by block, each of which adds up what its columns get.
template <class T>
void shared_backward(std::span<const float> grad,
                     const MatrixView<const T>& logits,
                     std::span<const std::int64_t> index,
                     const float* norm,
                     const MatrixView<T>& grad_logits) {
  constexpr std::int64_t kBlock = 4 * kRun;
  const CategoricalBackend backend = categorical_backend();
  const double all = std::accumulate(grad.begin(), grad.end(), 0.0);
  const auto factor = static_cast<float>(kBitsPerNat * all / static_cast<double>(norm[1]));
  const std::int64_t blocks = (logits.cols + kBlock - 1) / kBlock;
  parallel_for(static_cast<std::size_t>(blocks), [&](std::size_t block) {
    const std::int64_t begin = static_cast<std::int64_t>(block) * kBlock;
    double chosen[kBlock] = {};
    for (std::size_t i = 0; i < index.size(); ++i) {
      const std::int64_t j = index[i] - begin;
      if (j >= 0 && j < kBlock) {
        chosen[j] += static_cast<double>(grad[i]);
      }
    }
    const std::int64_t end = std::min(logits.cols, begin + kBlock);
    for (std::int64_t first = begin; first < end; first += kRun) {
      const std::int64_t n = std::min(kRun, end - first);
      InputRun<T> in;
      OutputRun<T> out;
      float* const to = out(grad_logits.data + first, n);
      backend.shares(in(logits.data + first, n), norm[0], factor, to, padded(n));
      for (std::int64_t j = 0; j < n; ++j) {
        to[j] -= static_cast<float>(kBitsPerNat * chosen[first - begin + j]);
      }
      out.flush();
    }
  });
}

}  // namespace

template <class T>
void categorical_bits(MatrixView<const T> logits,
                      std::span<const std::int64_t> index,
                      std::span<float> bits,
                      MatrixView<float> norms) {
  constexpr std::string_view kOp = "categorical_bits";
  constexpr std::int64_t kElements = 16384;  // of a task
  check_choices(kOp, logits, index, MatrixView<const float>(norms));
  check_size(kOp, "bits", index.size(), bits.size());
  const CategoricalBackend backend = categorical_backend();
  const auto write = [&](const Norm& norm, const T* row, std::size_t first, std::size_t end) {
    const double log_total = std::log2(norm.total);
    for (std::size_t i = first; i < end; ++i) {
      const double above =
          static_cast<double>(norm.largest) - static_cast<double>(to_float(row[index[i]]));
      const double exact = log_total + kBitsPerNat * above;
      bits[i] = static_cast<float>(exact < 0.0 ? 0.0 : exact);
    }
  };
  const std::int64_t step = std::max<std::int64_t>(1, kElements / logits.cols);
  parallel_for(static_cast<std::size_t>((logits.rows + step - 1) / step), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * step;
    for (std::int64_t row = first; row < std::min(logits.rows, first + step); ++row) {
      const Norm norm = norm_of(backend, logits.row(row), logits.cols);
      norms.row(row)[0] = norm.largest;
      norms.row(row)[1] = static_cast<float>(norm.total);
      const auto i = static_cast<std::size_t>(row);
      const bool shared = logits.rows == 1;
      write(norm, logits.row(row), shared ? 0 : i, shared ? index.size() : i + 1);
    }
  });
}

template <class T>
void categorical_bits_backward(std::span<const float> grad,
                               MatrixView<const T> logits,
                               std::span<const std::int64_t> index,
                               MatrixView<const float> norms,
                               MatrixView<T> grad_logits) {
  constexpr std::string_view kOp = "categorical_bits_backward";
  check_choices(kOp, logits, index, norms);
  check_size(kOp, "grad", index.size(), grad.size());
  check_shape(kOp, "grad_logits", logits, grad_logits);
  expect_fresh(grad_logits);
  if (logits.rows == 1) {
    shared_backward(grad, logits, index, norms.row(0), grad_logits);
    return;
  }
  const CategoricalBackend backend = categorical_backend();
  const Tasks tasks{.groups = 1, .rows = logits.rows, .cols = logits.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t n = last - first;
    InputRun<T> in;
    OutputRun<T> out;
    const auto i = static_cast<std::size_t>(row);
    const double of_row = kBitsPerNat * static_cast<double>(grad[i]);
    const auto factor = static_cast<float>(of_row / static_cast<double>(norms.row(row)[1]));
    float* const to = out(grad_logits.row(row) + first, n);
    backend.shares(in(logits.row(row) + first, n), norms.row(row)[0], factor, to, padded(n));
    if (index[i] >= first && index[i] < last) {
      to[index[i] - first] -= static_cast<float>(of_row);
    }
    out.flush();
  });
}

template void categorical_bits(MatrixView<const float>,
                               std::span<const std::int64_t>,
                               std::span<float>,
                               MatrixView<float>);
template void categorical_bits(MatrixView<const BFloat16>,
                               std::span<const std::int64_t>,
                               std::span<float>,
                               MatrixView<float>);
template void categorical_bits_backward(std::span<const float>,
                                        MatrixView<const float>,
                                        std::span<const std::int64_t>,
                                        MatrixView<const float>,
                                        MatrixView<float>);
template void categorical_bits_backward(std::span<const float>,
                                        MatrixView<const BFloat16>,
                                        std::span<const std::int64_t>,
                                        MatrixView<const float>,
                                        MatrixView<BFloat16>);

}  // namespace glc::entropy

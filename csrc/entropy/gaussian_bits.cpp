// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/cpu_features.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_bits_kernel.h"
#include "entropy/runs.h"
#include "entropy/vec_portable.h"
#include "glc/entropy.h"

namespace glc::entropy {
namespace {

constexpr std::int64_t kNoiseBlock = 64;

GaussianBitsBackend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force(Simd::kAvx512) == Simd::kAvx512) {
    return gaussian_bits_avx512();
  }
  if (simd_in_force() == Simd::kAvx2) {
    return gaussian_bits_avx2();
  }
#endif
  return GaussianBitsBackend::of<VecPortable>();
}

const GaussianBitsBackend& backend() {
  static const GaussianBitsBackend chosen = choose();
  return chosen;
}

/// The inputs of one run, as floats.
template <class T>
class Latents {
 public:
  Latents(const GaussianLatents<T>& in, std::optional<std::uint64_t> seed) : in_(in), seed_(seed) {}

  void load(std::int64_t row, std::int64_t first, std::int64_t n) {
    y = y_run_(in_.y.row(row) + first, n);
    mean = mean_run_(in_.mean.row(row) + first, n);
    scale = scale_run_(in_.scale.row(row) + first, n);
    if (seed_) {
      for (std::int64_t i = 0; i < n; i += kNoiseBlock) {
        const std::int64_t block = (first + i) / kNoiseBlock;
        backend().noise(
            *seed_, static_cast<std::uint64_t>(row), static_cast<std::uint64_t>(block), noise_ + i);
      }
      noise = noise_;
    }
  }

  const float* y = nullptr;
  const float* mean = nullptr;
  const float* scale = nullptr;
  const float* noise = nullptr;

 private:
  const GaussianLatents<T>& in_;
  std::optional<std::uint64_t> seed_;
  InputRun<T> y_run_;
  InputRun<T> mean_run_;
  InputRun<T> scale_run_;
  alignas(64) float noise_[kRun];
};

template <class T>
void check_latents(std::string_view op, const GaussianLatents<T>& in) {
  check_shape(op, "mean", in.y, in.mean);
  check_shape(op, "scale", in.y, in.scale);
}

std::int64_t rows_per_group(std::string_view op,
                            std::string_view argument,
                            std::int64_t rows,
                            std::int64_t groups) {
  if (groups == 0 ? rows != 0 : rows % groups != 0) {
    fail_argument(op, argument, "a divisor of " + std::to_string(rows) + " rows", groups);
  }
  return groups == 0 ? 0 : rows / groups;
}

}  // namespace

template <class T>
void gaussian_bits(const GaussianLatents<T>& in,
                   std::optional<std::uint64_t> noise_seed,
                   MatrixView<float> bits) {
  constexpr std::string_view kOp = "gaussian_bits";
  check_latents(kOp, in);
  check_shape(kOp, "bits", in.y, bits);
  expect_fresh(bits);
  const Tasks tasks{.groups = 1, .rows = in.y.rows, .cols = in.y.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    Latents<T> run(in, noise_seed);
    OutputRun<float> out;
    run.load(row, first, last - first);
    float* const to = out(bits.row(row) + first, last - first);
    backend().forward(run.y, run.mean, run.scale, run.noise, to, padded(last - first));
    out.flush();
  });
}

template <class T>
void gaussian_total_bits(const GaussianLatents<T>& in,
                         std::optional<std::uint64_t> noise_seed,
                         std::span<float> totals) {
  constexpr std::string_view kOp = "gaussian_total_bits";
  check_latents(kOp, in);
  const std::int64_t rows = rows_per_group(kOp, "totals", in.y.rows, ssize(totals));
  const Tasks tasks{.groups = ssize(totals), .rows = rows, .cols = in.y.cols};
  std::vector<double> partial(static_cast<std::size_t>(tasks.count()));
  tasks.for_each([&](std::int64_t task, std::int64_t row, std::int64_t first, std::int64_t last) {
    Latents<T> run(in, noise_seed);
    const std::int64_t n = last - first;
    run.load(row, first, n);
    partial[static_cast<std::size_t>(task)] +=
        backend().total(run.y, run.mean, run.scale, run.noise, padded(n), n);
  });
  for (std::int64_t group = 0; group < ssize(totals); ++group) {
    double total = 0.0;
    for (std::int64_t i = 0; i < tasks.per_group(); ++i) {
      total += partial[static_cast<std::size_t>(group * tasks.per_group() + i)];
    }
    totals[static_cast<std::size_t>(group)] = static_cast<float>(total);
  }
}

template <class T>
void gaussian_bits_backward(MatrixView<const float> grad,
                            const GaussianLatents<T>& in,
                            std::optional<std::uint64_t> noise_seed,
                            const GaussianGradients<T>& out) {
  constexpr std::string_view kOp = "gaussian_bits_backward";
  check_latents(kOp, in);
  const bool each = grad.rows == in.y.rows && grad.cols == in.y.cols;
  if (!each && grad.cols != 1) {
    fail_argument(kOp, "grad", "the shape of y, or one column", grad.cols);
  }
  const std::int64_t groups = each ? 1 : grad.rows;
  const std::int64_t rows = rows_per_group(kOp, "grad", in.y.rows, groups);
  for (const auto& [name, view] : {std::pair{"grad_y", out.y},
                                   std::pair{"grad_mean", out.mean},
                                   std::pair{"grad_scale", out.scale}}) {
    if (view.data != nullptr) {
      check_shape(kOp, name, in.y, view);
      expect_fresh(view);
    }
  }
  const auto place = [](MatrixView<T> view, std::int64_t row, std::int64_t first) {
    return view.data == nullptr ? nullptr : view.row(row) + first;
  };
  const Tasks tasks{.groups = groups, .rows = rows, .cols = in.y.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t n = last - first;
    Latents<T> run(in, noise_seed);
    InputRun<float> grad_run;
    OutputRun<T> y;
    OutputRun<T> mean;
    OutputRun<T> scale;
    run.load(row, first, n);
    alignas(64) float same[kRun];
    if (!each) {
      std::fill_n(same, padded(n), *grad.row(row / rows));
    }
    backend().backward(each ? grad_run(grad.row(row) + first, n) : same,
                       run.y,
                       run.mean,
                       run.scale,
                       run.noise,
                       y(place(out.y, row, first), n),
                       mean(place(out.mean, row, first), n),
                       scale(place(out.scale, row, first), n),
                       padded(n));
    y.flush();
    mean.flush();
    scale.flush();
  });
}

template void gaussian_bits(const GaussianLatents<float>&,
                            std::optional<std::uint64_t>,
                            MatrixView<float>);
template void gaussian_total_bits(const GaussianLatents<float>&,
                                  std::optional<std::uint64_t>,
                                  std::span<float>);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const GaussianLatents<float>&,
                                     std::optional<std::uint64_t>,
                                     const GaussianGradients<float>&);
template void gaussian_bits(const GaussianLatents<BFloat16>&,
                            std::optional<std::uint64_t>,
                            MatrixView<float>);
template void gaussian_total_bits(const GaussianLatents<BFloat16>&,
                                  std::optional<std::uint64_t>,
                                  std::span<float>);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const GaussianLatents<BFloat16>&,
                                     std::optional<std::uint64_t>,
                                     const GaussianGradients<BFloat16>&);

}  // namespace glc::entropy

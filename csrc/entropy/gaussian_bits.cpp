// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "core/cpu_features.h"
#include "entropy/entropy_check.h"
#include "entropy/gaussian_bits_loops.h"
#include "entropy/runs.h"
#include "entropy/short_rows.h"
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
#elif defined(__aarch64__)
  if (simd_in_force() == Simd::kNeon) {
    return gaussian_bits_neon();
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

  BitsRun load(std::int64_t row, std::int64_t first, std::int64_t n) {
    for (std::int64_t i = 0; seed_ && i < n; i += kNoiseBlock) {
      const std::int64_t block = (first + i) / kNoiseBlock;
      backend().noise(
          *seed_, static_cast<std::uint64_t>(row), static_cast<std::uint64_t>(block), noise_ + i);
    }
    return {.y = y_(in_.y.row(row) + first, n),
            .mean = mean_(in_.mean.row(row) + first, n),
            .scale = scale_(in_.scale.row(row) + first, n),
            .noise = seed_ ? noise_ : nullptr,
            .n = padded(n)};
  }

 private:
  const GaussianLatents<T>& in_;
  std::optional<std::uint64_t> seed_;
  InputRun<T> y_;
  InputRun<T> mean_;
  InputRun<T> scale_;
  alignas(64) float noise_[kRun];
};

template <class T>
T* place(const MatrixView<T>& view, std::int64_t row, std::int64_t first) {
  return view.data == nullptr ? nullptr : view.row(row) + first;
}

/// Where the gradients of one run go.
template <class T>
class Gradients {
 public:
  explicit Gradients(const GaussianGradients<T>& out) : out_(out) {}

  GradientsRun at(std::int64_t row, std::int64_t first, std::int64_t n) {
    return {.y = y_(place(out_.y, row, first), n),
            .mean = mean_(place(out_.mean, row, first), n),
            .scale = scale_(place(out_.scale, row, first), n)};
  }
  void flush() {
    y_.flush();
    mean_.flush();
    scale_.flush();
  }

 private:
  const GaussianGradients<T>& out_;
  OutputRun<T> y_;
  OutputRun<T> mean_;
  OutputRun<T> scale_;
};

/// The gradients of bits like `like`: one for each, or one for each group of rows.
class Grads {
 public:
  Grads(std::string_view op, MatrixView<const float> grad, std::int64_t rows, std::int64_t cols)
      : grad_(grad), each_(grad.rows == rows && grad.cols == cols) {
    if (!each_ && grad.cols != 1) {
      fail_argument(op, "grad", "the shape of y, or one column", grad.cols);
    }
    const std::int64_t groups = each_ ? 1 : grad.rows;
    tasks_ = {.groups = groups, .rows = rows_per_group(op, "grad", rows, groups), .cols = cols};
  }

  [[nodiscard]] const Tasks& tasks() const { return tasks_; }

  /// Whether rows can be joined, and what is then left of them.
  [[nodiscard]] bool can_join_rows() const {
    return tasks_.rows > 1 && (!each_ || can_join(grad_));
  }
  [[nodiscard]] std::int64_t fewest_rows() const { return tasks_.groups; }
  [[nodiscard]] MatrixView<const float> joined_grad() const {
    return each_ ? joined(grad_, fewest_rows()) : grad_;
  }

  /// Those of one run.
  class Run {
   public:
    const float* operator()(const Grads& from,
                            std::int64_t row,
                            std::int64_t first,
                            std::int64_t n) {
      if (from.each_) {
        return run_(from.grad_.row(row) + first, n);
      }
      std::fill_n(same_, padded(n), *from.grad_.row(row / from.tasks_.rows));
      return same_;
    }

   private:
    InputRun<float> run_;
    alignas(64) float same_[kRun];
  };

 private:
  MatrixView<const float> grad_;
  bool each_;
  Tasks tasks_{};
};

/// What is left of one run for the backward pass.
class Ahead {
 public:
  Ahead(std::string_view op, const GaussianAhead& ahead, std::int64_t rows)
      : ahead_(ahead), wanted_(ahead.wanted()) {
    if (!wanted_) return;
    if (ahead.grad.cols != 1) {
      fail_argument(op, "ahead", "one column of gradients", ahead.grad.cols);
    }
    rows_per_grad_ = rows_per_group(op, "ahead", rows, ahead.grad.rows);
  }

  /// Where the gradients of one run go.
  class Run {
   public:
    explicit Run(const Ahead& from) : from_(from), out_(from.ahead_.out) {}

    AheadRun at(std::int64_t row, std::int64_t first, std::int64_t n) {
      if (!from_.wanted_) return {};
      AheadRun run{.grad = *from_.ahead_.grad.row(row / from_.rows_per_grad_),
                   .out = out_.at(row, first, n)};
      if (from_.ahead_.out.mean.data == nullptr) run.out.mean = nullptr;
      return run;
    }
    void flush() { out_.flush(); }

   private:
    const Ahead& from_;
    Gradients<float> out_;
  };

 private:
  const GaussianAhead& ahead_;
  bool wanted_;
  std::int64_t rows_per_grad_ = 1;
};

template <class In, class Out>
void check_outputs(std::string_view op, MatrixView<In> like, const GaussianGradients<Out>& out) {
  check_gradients(op, like, out);
  expect_fresh(out.y);
  expect_fresh(out.mean);
  expect_fresh(out.scale);
}

template <class T>
void check_latents(std::string_view op, const GaussianLatents<T>& in) {
  check_shape(op, "mean", in.y, in.mean);
  check_shape(op, "scale", in.y, in.scale);
}

}  // namespace

template <class T>
void gaussian_bits(const GaussianLatents<T>& in,
                   std::optional<std::uint64_t> noise_seed,
                   MatrixView<float> bits,
                   const GaussianAhead& ahead) {
  constexpr std::string_view kOp = "gaussian_bits";
  check_latents(kOp, in);
  check_shape(kOp, "bits", in.y, bits);
  expect_fresh(bits);
  check_outputs(kOp, in.y, ahead.out);
  const Ahead left(kOp, ahead, in.y.rows);
  // noise follows from the row, so what has noise keeps its rows; here and below
  const std::int64_t fewest = ahead.wanted() ? ahead.grad.rows : 1;
  if (!noise_seed && in.y.rows > fewest && can_join(in) && can_join(bits) && can_join(ahead.out)) {
    return gaussian_bits(joined(in, fewest),
                         noise_seed,
                         joined(bits, fewest),
                         {ahead.grad, joined(ahead.out, fewest)});
  }
  const Tasks tasks{.groups = 1, .rows = in.y.rows, .cols = in.y.cols};
  tasks.for_each([&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t n = last - first;
    Latents<T> run(in, noise_seed);
    Ahead::Run to(left);
    OutputRun<float> out;
    backend().forward(run.load(row, first, n), out(bits.row(row) + first, n), to.at(row, first, n));
    out.flush();
    to.flush();
  });
}

template <class T>
void gaussian_total_bits(const GaussianLatents<T>& in,
                         std::optional<std::uint64_t> noise_seed,
                         std::span<float> totals,
                         const GaussianAhead& ahead) {
  constexpr std::string_view kOp = "gaussian_total_bits";
  check_latents(kOp, in);
  check_outputs(kOp, in.y, ahead.out);
  const Ahead left(kOp, ahead, in.y.rows);
  const std::int64_t rows = rows_per_group(kOp, "totals", in.y.rows, ssize(totals));
  const bool same_groups = !ahead.wanted() || ahead.grad.rows == ssize(totals);
  if (!noise_seed && rows > 1 && same_groups && can_join(in) && can_join(ahead.out)) {
    return gaussian_total_bits(joined(in, ssize(totals)),
                               noise_seed,
                               totals,
                               {ahead.grad, joined(ahead.out, ssize(totals))});
  }
  const Tasks tasks{.groups = ssize(totals), .rows = rows, .cols = in.y.cols};
  std::vector<double> partial(static_cast<std::size_t>(tasks.count()));
  tasks.for_each([&](std::int64_t task, std::int64_t row, std::int64_t first, std::int64_t last) {
    const std::int64_t n = last - first;
    Latents<T> run(in, noise_seed);
    Ahead::Run to(left);
    partial[static_cast<std::size_t>(task)] +=
        backend().total(run.load(row, first, n), n, to.at(row, first, n));
    to.flush();
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
  const Grads grads(kOp, grad, in.y.rows, in.y.cols);
  check_outputs(kOp, in.y, out);
  if (!noise_seed && grads.can_join_rows() && can_join(in) && can_join(out)) {
    const std::int64_t rows = grads.fewest_rows();
    return gaussian_bits_backward(
        grads.joined_grad(), joined(in, rows), noise_seed, joined(out, rows));
  }
  grads.tasks().for_each(
      [&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
        const std::int64_t n = last - first;
        Latents<T> run(in, noise_seed);
        Grads::Run grad_run;
        Gradients<T> to(out);
        backend().backward(
            run.load(row, first, n), grad_run(grads, row, first, n), to.at(row, first, n));
        to.flush();
      });
}

bool gaussian_bits_backward(MatrixView<const float> grad,
                            const GaussianSlopes& slopes,
                            const GaussianGradients<float>& out) {
  constexpr std::string_view kOp = "gaussian_bits_backward";
  const MatrixView<float> like = slopes.y.data != nullptr ? slopes.y : slopes.scale;
  if (slopes.scale.data != nullptr) check_shape(kOp, "slope_scale", like, slopes.scale);
  if (slopes.y.data == nullptr && (out.y.data != nullptr || out.mean.data != nullptr)) {
    fail_argument(kOp, "slope_y", "slopes for grad_y and grad_mean", "none");
  }
  if (slopes.scale.data == nullptr && out.scale.data != nullptr) {
    fail_argument(kOp, "slope_scale", "slopes for grad_scale", "none");
  }
  const Grads grads(kOp, grad, like.rows, like.cols);
  check_outputs(kOp, like, out);
  if (grads.can_join_rows() && can_join(slopes.y, slopes.scale) && can_join(out)) {
    const std::int64_t rows = grads.fewest_rows();
    const GaussianSlopes fewer{joined(slopes.y, rows), joined(slopes.scale, rows)};
    return gaussian_bits_backward(grads.joined_grad(), fewer, joined(out, rows));
  }
  std::atomic<bool> told = true;
  grads.tasks().for_each(
      [&](std::int64_t, std::int64_t row, std::int64_t first, std::int64_t last) {
        const std::int64_t n = last - first;
        InputRun<float> y;
        InputRun<float> scale;
        Grads::Run grad_run;
        Gradients<float> to(out);
        const auto load = [&](InputRun<float>& run, const MatrixView<float>& from) {
          return from.data == nullptr ? nullptr : run(from.row(row) + first, n);
        };
        if (!backend().scale_slopes({.y = load(y, slopes.y), .scale = load(scale, slopes.scale)},
                                    grad_run(grads, row, first, n),
                                    to.at(row, first, n),
                                    padded(n))) {
          told = false;
        }
        to.flush();
      });
  return told;
}

template void gaussian_bits(const GaussianLatents<float>&,
                            std::optional<std::uint64_t>,
                            MatrixView<float>,
                            const GaussianAhead&);
template void gaussian_total_bits(const GaussianLatents<float>&,
                                  std::optional<std::uint64_t>,
                                  std::span<float>,
                                  const GaussianAhead&);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const GaussianLatents<float>&,
                                     std::optional<std::uint64_t>,
                                     const GaussianGradients<float>&);
template void gaussian_bits(const GaussianLatents<BFloat16>&,
                            std::optional<std::uint64_t>,
                            MatrixView<float>,
                            const GaussianAhead&);
template void gaussian_total_bits(const GaussianLatents<BFloat16>&,
                                  std::optional<std::uint64_t>,
                                  std::span<float>,
                                  const GaussianAhead&);
template void gaussian_bits_backward(MatrixView<const float>,
                                     const GaussianLatents<BFloat16>&,
                                     std::optional<std::uint64_t>,
                                     const GaussianGradients<BFloat16>&);

}  // namespace glc::entropy

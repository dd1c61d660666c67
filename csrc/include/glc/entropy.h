// SPDX-License-Identifier: Apache-2.0
/// From float entropy parameters to what is coded: integer symbols, table rows, integer cdfs.
///
/// What the decoder recomputes here (rows, cdfs) uses only comparisons, correctly rounded
/// operations in a fixed order and integers, so every machine gets the same bits. What only the
/// encoder chooses (symbols) is sent, and need not repeat.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "glc/bfloat16.h"
#include "glc/views.h"

namespace glc::entropy {

/// Latents and their Gaussians, T being float or BFloat16: all [rows, cols], any row stride.
template <class T>
struct GaussianLatents {
  MatrixView<const T> y;
  MatrixView<const T> mean;
  MatrixView<const T> scale;
};

/// rows = number of bounds strictly below scale; 0 where scale is NaN or <= 0. By comparisons of
/// bit patterns, so exact and identical everywhere.
///   scale [rows, cols] f32, any row stride · bounds [r] f32, finite, > 0, strictly increasing,
///   r <= 255 · rows [rows, cols] u8, written
/// Throws InvalidArgument when shapes disagree or the bounds are not as above. Never allocates.
void gaussian_rows(MatrixView<const float> scale,
                   std::span<const float> bounds,
                   MatrixView<std::uint8_t> rows);

/// symbols = y - mean rounded half to even; rows as in gaussian_rows.
///   symbols [rows, cols] i32, rows [rows, cols] u8, written
/// Throws InvalidArgument when shapes disagree, when y, mean or scale holds a value that is not
/// finite, or when a symbol does not fit 32 bits. Never allocates.
void gaussian_symbols(const GaussianLatents<float>& in,
                      std::span<const float> bounds,
                      MatrixView<std::int32_t> symbols,
                      MatrixView<std::uint8_t> rows);

/// Where gradients go, [rows, cols] each; what has null data is not wanted.
template <class T>
struct GaussianGradients {
  MatrixView<T> y;
  MatrixView<T> mean;
  MatrixView<T> scale;
};

/// What a forward pass leaves for the backward pass: the gradients for a grad that is known by
/// then. What has null data is not wanted.
///   grad [n, 1] f32, one value for each group of rows · out written, [rows, cols] each
struct GaussianAhead {
  MatrixView<const float> grad;
  GaussianGradients<float> out;

  [[nodiscard]] bool wanted() const {
    return out.y.data != nullptr || out.mean.data != nullptr || out.scale.data != nullptr;
  }
};

/// The gradients for a grad of 1, by which those for another are computed in a moment;
/// [rows, cols] each. What has null data is not kept.
struct GaussianSlopes {
  MatrixView<float> y;
  MatrixView<float> scale;
};

/// Bits of each quantised latent under its Gaussian:
///   symbol = y - mean, rounded half to even, or plus noise from [-.5, .5) when there is a seed
///   P = Phi((symbol + .5) / scale) - Phi((symbol - .5) / scale), scale clamped to [1e-5, 1e10]
///   bits = max(0, -log2(P + 1e-5))
/// The noise of an element follows from seed, row and column (csrc/entropy/gaussian_bits_loops.h),
/// so the backward pass can repeat it and nothing has to be kept. NaN in, NaN out. Accurate to
/// about 1e-6 relative; not bit-exact between machines: an estimate for training, never for coding.
///   bits [rows, cols] f32, written · ahead.out written
/// Throws InvalidArgument when shapes disagree. Never allocates.
template <class T>
void gaussian_bits(const GaussianLatents<T>& in,
                   std::optional<std::uint64_t> noise_seed,
                   MatrixView<float> bits,
                   const GaussianAhead& ahead = {});

/// Their sums over groups of rows, which do not depend on the number of threads:
///   totals[g] = sum of bits over rows g * rows / n .. (g + 1) * rows / n - 1, in f64
///   totals [n] f32, written, n a divisor of rows · ahead.out written
/// Throws InvalidArgument when shapes disagree. Allocates 8 bytes per 16384 elements.
template <class T>
void gaussian_total_bits(const GaussianLatents<T>& in,
                         std::optional<std::uint64_t> noise_seed,
                         std::span<float> totals,
                         const GaussianAhead& ahead = {});

/// Gradients of both, rounding passed straight through:
///   grad_y = grad * d bits / d symbol · grad_mean = -grad_y · grad_scale = grad * d bits / d scale
/// grad_scale is 0 where scale was clamped; all are 0 where the bound at 0 replaced the bits and
/// grad >= 0: only a gradient that lifts the bits again passes the bound.
///   grad [rows, cols] f32, or [n, 1] with one value for each group of rows
/// Throws InvalidArgument when shapes disagree. Never allocates.
template <class T>
void gaussian_bits_backward(MatrixView<const float> grad,
                            const GaussianLatents<T>& in,
                            std::optional<std::uint64_t> noise_seed,
                            const GaussianGradients<T>& out);

/// The same gradients, bit for bit, from the slopes that a forward pass left; the two may share
/// memory. False when the slopes do not tell them, because some grad is negative or not finite:
/// then `out` holds nothing of use, and the latents have to be asked.
/// Throws as above. Never allocates.
[[nodiscard]] bool gaussian_bits_backward(MatrixView<const float> grad,
                                          const GaussianSlopes& slopes,
                                          const GaussianGradients<float>& out);

/// Bits of each index under its row of logits, T being float or BFloat16:
///   bits[i] = -log2 softmax(logits_i)[index[i]]
///   norms_i = the largest logit, and the sum of exp(logit - largest): for the gradients
///   logits [n, k], or [1, k] for one distribution that all share, k >= 1, any row stride
///   index [n] i64, in [0, k) · bits [n] f32, written · norms [rows of logits, 2] f32, written
/// Computed in f32, sums in f64 in an order that depends on k alone. Infinite where the index has a
/// logit of -infinity; NaN where a logit of the row is NaN or +infinity, or all are -infinity.
/// Accurate to about 1e-6; not bit-exact between machines.
/// Throws InvalidArgument when shapes disagree or an index is out of range. Never allocates.
template <class T>
void categorical_bits(MatrixView<const T> logits,
                      std::span<const std::int64_t> index,
                      std::span<float> bits,
                      MatrixView<float> norms);

/// Their gradients: grad_logits_ij = grad_i (softmax(logits_i)_j - (j == index[i] ? 1 : 0)) / ln 2,
/// summed over i, in order, where all share a row.
///   grad [n] f32 · norms as categorical_bits wrote them · grad_logits like logits, written
/// Throws as categorical_bits. Never allocates.
template <class T>
void categorical_bits_backward(std::span<const float> grad,
                               MatrixView<const T> logits,
                               std::span<const std::int64_t> index,
                               MatrixView<const float> norms,
                               MatrixView<T> grad_logits);

/// Integer cdf of softmax(logits), row by row. Exact and identical everywhere:
///   e_j = exp(logits_j - max) by a fixed polynomial in fused multiply-adds, as a multiple of 2^-30
///   cdf_j = j + floor(spare * (e_0 + .. + e_{j-1}) / (e_0 + .. + e_{k-1})), spare = 2^bits - k
/// so every frequency cdf_{j+1} - cdf_j is at least 1, cdf_0 = 0 and cdf_k = 2^bits.
///   logits [rows, k] f32, finite, k >= 1 · cdf [rows, k + 1] i32, written · bits 1..16, 2^bits >=
///   k
/// Throws InvalidArgument when shapes disagree, bits is out of range or a logit is not finite.
/// Never allocates.
void categorical_cdf(MatrixView<const float> logits,
                     std::int32_t bits,
                     MatrixView<std::int32_t> cdf);

/// The e_j of categorical_cdf: floor(2^30 exp(logits_j - max)), 0 below exp(-21). For tables that
/// need sums of them; identical everywhere.
///   logits [n] f32, finite, n >= 1 · weights [n] i32, written
/// Throws InvalidArgument when sizes disagree or a logit is not finite. Never allocates.
void categorical_weights(std::span<const float> logits, std::span<std::int32_t> weights);

}  // namespace glc::entropy

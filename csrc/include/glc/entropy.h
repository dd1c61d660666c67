// SPDX-License-Identifier: Apache-2.0
/// From float entropy parameters to what is coded: integer symbols, table rows, integer cdfs.
///
/// What the decoder recomputes here (rows, cdfs) uses only comparisons, correctly rounded
/// operations in a fixed order and integers, so every machine gets the same bits. What only the
/// encoder chooses (symbols) is sent, and need not repeat.
#pragma once

#include <cstdint>
#include <span>

#include "glc/views.h"

namespace glc::entropy {

/// rows[i] = number of bounds strictly below scale[i]; 0 when scale[i] is NaN or <= 0.
///   scale [n] f32 · bounds [r] f32, finite, > 0, strictly increasing, r <= 255 · rows [n] u8,
///   written
/// Throws InvalidArgument when sizes disagree or the bounds are not as above. Never allocates.
void gaussian_rows(std::span<const float> scale,
                   std::span<const float> bounds,
                   std::span<std::uint8_t> rows);

/// symbols[i] = y[i] - mean[i] rounded half to even; rows as in gaussian_rows.
///   y, mean, scale [n] f32 · bounds as in gaussian_rows · symbols [n] i32, rows [n] u8, written
/// Throws InvalidArgument when sizes disagree, when y, mean or scale holds a value that is not
/// finite, or when a symbol does not fit 32 bits. Never allocates.
void gaussian_symbols(std::span<const float> y,
                      std::span<const float> mean,
                      std::span<const float> scale,
                      std::span<const float> bounds,
                      std::span<std::int32_t> symbols,
                      std::span<std::uint8_t> rows);

/// Bits of each quantised latent under its Gaussian, with both slopes, in one pass:
///   symbol = y - mean, rounded half to even, or plus noise - .5 when there is noise
///   P = Phi((symbol + .5) / scale) - Phi((symbol - .5) / scale), scale clamped to [1e-5, 1e10]
///   bits[i] = max(0, -log2(P + 1e-5)); -0.0 marks a value that the bound at 0 replaced
///   by_symbol[i] = d bits / d symbol · by_scale[i] = d bits / d scale, 0 where scale was clamped;
///   both of the bits before the bound
/// NaN in, NaN out. Accurate to about 1e-6 relative; not bit-exact between machines: an estimate
/// for training, never for coding.
///   y, mean, scale [n] f32 · noise [n] f32 in [0, 1), or empty · bits [n] f32, written
///   by_symbol, by_scale [n] f32, written, or both empty
/// Throws InvalidArgument when sizes disagree. Never allocates.
void gaussian_bits(std::span<const float> y,
                   std::span<const float> mean,
                   std::span<const float> scale,
                   std::span<const float> noise,
                   std::span<float> bits,
                   std::span<float> by_symbol,
                   std::span<float> by_scale);

/// Gradients of gaussian_bits, given the gradient of its result and what it wrote:
///   grad_y = grad * by_symbol · grad_mean = -grad_y · grad_scale = grad * by_scale
/// all 0 where the bound at 0 replaced the bits and grad >= 0: only a gradient that lifts the bits
/// again passes the bound.
///   all [n] f32; the last three are written
/// Throws InvalidArgument when sizes disagree. Never allocates.
void gaussian_bits_backward(std::span<const float> grad,
                            std::span<const float> bits,
                            std::span<const float> by_symbol,
                            std::span<const float> by_scale,
                            std::span<float> grad_y,
                            std::span<float> grad_mean,
                            std::span<float> grad_scale);

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

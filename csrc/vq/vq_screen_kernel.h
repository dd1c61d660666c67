// SPDX-License-Identifier: Apache-2.0
// The 8-bit kernels, templates over the same Vec trait: rows to integers, and scores from integers
// with a bound on their error. vq_screen.cpp says what is proved; here is only the arithmetic.
//
//   latents [d4][2 * kWidth]  four bytes of one latent, with Vec::kOffset added, in each lane
//   codes   [n_codes][d4]     four signed bytes in each 32-bit word, which meets every lane
#pragma once

#include <cstdint>

#include "core/unrolled.h"

namespace glc {

/// What is fixed when a codebook is packed: centre, then an orthogonal map, both the same for codes
/// and latents. Signs, and a Walsh-Hadamard transform of the first `block` values and, where that
/// leaves some, of the last `block`.
struct VqRotation {
  const float* centre;  // [d]
  const float* signs;   // [d], +-1
  std::int64_t d;
  std::int64_t block;  // the largest power of two <= d
};

struct VqQuantiseParams {
  const float* const* rows;  // [kWidth]
  VqRotation rotation;
  float* work;  // [d][kWidth]
  float levels;
  std::int32_t offset;
  std::uint32_t* out;       // [d4] rows of kWidth words, out_stride words apart
  std::int64_t out_stride;  //
  // of each row, [kWidth]:
  float* scale;       // value of a unit
  float* norm;        // |row after rotation|^2
  float* error;       // |row after rotation - scale * integers|^2
  float* length;      // |integers|^2
  std::int32_t* sum;  // of the integers
};

/// Codes that may be the nearest to one latent, ascending, with upper bounds of their scores.
struct VqCandidates {
  static constexpr std::int32_t kCapacity = 256;
  static constexpr std::int32_t kLost = -1;  // as n: there were too many
  std::int32_t n;
  std::int32_t room;  // how many it may hold, at most kCapacity
  std::int32_t code[kCapacity];
  float upper[kCapacity];
};

/// Adds one; when there is no room, drops those that `threshold` has meanwhile ruled out; when that
/// frees less than a quarter, gives the list up and raises `threshold` above every score.
void vq_keep(VqCandidates& list, float upper, std::int32_t code, float& threshold);

struct VqScreenParams {
  const std::uint32_t* latents;
  const std::uint32_t* codes;
  std::int64_t d4;
  std::int64_t n_groups;      // of kScreenCodes codes
  const float* scale;         // of each code
  const float* half_norm;     // of each code
  const std::int32_t* bias;   // of each code: takes out the latents' offset
  const float* group_norm;    // of each group: the largest |c|
  const float* group_error;   // of each group: the largest quantisation error
  const float* latent_scale;  // of each latent
  const float* latent_error;
  const float* latent_length;
  const float* slack;
  float* threshold;          // of each latent: no code whose upper bound is less can win
  VqCandidates* candidates;  // of each latent
  std::int32_t first_code;
  bool narrow;  // only the first half of the panel holds latents
};

template <class Vec>
struct VqScreenKernel {
  using Float = typename Vec::Float;
  using Int = typename Vec::Int;
  static constexpr int kWidth = Vec::kWidth;
  static constexpr int kCodes = Vec::kScreenCodes;
  static constexpr std::int64_t kPanelRows = 2 * kWidth;

  // ---------------------------------------------------------------- rows to integers

  static void butterflies(float* work, std::int64_t block) {
    const Float minus = Vec::broadcast(-1.0F);
    const Float plus = Vec::broadcast(1.0F);
    for (std::int64_t length = 1; length < block; length *= 2) {
      for (std::int64_t i = 0; i < block; i += 2 * length) {
        for (std::int64_t t = i; t < i + length; ++t) {
          float* low = work + t * kWidth;
          float* high = low + length * kWidth;
          const Float a = Vec::load(low);
          const Float b = Vec::load(high);
          Vec::store(low, Vec::fma(b, plus, a));
          Vec::store(high, Vec::fma(b, minus, a));
        }
      }
    }
  }

  static void rotate(const VqQuantiseParams& p) {
    const VqRotation& r = p.rotation;
    for (int i = 0; i < kWidth; ++i) {
      const float* row = p.rows[i];
      for (std::int64_t t = 0; t < r.d; ++t) {
        p.work[t * kWidth + i] = (row[t] - r.centre[t]) * r.signs[t];
      }
    }
    butterflies(p.work, r.block);
    const Float shrink = Vec::broadcast(1.0F / __builtin_sqrtf(static_cast<float>(r.block)));
    scale(p.work, r.block, shrink);
    if (r.block < r.d) {
      float* last = p.work + (r.d - r.block) * kWidth;
      butterflies(last, r.block);
      scale(last, r.block, shrink);
    }
  }

  static void scale(float* work, std::int64_t n, Float by) {
    const Float zero = Vec::broadcast(0.0F);
    for (std::int64_t t = 0; t < n; ++t) {
      Vec::store(work + t * kWidth, Vec::fma(Vec::load(work + t * kWidth), by, zero));
    }
  }

  /// The unit of each row and its inverse: both 0 for a row of next to nothing.
  static void units(const VqQuantiseParams& p, Float most, float* inverse) {
    constexpr float kNothing = 1e-30F;
    float magnitude[kWidth];
    Vec::store(magnitude, most);
    for (int i = 0; i < kWidth; ++i) {
      const bool some = magnitude[i] > kNothing;
      p.scale[i] = some ? magnitude[i] / p.levels : 0.0F;
      inverse[i] = some ? p.levels / magnitude[i] : 0.0F;
    }
  }

  static void quantise(const VqQuantiseParams& p) {
    rotate(p);
    const Float zero = Vec::broadcast(0.0F);
    const Float minus = Vec::broadcast(-1.0F);
    Float most = zero;
    Float norm = zero;
    for (std::int64_t t = 0; t < p.rotation.d; ++t) {
      const Float x = Vec::load(p.work + t * kWidth);
      most = Vec::larger(x, Vec::larger(Vec::fma(x, minus, zero), most));
      norm = Vec::fma(x, x, norm);
    }
    Vec::store(p.norm, norm);
    float inverse_of[kWidth];
    units(p, most, inverse_of);
    const Float inverse = Vec::load(inverse_of);
    const Float minus_unit = Vec::fma(Vec::load(p.scale), minus, zero);
    Float error = zero;
    Float length = zero;
    Int sum = Vec::broadcast_int(0);
    for (std::int64_t t = 0; t < p.rotation.d; t += 4) {
      Int word = Vec::broadcast_int(0);
      for (int byte = 0; byte < 4; ++byte) {
        Int q = Vec::broadcast_int(0);
        if (t + byte < p.rotation.d) {
          const Float x = Vec::load(p.work + (t + byte) * kWidth);
          q = Vec::round(Vec::fma(x, inverse, zero));
          const Float whole = Vec::to_float(q);
          const Float missed = Vec::fma(whole, minus_unit, x);
          error = Vec::fma(missed, missed, error);
          length = Vec::fma(whole, whole, length);
          sum = Vec::add_int(sum, q);
        }
        word = Vec::put_byte(word, Vec::add_int(q, Vec::broadcast_int(p.offset)), byte);
      }
      Vec::store_int(reinterpret_cast<std::int32_t*>(p.out + t / 4 * p.out_stride), word);
    }
    Vec::store(p.error, error);
    Vec::store(p.length, length);
    Vec::store_int(p.sum, sum);
  }

  // ---------------------------------------------------------------- scores from integers

  /// The rare part: some code of the group may be nearest to some latent of this half.
  [[gnu::noinline]] static void keep(const VqScreenParams& p,
                                     const float* score,  // [kCodes][kWidth]
                                     Float most,
                                     Float error,
                                     std::int32_t code,
                                     int half,
                                     Float& threshold) {
    float* bound = p.threshold + half * kWidth;
    Vec::store(bound, threshold);
    float errors[kWidth];
    Vec::store(errors, error);
    const Float cut = Vec::fma(error, Vec::broadcast(-1.0F), threshold);
    for (std::uint32_t lanes = Vec::not_less(most, cut); lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      for (int c = 0; c < kCodes; ++c) {
        const float upper = score[c * kWidth + lane] + errors[lane];
        if (upper >= bound[lane]) {
          vq_keep(p.candidates[half * kWidth + lane], upper, code + c, bound[lane]);
        }
      }
    }
    threshold = Vec::load(bound);
  }

  /// Raises the threshold by the scores of a group, and keeps the codes that it leaves. Inlined at
  /// any price: an array of sums that a call could see would live in memory.
  template <int kHalf, int kHalves>
  [[gnu::always_inline]] static void judge(const VqScreenParams& p,
                                           std::int64_t g,
                                           const Int (&sum)[kCodes][kHalves],
                                           Float& threshold) {
    const Float minus = Vec::broadcast(-1.0F);
    const Float zero = Vec::broadcast(0.0F);
    const std::int64_t j = g * kCodes;
    const Float unit = Vec::load(p.latent_scale + kHalf * kWidth);
    Float score[kCodes];
    Float most = Vec::broadcast(-__builtin_inff());
    unrolled<kCodes>([&](int c) {
      const Float dot = Vec::fma(Vec::to_float(sum[c][kHalf]), unit, zero);
      score[c] = Vec::fma(dot, Vec::broadcast(p.scale[j + c]), Vec::broadcast(p.half_norm[j + c]));
      most = Vec::larger(score[c], most);
    });
    const Float error = Vec::fma(Vec::load(p.latent_error + kHalf * kWidth),
                                 Vec::broadcast(p.group_norm[g]),
                                 Vec::fma(Vec::load(p.latent_length + kHalf * kWidth),
                                          Vec::broadcast(p.group_error[g]),
                                          Vec::load(p.slack + kHalf * kWidth)));
    threshold = Vec::larger(Vec::fma(error, minus, most), threshold);
    const Float cut = Vec::fma(error, minus, threshold);
    if (Vec::not_less(most, cut) != 0) {
      float scores[kCodes * kWidth];
      unrolled<kCodes>([&](int c) { Vec::store(scores + c * kWidth, score[c]); });
      keep(p, scores, most, error, static_cast<std::int32_t>(p.first_code + j), kHalf, threshold);
    }
  }

  template <int kHalves>
  static void group(const VqScreenParams& p, std::int64_t g, Float* threshold) {
    Int sum[kCodes][kHalves];
    const std::int64_t j = g * kCodes;
    unrolled<kCodes>([&](int c) {
      const Int bias = Vec::broadcast_int(p.bias[j + c]);
      unrolled<kHalves>([&](int h) { sum[c][h] = bias; });
    });
    const std::uint32_t* code = p.codes + j * p.d4;
    const std::uint32_t* latents = p.latents;
    for (std::int64_t t = 0; t < p.d4; ++t, latents += kPanelRows) {
      Int latent[kHalves];
      unrolled<kHalves>([&](int h) {
        latent[h] = Vec::load_int(reinterpret_cast<const std::int32_t*>(latents + h * kWidth));
      });
      unrolled<kCodes>([&](int c) {
        const auto four = Vec::word(static_cast<std::int32_t>(code[c * p.d4 + t]));
        unrolled<kHalves>([&](int h) { sum[c][h] = Vec::dot4(sum[c][h], latent[h], four); });
      });
    }
    judge<0>(p, g, sum, threshold[0]);
    if constexpr (kHalves == 2) judge<1>(p, g, sum, threshold[1]);
  }

  template <int kHalves>
  static void panel(const VqScreenParams& p) {
    Float threshold[kHalves];
    unrolled<kHalves>([&](int h) { threshold[h] = Vec::load(p.threshold + h * kWidth); });
    for (std::int64_t g = 0; g < p.n_groups; ++g) {
      group<kHalves>(p, g, threshold);
    }
    unrolled<kHalves>([&](int h) { Vec::store(p.threshold + h * kWidth, threshold[h]); });
  }

  static void screen(const VqScreenParams& p) { p.narrow ? panel<1>(p) : panel<2>(p); }
};

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
// The float search kernel, a template over a Vec trait, one instantiation per instruction set.
//
// Latents, not codes, fill the vectors: a panel of 2 * kWidth latents is transposed once, and each
// code value multiplies all their lanes straight from the codebook, which therefore needs no
// packing. Every score is one fused chain over the dimensions in ascending order, whatever the
// vector width, so every instantiation returns the same index.
//
//   panel [d][2 * kWidth]        code rows j .. j + kCodes - 1, each [d]
//   score[c][half] += panel[t][half] * code[c][t]
//
// Codes are visited in ascending order and only a strictly larger score replaces the best one: the
// smallest index wins a tie. Most groups of codes hold no better score for any latent, which one
// maximum per score and one comparison per group tell.
#pragma once

#include <cstdint>

#include "core/unrolled.h"

namespace glc {

struct VqBlockParams {
  const float* panel;       // [d][panel_rows], transposed latents
  const float* codes;       // [n_codes][d], row stride code_stride
  const float* half_norms;  // [n_codes], -|c|^2 / 2
  float* best;              // [panel_rows], best score so far
  std::int32_t* index;      // [panel_rows], its code
  std::int64_t d;
  std::int64_t code_stride;
  std::int64_t n_codes;
  std::int32_t first_code;  // number of codes[0]
  bool narrow;              // only the first half of the panel holds latents
};

/// Scores of n pairs of rows, chains as in vq.h.
struct VqPairParams {
  const float* const* latents;
  const float* const* codes;
  const float* half_norms;  // of each pair's code
  float* scores;            // written
  std::int64_t n;
  std::int64_t d;
};

template <class Vec>
struct VqKernel {
  using Float = typename Vec::Float;
  using Int = typename Vec::Int;
  static constexpr std::int64_t kPanelRows = 2 * Vec::kWidth;

  template <int kCodes, int kHalves>
  static void group(const VqBlockParams& p, std::int64_t j, Float* best, Int* index) {
    Float score[kCodes][kHalves];
    const float* code = p.codes + j * p.code_stride;
    unrolled<kCodes>([&](int c) {
      const Float half_norm = Vec::broadcast(p.half_norms[j + c]);
      unrolled<kHalves>([&](int h) { score[c][h] = half_norm; });
    });
    const float* panel = p.panel;
    for (std::int64_t t = 0; t < p.d; ++t, panel += kPanelRows) {
      Float latent[kHalves];
      unrolled<kHalves>([&](int h) { latent[h] = Vec::load(panel + h * Vec::kWidth); });
      unrolled<kCodes>([&](int c) {
        const auto value = Vec::value(code[c * p.code_stride + t]);
        unrolled<kHalves>([&](int h) { score[c][h] = Vec::fma(latent[h], value, score[c][h]); });
      });
    }
    const auto number = static_cast<std::int32_t>(p.first_code + j);
    unrolled<kHalves>([&](int h) {
      Float most = Vec::broadcast(kLowest);
      unrolled<kCodes>([&](int c) { most = Vec::larger(score[c][h], most); });
      if (Vec::not_less(most, best[h]) != 0) {
        unrolled<kCodes>(
            [&](int c) { Vec::keep_larger(score[c][h], number + c, best[h], index[h]); });
      }
    });
  }

  template <int kHalves>
  static void panel(const VqBlockParams& p) {
    Float best[kHalves];
    Int index[kHalves];
    unrolled<kHalves>([&](int h) {
      best[h] = Vec::load(p.best + h * Vec::kWidth);
      index[h] = Vec::load_int(p.index + h * Vec::kWidth);
    });
    std::int64_t j = 0;
    for (; j + Vec::kCodes <= p.n_codes; j += Vec::kCodes) {
      group<Vec::kCodes, kHalves>(p, j, best, index);
    }
    for (; j < p.n_codes; ++j) {
      group<1, kHalves>(p, j, best, index);
    }
    unrolled<kHalves>([&](int h) {
      Vec::store(p.best + h * Vec::kWidth, best[h]);
      Vec::store_int(p.index + h * Vec::kWidth, index[h]);
    });
  }

  static void block(const VqBlockParams& p) { p.narrow ? panel<1>(p) : panel<2>(p); }

  /// n chains at a time, so that their latencies overlap.
  template <int kChains>
  static void pairs(const VqPairParams& p, std::int64_t first) {
    float sum[kChains];
    const float* latent[kChains];
    const float* code[kChains];
    unrolled<kChains>([&](int c) {
      sum[c] = p.half_norms[first + c];
      latent[c] = p.latents[first + c];
      code[c] = p.codes[first + c];
    });
    for (std::int64_t t = 0; t < p.d; ++t) {
      unrolled<kChains>([&](int c) { sum[c] = Vec::fma_one(latent[c][t], code[c][t], sum[c]); });
    }
    unrolled<kChains>([&](int c) { p.scores[first + c] = sum[c]; });
  }

  static void pair_scores(const VqPairParams& p) {
    std::int64_t i = 0;
    for (; i + 8 <= p.n; i += 8) pairs<8>(p, i);
    for (; i + 2 <= p.n; i += 2) pairs<2>(p, i);
    for (; i < p.n; ++i) pairs<1>(p, i);
  }

  /// out[j] = -|codes[j]|^2 / 2, a few fused chains at a time so that their latencies overlap.
  static void half_norms(const float* codes,
                         std::int64_t code_stride,
                         std::int64_t n_codes,
                         std::int64_t d,
                         float* out) {
    constexpr int kChains = 8;
    std::int64_t j = 0;
    for (; j + kChains <= n_codes; j += kChains) {
      float sum[kChains] = {};
      const float* code = codes + j * code_stride;
      for (std::int64_t t = 0; t < d; ++t) {
        unrolled<kChains>([&](int c) {
          const float value = code[c * code_stride + t];
          sum[c] = Vec::fma_one(value, value, sum[c]);
        });
      }
      unrolled<kChains>([&](int c) { out[j + c] = -0.5F * sum[c]; });
    }
    for (; j < n_codes; ++j) {
      float sum = 0.0F;
      for (std::int64_t t = 0; t < d; ++t) {
        const float value = codes[j * code_stride + t];
        sum = Vec::fma_one(value, value, sum);
      }
      out[j] = -0.5F * sum;
    }
  }

 private:
  static constexpr float kLowest = -__builtin_inff();
};

}  // namespace glc

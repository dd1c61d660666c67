// SPDX-License-Identifier: Apache-2.0
// The search kernel, a template over a Vec trait, one instantiation per instruction set.
//
// Latents, not codes, fill the vectors: a panel of 2 * kWidth latents is transposed once, and each
// code value is broadcast straight from the codebook, which therefore needs no packing. Every score
// is one fused chain over the dimensions in ascending order, whatever the vector width, so every
// instantiation returns the same index.
//
//   panel [d][2 * kWidth]        code rows j .. j + kCodes - 1, each [d]
//   score[c][half] += panel[t][half] * code[c][t]
//
// Codes are visited in ascending order and only a strictly larger score replaces the best one: the
// smallest index wins a tie.
#pragma once

#include <cstdint>

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
};

template <class Vec>
struct VqKernel {
  using Float = typename Vec::Float;
  using Int = typename Vec::Int;
  static constexpr int kHalves = 2;
  static constexpr std::int64_t kPanelRows = kHalves * Vec::kWidth;

  template <int kCodes>
  static void group(const VqBlockParams& p, std::int64_t j, Float* best, Int* index) {
    Float score[kCodes][kHalves];
    const float* code[kCodes];
    for (int c = 0; c < kCodes; ++c) {
      code[c] = p.codes + (j + c) * p.code_stride;
      for (int h = 0; h < kHalves; ++h) {
        score[c][h] = Vec::broadcast(p.half_norms[j + c]);
      }
    }
    const float* panel = p.panel;
    for (std::int64_t t = 0; t < p.d; ++t, panel += kPanelRows) {
      Float latent[kHalves];
      for (int h = 0; h < kHalves; ++h) {
        latent[h] = Vec::load(panel + h * Vec::kWidth);
      }
      for (int c = 0; c < kCodes; ++c) {
        const Float value = Vec::broadcast(code[c][t]);
        for (int h = 0; h < kHalves; ++h) {
          score[c][h] = Vec::fma(latent[h], value, score[c][h]);
        }
      }
    }
    for (int c = 0; c < kCodes; ++c) {
      const auto number = static_cast<std::int32_t>(p.first_code + j + c);
      for (int h = 0; h < kHalves; ++h) {
        Vec::keep_larger(score[c][h], number, best[h], index[h]);
      }
    }
  }

  static void block(const VqBlockParams& p) {
    Float best[kHalves];
    Int index[kHalves];
    for (int h = 0; h < kHalves; ++h) {
      best[h] = Vec::load(p.best + h * Vec::kWidth);
      index[h] = Vec::load_int(p.index + h * Vec::kWidth);
    }
    std::int64_t j = 0;
    for (; j + Vec::kCodes <= p.n_codes; j += Vec::kCodes) {
      group<Vec::kCodes>(p, j, best, index);
    }
    for (; j < p.n_codes; ++j) {
      group<1>(p, j, best, index);
    }
    for (int h = 0; h < kHalves; ++h) {
      Vec::store(p.best + h * Vec::kWidth, best[h]);
      Vec::store_int(p.index + h * Vec::kWidth, index[h]);
    }
  }

  /// out[j] = -|codes[j]|^2 / 2, kWidth fused chains at a time so that their latencies overlap.
  static void half_norms(const float* codes,
                         std::int64_t code_stride,
                         std::int64_t n_codes,
                         std::int64_t d,
                         float* out) {
    constexpr int kChains = 8;
    std::int64_t j = 0;
    for (; j + kChains <= n_codes; j += kChains) {
      float sum[kChains] = {};
      for (std::int64_t t = 0; t < d; ++t) {
        for (int c = 0; c < kChains; ++c) {
          const float value = codes[(j + c) * code_stride + t];
          sum[c] = Vec::fma_one(value, value, sum[c]);
        }
      }
      for (int c = 0; c < kChains; ++c) {
        out[j + c] = -0.5F * sum[c];
      }
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
};

/// One instruction set's kernel, as the driver in vq_cpu.cpp calls it.
struct VqBackend {
  std::int64_t panel_rows;
  void (*block)(const VqBlockParams&);
  void (*half_norms)(const float*, std::int64_t, std::int64_t, std::int64_t, float*);
};

VqBackend vq_backend_avx2();

}  // namespace glc

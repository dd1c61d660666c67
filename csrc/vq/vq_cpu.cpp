// SPDX-License-Identifier: Apache-2.0
// The driver: packs latents into panels, walks the codebook in blocks that stay in the second-level
// cache while every panel passes over them, and leaves the arithmetic to one backend.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/cpu_features.h"
#include "glc/vq.h"
#include "vq/vq_check.h"
#include "vq/vq_kernel.h"

namespace glc {
namespace {

/// Any target. std::fma is one instruction where the target has it (AArch64), and a correct library
/// call where it has not: slow, but the same index.
struct Portable {
  static constexpr int kWidth = 4;
  static constexpr int kCodes = 4;
  using Float = std::array<float, kWidth>;
  using Int = std::array<std::int32_t, kWidth>;

  static Float load(const float* p) { return {p[0], p[1], p[2], p[3]}; }
  static void store(float* p, const Float& v) { std::ranges::copy(v, p); }
  static Int load_int(const std::int32_t* p) { return {p[0], p[1], p[2], p[3]}; }
  static void store_int(std::int32_t* p, const Int& v) { std::ranges::copy(v, p); }
  static Float broadcast(float v) { return {v, v, v, v}; }
  static float fma_one(float a, float b, float c) { return std::fma(a, b, c); }
  static Float fma(const Float& a, const Float& b, const Float& c) {
    return {std::fma(a[0], b[0], c[0]),
            std::fma(a[1], b[1], c[1]),
            std::fma(a[2], b[2], c[2]),
            std::fma(a[3], b[3], c[3])};
  }
  static void keep_larger(const Float& score, std::int32_t number, Float& best, Int& index) {
    for (std::size_t lane = 0; lane < kWidth; ++lane) {
      if (score[lane] > best[lane]) {
        best[lane] = score[lane];
        index[lane] = number;
      }
    }
  }
};

VqBackend choose() {
#ifdef GLC_X86_SIMD
  if (simd_in_force() >= Simd::kAvx2) {
    return vq_backend_avx2();  // measured: 16-wide vectors gain nothing here
  }
#endif
  using Kernel = VqKernel<Portable>;
  return {
      .panel_rows = Kernel::kPanelRows, .block = &Kernel::block, .half_norms = &Kernel::half_norms};
}

const VqBackend& backend() {
  static const VqBackend chosen = choose();
  return chosen;
}

constexpr std::int64_t kBlockBytes = 128 * 1024;  // of the codebook; leaves L2 room for a panel
constexpr std::int64_t kWholeGroups = 12;         // a multiple of every backend's kCodes

std::int64_t codes_per_block(std::int64_t k, std::int64_t d) {
  const std::int64_t row_bytes = std::max<std::int64_t>(d, 1) * std::int64_t{sizeof(float)};
  const std::int64_t groups = std::max<std::int64_t>(kBlockBytes / row_bytes / kWholeGroups, 1);
  return std::min(groups * kWholeGroups, k);
}

std::int64_t padded_rows(std::int64_t n) {
  const std::int64_t rows = backend().panel_rows;
  return (n + rows - 1) / rows * rows;
}

struct Workspace {
  float* panels;        // [padded / panel_rows][d][panel_rows]
  float* best;          // [padded]
  float* half_norms;    // [codes_per_block]
  std::int32_t* index;  // [padded]
};

Workspace split(std::span<std::byte> bytes, std::int64_t n, std::int64_t k, std::int64_t d) {
  const std::int64_t padded = padded_rows(n);
  auto* floats = reinterpret_cast<float*>(bytes.data());
  float* best = floats + padded * d;
  float* half_norms = best + padded;
  return {.panels = floats,
          .best = best,
          .half_norms = half_norms,
          .index = reinterpret_cast<std::int32_t*>(half_norms + codes_per_block(k, d))};
}

void pack(MatrixView<const float> latents, float* panels) {
  const std::int64_t rows = backend().panel_rows;
  for (std::int64_t first = 0; first < latents.rows; first += rows) {
    const std::int64_t n = std::min(rows, latents.rows - first);
    float* panel = panels + first * latents.cols;
    if (n < rows) {
      std::fill_n(panel, rows * latents.cols, 0.0F);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const float* latent = latents.row(first + i);
      for (std::int64_t t = 0; t < latents.cols; ++t) {
        panel[t * rows + i] = latent[t];
      }
    }
  }
}

}  // namespace

std::size_t vq_nearest_workspace_bytes(std::int64_t n, std::int64_t k, std::int64_t d) {
  const std::int64_t padded = padded_rows(n);
  return static_cast<std::size_t>(padded * d + padded + codes_per_block(k, d)) * sizeof(float) +
         static_cast<std::size_t>(padded) * sizeof(std::int32_t);
}

void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices,
                std::span<std::byte> workspace) {
  check_vq_nearest(latents, codebook, indices);
  const std::int64_t n = latents.rows;
  const std::int64_t k = codebook.rows;
  const std::int64_t d = latents.cols;
  const std::size_t n_bytes = vq_nearest_workspace_bytes(n, k, d);
  if (workspace.size() < n_bytes) {
    fail_argument("vq_nearest",
                  "workspace",
                  "at least " + std::to_string(n_bytes) + " bytes",
                  workspace.size());
  }
  if (n == 0) {
    return;
  }
  const VqBackend& use = backend();
  const Workspace scratch = split(workspace, n, k, d);
  const std::int64_t padded = padded_rows(n);
  pack(latents, scratch.panels);
  std::fill_n(scratch.best, padded, -std::numeric_limits<float>::infinity());
  std::fill_n(scratch.index, padded, 0);
  const std::int64_t n_block = codes_per_block(k, d);
  for (std::int64_t j = 0; j < k; j += n_block) {
    const std::int64_t n_codes = std::min(n_block, k - j);
    use.half_norms(codebook.row(j), codebook.row_stride, n_codes, d, scratch.half_norms);
    for (std::int64_t first = 0; first < n; first += use.panel_rows) {
      use.block({.panel = scratch.panels + first * d,
                 .codes = codebook.row(j),
                 .half_norms = scratch.half_norms,
                 .best = scratch.best + first,
                 .index = scratch.index + first,
                 .d = d,
                 .code_stride = codebook.row_stride,
                 .n_codes = n_codes,
                 .first_code = static_cast<std::int32_t>(j)});
    }
  }
  std::copy_n(scratch.index, n, indices.data());
}

}  // namespace glc

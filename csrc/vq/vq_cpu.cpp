// SPDX-License-Identifier: Apache-2.0
// The drivers: what is prepared from a codebook, how a search is cut into tasks, and the float way,
// which walks the codebook in blocks that stay in the second-level cache while every panel of
// latents passes over them.
#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>
#include <mutex>
#include <vector>

#include "core/thread_pool.h"
#include "glc/threads.h"
#include "glc/vq.h"
#include "vq/vq_backend.h"
#include "vq/vq_check.h"
#include "vq/vq_packed.h"
#include "vq/vq_search.h"

namespace glc {
namespace {

constexpr std::int64_t kBlockBytes = 128 * 1024;  // of the codebook
constexpr float kLowest = -std::numeric_limits<float>::infinity();

constexpr std::int64_t rounded_up(std::int64_t n, std::int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/// Into zeros, which stay where the panel has fewer rows.
void pack_panel(std::span<const float* const> rows, std::int64_t d, float* panel) {
  const std::int64_t width = vq_backend().exact.panel_rows;
  for (std::int64_t i = 0; i < ssize(rows); ++i) {
    const float* latent = rows[static_cast<std::size_t>(i)];
    for (std::int64_t t = 0; t < d; ++t) {
      panel[t * width + i] = latent[t];
    }
  }
}

// ---------------------------------------------------------------- tasks

/// Rows over threads; where there are few rows, codes too.
struct Plan {
  std::int64_t chunk_rows;
  std::int64_t n_chunks;
  std::int64_t slice_codes;
  std::int64_t n_slices;
};

Plan plan(std::int64_t n, std::int64_t k, std::int64_t code_unit) {
  const std::int64_t unit = vq_backend().exact.panel_rows;
  const std::int64_t panels = rounded_up(n, unit) / unit;
  const std::int64_t n_threads = threads();
  constexpr std::int64_t kPanelsPerThread = 4;  // fewer would leave a thread idle for long
  std::int64_t n_chunks = rounded_up(n, kVqChunkRows) / kVqChunkRows;
  std::int64_t n_slices = 1;
  if (panels >= kPanelsPerThread * n_threads) {
    n_chunks = rounded_up(n_chunks, n_threads);
  } else {
    n_slices = rounded_up(n_threads, n_chunks) / n_chunks;
  }
  const std::int64_t chunk_rows = rounded_up(panels, n_chunks) / n_chunks * unit;
  const std::int64_t slice_codes = rounded_up(rounded_up(k, n_slices) / n_slices, code_unit);
  return {.chunk_rows = chunk_rows,
          .n_chunks = rounded_up(n, chunk_rows) / chunk_rows,
          .slice_codes = slice_codes,
          .n_slices = rounded_up(k, slice_codes) / slice_codes};
}

void merge(std::span<const float> scores,
           std::span<const std::int32_t> found,
           std::span<std::int32_t> indices) {
  const std::size_t n = indices.size();
  for (std::size_t i = 0; i < n; ++i) {
    float best = kLowest;
    indices[i] = 0;
    for (std::size_t at = i; at < found.size(); at += n) {  // slices ascend, and so do their codes
      if (scores[at] > best) {
        best = scores[at];
        indices[i] = found[at];
      }
    }
  }
}

std::int64_t probe_column(std::int64_t row, std::int64_t d) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(row) * 0x9E3779B97F4A7C15U >> 33) % d;
}

}  // namespace

void vq_exact_part(const VqPart& part, const VqBest& best) {
  const VqExactBackend& use = vq_backend().exact;
  const std::int64_t n = ssize(part.latents);
  const std::int64_t d = part.codebook.cols;
  const std::int64_t padded = rounded_up(n, use.panel_rows);
  std::vector<float> panels(static_cast<std::size_t>(padded * d));
  std::vector<float> score(static_cast<std::size_t>(padded), kLowest);
  std::vector<std::int32_t> index(static_cast<std::size_t>(padded));
  const auto rows_at = [&](std::int64_t first) {
    const std::int64_t rows = std::min(use.panel_rows, n - first);
    return part.latents.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
  };
  for (std::int64_t first = 0; first < n; first += use.panel_rows) {
    pack_panel(rows_at(first), d, panels.data() + first * d);
  }
  const std::int64_t row_bytes = std::max<std::int64_t>(d, 1) * std::int64_t{sizeof(float)};
  const std::int64_t block =
      rounded_up(std::max<std::int64_t>(kBlockBytes / row_bytes, 1), use.codes);
  for (std::int64_t j = part.first; j < part.last; j += block) {
    for (std::int64_t first = 0; first < n; first += use.panel_rows) {
      use.block({.panel = panels.data() + first * d,
                 .codes = part.codebook.row(j),
                 .half_norms = part.half_norms + j,
                 .best = score.data() + first,
                 .index = index.data() + first,
                 .d = d,
                 .code_stride = part.codebook.row_stride,
                 .n_codes = std::min(block, part.last - j),
                 .first_code = static_cast<std::int32_t>(j),
                 .narrow = 2 * (n - first) <= use.panel_rows});
    }
  }
  std::copy_n(score.data(), n, best.score);
  std::copy_n(index.data(), n, best.index);
}

// ---------------------------------------------------------------- VqCodebook

struct VqCodebook::State {
  std::int64_t k;
  std::int64_t d;
  std::vector<float> half_norms;
  std::vector<float> probe;  // one value of each row
  std::atomic<std::int64_t> n_rows = 0;
  std::mutex packing;
  std::unique_ptr<VqPacked> owner;
  std::atomic<VqPacked*> packed = nullptr;

  VqPacked* pack(MatrixView<const float> codebook) {
    const std::lock_guard lock(packing);
    if (owner == nullptr) {
      owner = std::make_unique<VqPacked>(codebook, half_norms);
      packed = owner.get();
    }
    return owner.get();
  }

  /// Null for the float way.
  VqPacked* way(MatrixView<const float> codebook, std::int64_t n, VqSearch search) {
    // Measured: packing costs as much time as the screen saves on this many rows.
    constexpr std::int64_t kRowsThatPay = 192;
    constexpr std::int64_t kMinDims = 16;    // with fewer, the float way is as fast
    constexpr std::int64_t kMaxDims = 4096;  // the bounds and 32-bit sums hold far beyond
    constexpr std::int64_t kMinCodes = 256;
    constexpr std::int64_t kMaxCodes = std::int64_t{1} << 30;  // numbers past the last one exist
    const std::int64_t seen = n_rows += n;
    if (search == VqSearch::kExact || d > kMaxDims || k > kMaxCodes) return nullptr;
    if (search == VqSearch::kAuto) {
      if (d < kMinDims || k < kMinCodes || seen < kRowsThatPay) return nullptr;
      if (!vq_backend().screen.pays) return nullptr;
    }
    VqPacked* codes = packed;
    if (codes == nullptr) codes = pack(codebook);
    return codes->usable() ? codes : nullptr;
  }
};

VqCodebook::VqCodebook(MatrixView<const float> codebook) : state_(std::make_unique<State>()) {
  check_vq_codebook(codebook);
  state_->k = codebook.rows;
  state_->d = codebook.cols;
  state_->half_norms.resize(static_cast<std::size_t>(codebook.rows));
  constexpr std::int64_t kRows = 1024;
  parallel_for(static_cast<std::size_t>(rounded_up(codebook.rows, kRows) / kRows),
               [&](std::size_t task) {
                 const std::int64_t first = static_cast<std::int64_t>(task) * kRows;
                 vq_backend().exact.half_norms(codebook.row(first),
                                               codebook.row_stride,
                                               std::min(kRows, codebook.rows - first),
                                               codebook.cols,
                                               state_->half_norms.data() + first);
               });
  if (codebook.cols > 0) {
    state_->probe.resize(static_cast<std::size_t>(codebook.rows));
    for (std::int64_t j = 0; j < codebook.rows; ++j) {
      state_->probe[static_cast<std::size_t>(j)] = codebook.row(j)[probe_column(j, codebook.cols)];
    }
  }
}

VqCodebook::~VqCodebook() = default;
VqCodebook::VqCodebook(VqCodebook&&) noexcept = default;
VqCodebook& VqCodebook::operator=(VqCodebook&&) noexcept = default;

bool VqCodebook::plausible(MatrixView<const float> codebook) const {
  if (codebook.rows != state_->k || codebook.cols != state_->d) return false;
  for (std::size_t j = 0; j < state_->probe.size(); ++j) {
    const auto row = static_cast<std::int64_t>(j);
    const float value = codebook.row(row)[probe_column(row, codebook.cols)];
    if (std::bit_cast<std::uint32_t>(value) != std::bit_cast<std::uint32_t>(state_->probe[j])) {
      return false;  // NaN and -0 are values like any other here
    }
  }
  return true;
}

bool VqCodebook::packed() const { return state_->packed != nullptr; }

bool VqCodebook::screen_lost() const {
  const VqPacked* codes = state_->packed;
  return codes != nullptr && codes->lost();
}

std::size_t VqCodebook::nbytes() const {
  const VqPacked* codes = state_->packed;
  return sizeof(float) * (state_->half_norms.size() + state_->probe.size()) +
         (codes == nullptr ? 0 : codes->nbytes());
}

void VqCodebook::nearest(MatrixView<const float> latents,
                         MatrixView<const float> codebook,
                         std::span<std::int32_t> indices,
                         VqSearch search) const {
  check_vq_nearest(latents, codebook, indices);
  if (codebook.rows != state_->k || codebook.cols != state_->d) {
    fail_argument("vq_nearest", "codebook", "the one that was prepared", "another shape");
  }
  const std::int64_t n = latents.rows;
  if (n == 0) return;
  VqPacked* packed = state_->way(codebook, n, search);
  const VqBackend& use = vq_backend();
  const Plan cut = plan(n, codebook.rows, packed != nullptr ? use.screen.codes : use.exact.codes);
  const bool sliced = cut.n_slices > 1;
  std::vector<float> scores(sliced ? static_cast<std::size_t>(cut.n_slices * n) : 0);
  std::vector<std::int32_t> found(scores.size());
  parallel_for(static_cast<std::size_t>(cut.n_chunks * cut.n_slices), [&](std::size_t task) {
    const std::int64_t slice = static_cast<std::int64_t>(task) / cut.n_chunks;
    const std::int64_t row = static_cast<std::int64_t>(task) % cut.n_chunks * cut.chunk_rows;
    const std::int64_t rows = std::min(cut.chunk_rows, n - row);
    std::vector<const float*> pointers(static_cast<std::size_t>(rows));
    std::vector<float> unasked(sliced ? 0 : pointers.size());
    for (std::int64_t i = 0; i < rows; ++i) {
      pointers[static_cast<std::size_t>(i)] = latents.row(row + i);
    }
    const VqPart part = {.latents = pointers,
                         .codebook = codebook,
                         .half_norms = state_->half_norms.data(),
                         .first = slice * cut.slice_codes,
                         .last = std::min((slice + 1) * cut.slice_codes, codebook.rows)};
    const VqBest best = sliced ? VqBest{.score = scores.data() + slice * n + row,
                                        .index = found.data() + slice * n + row}
                               : VqBest{.score = unasked.data(), .index = indices.data() + row};
    if (packed == nullptr || (search == VqSearch::kAuto && packed->lost())) {
      vq_exact_part(part, best);
    } else {
      packed->part(part, best);
    }
  });
  if (sliced) merge(scores, found, indices);
}

void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices) {
  check_vq_nearest(latents, codebook, indices);
  if (latents.rows > 0) VqCodebook(codebook).nearest(latents, codebook, indices);
}

}  // namespace glc

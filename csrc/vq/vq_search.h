// SPDX-License-Identifier: Apache-2.0
// Between the drivers: how a part of a search is described, and its two ways.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/views.h"

namespace glc {

/// Rows that a task searches at once: few enough for their panels to stay in the second-level
/// cache, many enough that the codebook is read seldom.
inline constexpr std::int64_t kVqChunkRows = 256;

/// Some latents against the codes first .. last - 1.
struct VqPart {
  std::span<const float* const> latents;  // at most kVqChunkRows
  MatrixView<const float> codebook;
  const float* half_norms;  // [k]
  std::int64_t first;
  std::int64_t last;
};

/// The largest score of the part and the smallest code that has it; -inf and 0 where no score is
/// larger than -inf.
struct VqBest {
  float* score;         // [latents]
  std::int32_t* index;  // [latents]
};

void vq_exact_part(const VqPart& part, const VqBest& best);

/// A codebook in 8 bits, and what bounds the error of scores made from it.
class VqPacked {
 public:
  /// half_norms [k] as vq_nearest defines them.
  VqPacked(MatrixView<const float> codebook, std::span<const float> half_norms);

  /// False for a codebook whose values are not finite, or too large or small for the bounds.
  [[nodiscard]] bool usable() const { return usable_; }
  /// True when more latents kept too many candidates than is worth it.
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] std::size_t nbytes() const;

  /// As vq_exact_part; `first` is a multiple of the group.
  void part(const VqPart& part, const VqBest& best);

 private:
  struct Latents;
  void pack(MatrixView<const float> codebook, std::int64_t first, std::int64_t n);
  void quantise(const VqPart& part, Latents& latents) const;
  void screen(const VqPart& part, Latents& latents) const;
  void finish(const VqPart& part,
              const VqBest& best,
              const std::vector<std::int64_t>& rows,
              std::int64_t n_ordinary);

  std::int64_t d_;
  std::int64_t d4_;
  std::int64_t n_groups_;
  bool usable_ = false;
  float reach_ = 0.0F;  // at least every |c|, centred or not, and the centre's norm
  float centre_norm_ = 0.0F;
  double centre_half_ = 0.0;  // |m|^2 / 2
  std::vector<float> centre_;
  std::vector<float> signs_;
  std::vector<std::uint32_t> codes_;  // [n_groups * group][d4], four bytes a word
  std::vector<float> scale_;          // [n_groups * group]
  std::vector<float> half_norm_;      // centred
  std::vector<std::int32_t> bias_;
  std::vector<float> norm_;   // centred
  std::vector<float> error_;  // of quantisation
  std::vector<float> group_norm_;
  std::vector<float> group_error_;
  std::atomic<std::int64_t> n_screened_ = 0;
  std::atomic<std::int64_t> n_lost_ = 0;
  std::atomic<bool> lost_ = false;
};

}  // namespace glc

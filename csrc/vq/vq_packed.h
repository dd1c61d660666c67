// SPDX-License-Identifier: Apache-2.0
// The way of searching that first looks in 8-bit integers; vq_screen.cpp says why it is exact.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "glc/views.h"
#include "vq/vq_search.h"

namespace glc {

struct VqRotation;

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
  [[nodiscard]] VqRotation rotation() const;
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

inline std::size_t size_of(std::int64_t n) { return static_cast<std::size_t>(n); }

/// The largest |c| and |l| of the bounds.
inline constexpr float kVqMostReach = 0x1p30F;

/// A length from its square; kUp is more than the norms' own rounding.
inline float vq_length(float square) {
  constexpr float kUp = 1.001F;
  return std::sqrt(square) * kUp;
}

/// a.b in double.
double vq_dot(const float* a, const float* b, std::int64_t n);

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "glc/views.h"

namespace glc {

/// indices[i] = the codebook row nearest to latents[i]. Normative, identical everywhere, whatever
/// the instruction set, the number of threads and the way the search takes:
///   half_j = fma(c_j0, c_j0, 0), then fma(c_jt, c_jt, half_j) for t = 1 .. d-1, times -0.5
///   score_ij = fma(l_i0, c_j0, half_j), then fma(l_it, c_jt, score_ij) for t = 1 .. d-1
///   the largest score wins, the smallest j among equals (so |l - c|^2 is least, up to rounding)
/// A NaN score never wins; a latent whose scores are all NaN or -inf gets row 0.
///   latents [n, d] f32 · codebook [k, d] f32, k >= 1, rows contiguous · indices [n] i32, written
/// Runs on up to threads() threads, with a few hundred KiB of scratch memory each, whatever n and
/// k. Throws InvalidArgument when shapes disagree. n == 0 is a no-op.
void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices);

/// Which way a search takes. The result is the same.
enum class VqSearch : std::uint8_t {
  kAuto,    ///< kScreen where it pays: a large k * d, and enough latents to earn back the packing
  kExact,   ///< score every pair in float
  kScreen,  ///< score in 8-bit integers, bound the error, score in float what may have won
};

/// What a search prepares from a codebook once: half norms, and, when the rows searched so far have
/// earned it, the codes in 8 bits (k * d bytes). Holds no reference to the codebook: each call is
/// given it again, with the same values. Calls may run at the same time.
class VqCodebook {
 public:
  /// codebook [k, d] f32, k >= 1. Throws InvalidArgument.
  explicit VqCodebook(MatrixView<const float> codebook);
  ~VqCodebook();
  VqCodebook(VqCodebook&&) noexcept;
  VqCodebook& operator=(VqCodebook&&) noexcept;

  /// As vq_nearest above. Throws InvalidArgument when shapes disagree, with each other or with the
  /// codebook this was made from.
  void nearest(MatrixView<const float> latents,
               MatrixView<const float> codebook,
               std::span<std::int32_t> indices,
               VqSearch search = VqSearch::kAuto) const;

  /// False when one value per row, picked at fixed places, tells that the codebook is another one
  /// than this was made from. A spot check for callers who cannot see every write: true proves
  /// nothing.
  [[nodiscard]] bool plausible(MatrixView<const float> codebook) const;

  /// Whether 8-bit codes have been made, and whether they have proved useless (too many survivors).
  [[nodiscard]] bool packed() const;
  [[nodiscard]] bool screen_lost() const;
  [[nodiscard]] std::size_t nbytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// quantised[i] = codebook[indices[i]]; returns the sum over i, ascending, of |quantised[i] -
/// latents[i]|^2 in double: the same for any number of threads.
///   latents [n, d] f32 · codebook [k, d] f32 · indices [n] i32 in [0, k) · quantised [n, d] f32
/// Throws InvalidArgument when shapes disagree or an index is out of range.
double vq_lookup(MatrixView<const float> latents,
                 MatrixView<const float> codebook,
                 std::span<const std::int32_t> indices,
                 MatrixView<float> quantised);

/// counts[j] = number of i with indices[i] == j.
///   indices [n] i32 in [0, k) · counts [k] i64, written
/// Throws InvalidArgument when an index is out of range.
void vq_usage(std::span<const std::int32_t> indices, std::span<std::int64_t> counts);

/// For each selected code, the sum of the latents that selected it, in ascending order of i: the
/// same bits for any number of threads.
///   latents [n, d] f32 · indices [n] i32 in [0, k) · counts [k] i64, as vq_usage gives them
///   sums [m, d] f32, written: one row for each code with counts > 0, codes ascending
/// Throws InvalidArgument when shapes or counts disagree.
void vq_segment_sums(MatrixView<const float> latents,
                     std::span<const std::int32_t> indices,
                     std::span<const std::int64_t> counts,
                     MatrixView<float> sums);

}  // namespace glc

// SPDX-License-Identifier: Apache-2.0
// The search in 8-bit integers, which returns the very index of the float search.
//
// Write l for a latent, c for a code, m for a centre and R for an orthogonal map; l' = R(l - m) and
// c' = R(c - m). In real arithmetic
//
//   S(c) = l.c - |c|^2 / 2 = l'.c' - |c'|^2 / 2 + K,   K = l.m - |m|^2 / 2 the same for every code,
//
// so the centre and the map change no order; they make values small and even, which is what a few
// bits want. Let l' = a u + dl and c' = b v + dc with integer vectors u, v. Then
//
//   l'.c' = ab u.v + dl.c' + (a u).dc,   hence by Cauchy and Schwarz
//   |l'.c' - ab u.v| <= |dl| |c'| + |a u| |dc|.
//
// With W = ab u.v - |c'|^2 / 2 as computed, and F the normative score of vq.h,
//
//   |F - (W + K)| <= E,   E = |dl| |c'| + |a u| |dc| + slack,
//
// where the slack covers every rounding: in F (a chain of d fused operations, twice: 2 d units in
// the last place of C(C + L), where C bounds |c|, |c'| and |m|, and L bounds |l| and |l'|), in
// |c'|^2 (d), in K (d), in the map (2 log2 d + 6 for each side), in the norms used here (d each)
// and in W, E and the comparisons (a few). That is less than 6 d + 120; 8 (d + 64) is taken.
//
// Let T be the largest W - E over any codes, and j the winner, which has F(j) >= F(c) for every c.
// Then W(j) + E(j) >= F(j) - K >= F(c) - K >= W(c) - E(c), so W(j) + E(j) >= T: a code below that
// can neither win nor tie with the winner. The codes that remain are scored in float by the chain
// of vq.h: first the most promising one, whose F - K is a better T, then those that are left.
//
// A latent that keeps too many is searched in float, as are those with values that are not finite
// or out of all proportion; and a codebook that does this to many of them is `lost`.
#include <algorithm>
#include <array>
#include <memory>

#include "vq/vq_backend.h"
#include "vq/vq_packed.h"

namespace glc {
namespace {

constexpr float kNoScore = 3e38F;                 // finite, beyond every ordinary score
constexpr std::int64_t kBlockBytes = 128 * 1024;  // of the packed codes
constexpr float kUlp = 0x1p-24F;                  // relative error of one rounding

float slack_of(std::int64_t d) { return 8.0F * static_cast<float>(d + 64) * kUlp; }

/// Scores pairs in batches that overlap the chains' latencies; `take(row, code, score)` gets each.
template <class Take>
class Pairs {
 public:
  Pairs(const VqPart& part, Take take) : part_(part), take_(take) {}
  Pairs(const Pairs&) = delete;
  Pairs& operator=(const Pairs&) = delete;
  ~Pairs() = default;

  void add(std::int64_t row, std::int32_t code) {
    latents_[n_] = part_.latents[size_of(row)];
    codes_[n_] = part_.codebook.row(code);
    half_norms_[n_] = part_.half_norms[code];
    row_[n_] = row;
    code_[n_] = code;
    if (++n_ == kBatch) flush();
  }

  void flush() {
    vq_backend().exact.pair_scores({.latents = latents_.data(),
                                    .codes = codes_.data(),
                                    .half_norms = half_norms_.data(),
                                    .scores = scores_.data(),
                                    .n = static_cast<std::int64_t>(n_),
                                    .d = part_.codebook.cols});
    for (std::size_t i = 0; i < n_; ++i) take_(row_[i], code_[i], scores_[i]);
    n_ = 0;
  }

 private:
  static constexpr std::size_t kBatch = 64;
  const VqPart& part_;
  Take take_;
  std::size_t n_ = 0;
  std::array<const float*, kBatch> latents_;
  std::array<const float*, kBatch> codes_;
  std::array<float, kBatch> half_norms_;
  std::array<float, kBatch> scores_;
  std::array<std::int64_t, kBatch> row_;
  std::array<std::int32_t, kBatch> code_;
};

}  // namespace

void vq_keep(VqCandidates& list, float upper, std::int32_t code, float& threshold) {
  if (list.n == VqCandidates::kLost) return;
  if (list.n == list.room) {
    std::int32_t n = 0;
    for (std::int32_t i = 0; i < list.n; ++i) {
      list.code[n] = list.code[i];
      list.upper[n] = list.upper[i];
      n += list.upper[i] >= threshold ? 1 : 0;
    }
    list.n = n;
    if (4 * n > 3 * list.room) {
      list.n = VqCandidates::kLost;
      threshold = kNoScore;
      return;
    }
  }
  list.code[list.n] = code;
  list.upper[list.n++] = upper;
}

struct VqPacked::Latents {
  std::int64_t n;
  std::int64_t panel_rows;
  std::vector<std::uint32_t> words;  // panels [d4][panel_rows]
  std::vector<float> scale;          // and so on: one for each latent, panels filled up
  std::vector<float> norm;
  std::vector<float> error;
  std::vector<float> length;
  std::vector<float> slack;
  std::vector<float> threshold;
  std::vector<std::int32_t> sum;
  std::unique_ptr<VqCandidates[]> candidates;

  Latents(std::int64_t n_in, std::int64_t panel_rows_in, std::int64_t d4, std::int32_t room)
      : n(n_in), panel_rows(panel_rows_in) {
    const std::size_t padded = size_of((n + panel_rows - 1) / panel_rows * panel_rows);
    words.resize(padded * size_of(d4));
    for (auto* values : {&scale, &norm, &error, &length, &slack}) values->resize(padded);
    threshold.assign(padded, kNoScore);
    sum.resize(padded);
    candidates = std::make_unique_for_overwrite<VqCandidates[]>(padded);
    for (std::size_t i = 0; i < padded; ++i) {
      candidates[i].n = 0;
      candidates[i].room = room;
    }
  }
};

void VqPacked::quantise(const VqPart& part, Latents& latents) const {
  const VqScreenBackend& use = vq_backend().screen;
  std::vector<float> work(size_of(d_ * use.width));
  std::vector<const float*> rows(size_of(use.width));
  for (std::int64_t i = 0; i < latents.n; i += use.width) {
    for (std::int64_t lane = 0; lane < use.width; ++lane) {
      rows[size_of(lane)] = part.latents[size_of(std::min(i + lane, latents.n - 1))];
    }
    const std::int64_t panel = i / latents.panel_rows;
    use.quantise(
        {.rows = rows.data(),
         .rotation = rotation(),
         .work = work.data(),
         .levels = static_cast<float>(use.levels),
         .offset = use.offset,
         .out = latents.words.data() + panel * latents.panel_rows * d4_ + i % latents.panel_rows,
         .out_stride = latents.panel_rows,
         .scale = latents.scale.data() + i,
         .norm = latents.norm.data() + i,
         .error = latents.error.data() + i,
         .length = latents.length.data() + i,
         .sum = latents.sum.data() + i});
  }
  for (std::size_t i = 0; i < size_of(latents.n); ++i) {
    const float reach = vq_length(latents.norm[i]) + centre_norm_;
    const bool ordinary = reach <= kVqMostReach;  // false for NaN
    latents.candidates[i].n = ordinary ? 0 : VqCandidates::kLost;
    latents.threshold[i] = ordinary ? -kNoScore : kNoScore;
    latents.scale[i] = ordinary ? latents.scale[i] : 0.0F;  // no code reaches the threshold
    latents.length[i] = ordinary ? latents.scale[i] * vq_length(latents.length[i]) : 0.0F;
    latents.error[i] = ordinary ? vq_length(latents.error[i]) : 0.0F;
    latents.slack[i] = ordinary ? slack_of(d_) * reach_ * (reach_ + reach) : 0.0F;
  }
}

void VqPacked::screen(const VqPart& part, Latents& latents) const {
  const VqScreenBackend& use = vq_backend().screen;
  const std::int64_t block = std::max<std::int64_t>(kBlockBytes / (4 * d4_ * use.codes), 1);
  const std::int64_t last = (part.last + use.codes - 1) / use.codes;
  for (std::int64_t g = part.first / use.codes; g < last; g += block) {
    const std::int64_t j = g * use.codes;
    for (std::int64_t i = 0; i < latents.n; i += latents.panel_rows) {
      use.screen({.latents = latents.words.data() + i * d4_,
                  .codes = codes_.data() + j * d4_,
                  .d4 = d4_,
                  .n_groups = std::min(block, last - g),
                  .scale = scale_.data() + j,
                  .half_norm = half_norm_.data() + j,
                  .bias = bias_.data() + j,
                  .group_norm = group_norm_.data() + g,
                  .group_error = group_error_.data() + g,
                  .latent_scale = latents.scale.data() + i,
                  .latent_error = latents.error.data() + i,
                  .latent_length = latents.length.data() + i,
                  .slack = latents.slack.data() + i,
                  .threshold = latents.threshold.data() + i,
                  .candidates = latents.candidates.get() + i,
                  .first_code = static_cast<std::int32_t>(j),
                  .narrow = 2 * (latents.n - i) <= latents.panel_rows});
    }
  }
}

void VqPacked::part(const VqPart& part, const VqBest& best) {
  // Scoring a candidate in float takes as long as passing over 8 to 16 codes in float.
  const std::int64_t room =
      std::clamp<std::int64_t>(part.codebook.rows / 24, 16, std::int64_t{VqCandidates::kCapacity});
  Latents latents(
      ssize(part.latents), 2 * vq_backend().screen.width, d4_, static_cast<std::int32_t>(room));
  quantise(part, latents);
  std::int64_t n_ordinary = 0;
  for (std::int64_t i = 0; i < latents.n; ++i) n_ordinary += latents.candidates[size_of(i)].n == 0;
  screen(part, latents);

  std::vector<double> threshold(size_of(latents.n));
  std::vector<std::int64_t> in_float;
  const auto first_score = [&](std::int64_t i, std::int32_t code, float score) {
    best.score[i] = score;
    best.index[i] = code;
    threshold[size_of(i)] =
        double{score} + centre_half_ - vq_dot(part.latents[size_of(i)], centre_.data(), d_);
  };
  Pairs first(part, first_score);
  for (std::int64_t i = 0; i < latents.n; ++i) {
    const VqCandidates& list = latents.candidates[size_of(i)];
    if (list.n == VqCandidates::kLost) {
      in_float.push_back(i);
    } else {
      first.add(i, list.code[std::max_element(list.upper, list.upper + list.n) - list.upper]);
    }
  }
  first.flush();
  const auto next_score = [&](std::int64_t i, std::int32_t code, float score) {
    if (score > best.score[i] || (score == best.score[i] && code < best.index[i])) {
      best.score[i] = score;
      best.index[i] = code;
    }
  };
  Pairs next(part, next_score);
  for (std::int64_t i = 0; i < latents.n; ++i) {
    const VqCandidates& list = latents.candidates[size_of(i)];
    for (std::int32_t c = 0; c < list.n; ++c) {
      if (double{list.upper[c]} >= threshold[size_of(i)]) next.add(i, list.code[c]);
    }
  }
  next.flush();
  finish(part, best, in_float, n_ordinary);
}

/// Searches the given rows in float, and counts.
void VqPacked::finish(const VqPart& part,
                      const VqBest& best,
                      const std::vector<std::int64_t>& rows,
                      std::int64_t n_ordinary) {
  const std::int64_t n = std::ssize(rows);
  const std::int64_t n_odd = ssize(part.latents) - n_ordinary;
  n_screened_ += n_ordinary;
  n_lost_ += n - n_odd;
  // Measured: a row that is lost costs both ways, so a quarter of them eats most of what is won.
  if (4 * n_lost_ > n_screened_) lost_ = true;
  if (n == 0) return;
  VqPart again = part;
  std::vector<const float*> latents;
  latents.reserve(rows.size());
  for (const std::int64_t i : rows) latents.push_back(part.latents[size_of(i)]);
  again.latents = latents;
  std::vector<float> score(latents.size());
  std::vector<std::int32_t> index(latents.size());
  vq_exact_part(again, {.score = score.data(), .index = index.data()});
  for (std::size_t i = 0; i < latents.size(); ++i) {
    best.score[rows[i]] = score[i];
    best.index[rows[i]] = index[i];
  }
}

}  // namespace glc

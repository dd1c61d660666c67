// SPDX-License-Identifier: Apache-2.0
#include "networks/entropy_networks.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/thread_pool.h"
#include "glc/four_part.h"

namespace glc::networks {
namespace {

constexpr float kStepMin = 0.5F;  // the quantisation step is clamped from below only

std::unique_ptr<const Layer> adaptor_of(
    const Layout& layout, Reader& reader, const std::string& name, std::int64_t a, std::int64_t b) {
  if (layout.adaptor_blocks) return std::make_unique<DepthConvBlock>(reader, name, a, b);
  return std::make_unique<Conv>(reader, name, a, b);
}

}  // namespace

EntropyNetworks::EntropyNetworks(const Layout& layout, Reader& reader, std::int64_t strip_pixels)
    : n_(layout.latent_channels),
      hyper_channels_(layout.hyper_channels),
      strips_{.pad_multiple = layout.pad_multiple, .pixels = strip_pixels} {
  const std::int64_t n = n_;
  const auto codebook =
      reader.tensor("hyper_vq.codebook", {layout.hyper_codebook_size, layout.hyper_channels});
  codebook_.assign(codebook.begin(), codebook.end());

  synthesis_.push_back(
      std::make_unique<Upsample>(reader, "h_s.layers.0", layout.hyper_channels, n));
  synthesis_.push_back(std::make_unique<Upsample>(reader, "h_s.layers.1", n, n));
  synthesis_.push_back(std::make_unique<DepthConvBlock>(reader, "h_s.layers.2", n, n));
  std::int64_t width = n;
  for (std::size_t i = 0; i < layout.fusion_widths.size(); ++i) {
    synthesis_.push_back(std::make_unique<DepthConvBlock>(
        reader, "context.fusion." + std::to_string(i), width, layout.fusion_widths[i]));
    width = layout.fusion_widths[i];
  }
  if (width != 3 * n) {
    synthesis_.push_back(std::make_unique<Conv>(
        reader, "context.fusion." + std::to_string(layout.fusion_widths.size()), width, 3 * n));
  }
  reduction_ = std::make_unique<Conv>(reader, "context.reduction", 3 * n, n);

  const std::int64_t p = layout.prior_channels;
  const bool ends_as_block = p == 2 * n;
  const std::int64_t n_shared = layout.prior_depth - (ends_as_block ? 1 : 0);
  if (n_shared < 0) {  // the adaptors are the last layers
    const auto kind = layout.adaptor_blocks ? Heads::Kind::kBlock : Heads::Kind::kConv;
    for (int part = 1; part < entropy::kParts; ++part) {
      const std::string name = "context.adaptors." + std::to_string(part - 1);
      heads_.push_back(std::make_unique<Heads>(reader, name, 2 * n, p, kind));
      parts_.push_back({.adaptor = {}, .heads = heads_.back().get()});
    }
    return;
  }
  add_blocks(shared_, reader, "context.prior", 0, n_shared, p);
  const auto kind = ends_as_block ? Heads::Kind::kBlock : Heads::Kind::kConv;
  heads_.push_back(
      std::make_unique<Heads>(reader, "context.prior." + std::to_string(n_shared), p, 2 * n, kind));
  for (int part = 1; part < entropy::kParts; ++part) {
    parts_.push_back({.adaptor = {}, .heads = heads_.back().get()});
    parts_.back().adaptor.push_back(
        adaptor_of(layout, reader, "context.adaptors." + std::to_string(part - 1), 2 * n, p));
  }
}

Map EntropyNetworks::params(std::span<const std::int32_t> z_index,
                            std::int64_t z_height,
                            std::int64_t z_width,
                            Scratch& scratch,
                            const Share& progress) const {
  const Map z_hat = look_up(z_index, z_height, z_width);
  const Cells cells = {.rows = 1, .per_z = 1, .margin = margin(synthesis_, reduction_->margin(0))};
  return over_rows(strips_, cells, z_hat.view(), progress, [&](const Map& rows) {
    return run_params(rows, scratch);
  });
}

Map EntropyNetworks::part_params(int part,
                                 exact::MapView<const float> seen,
                                 Scratch& scratch,
                                 const Share& progress) const {
  const Part& of = parts_.at(static_cast<std::size_t>(part - 1));
  const Cells cells = {
      .rows = 2, .per_z = 2, .margin = margin(of.adaptor, margin(shared_, of.heads->margin(0)))};
  return over_rows(strips_, cells, seen, progress, [&](Map&& rows) {
    const Map inner =
        run(shared_, run(of.adaptor, std::move(rows), scratch), scratch);  // each frees the last
    return of.heads->run(inner, part, scratch);
  });
}

Map EntropyNetworks::look_up(std::span<const std::int32_t> z_index,
                             std::int64_t z_height,
                             std::int64_t z_width) const {
  const auto k = static_cast<std::int64_t>(codebook_.size()) / hyper_channels_;
  Map z_hat(hyper_channels_, z_height, z_width);
  if (std::ssize(z_index) != z_hat.plane()) {
    fail_argument("entropy_networks", "z_index", z_hat.plane(), z_index.size());
  }
  for (const std::int32_t index : z_index) {
    if (index < 0 || index >= k) {
      fail_argument("entropy_networks", "z_index", "below " + std::to_string(k), index);
    }
  }
  for_channels(z_hat, [&](std::int64_t c, std::span<float> plane) {
    const float* const codes = codebook_.data() + c;
    for (std::size_t i = 0; i < plane.size(); ++i) plane[i] = codes[z_index[i] * hyper_channels_];
  });
  return z_hat;
}

Map EntropyNetworks::run_params(const Map& z_hat, Scratch& scratch) const {
  const Map params = run(synthesis_, z_hat, scratch);
  const Map context = reduction_->run(params, scratch);
  Map out(5 * n_, params.h(), params.w());
  for_channels(out, [&](std::int64_t c, std::span<float> to) {
    const float* from = c < 3 * n_   ? params.channel(c)
                        : c < 4 * n_ ? params.channel(c - 3 * n_)
                                     : context.channel(c - 4 * n_);
    if (c / n_ == 3) {  // a NaN stays one
      std::transform(from, from + to.size(), to.begin(), [](float step) {
        return step < kStepMin ? kStepMin : step;
      });
    } else {
      std::copy_n(from, to.size(), to.begin());
    }
  });
  return out;
}

}  // namespace glc::networks

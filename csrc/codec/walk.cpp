// SPDX-License-Identifier: Apache-2.0
#include "codec/walk.h"

#include <algorithm>
#include <cstddef>

#include "glc/entropy.h"
#include "glc/four_part.h"
#include "glc/views.h"

namespace glc::codec {

networks::Map walk(const Model& model,
                   std::span<const std::int32_t> z_index,
                   std::int64_t z_height,
                   std::int64_t z_width,
                   SymbolSource& source,
                   networks::Scratch& scratch,
                   const networks::Share& progress) {
  // the prior of part 0, then the networks of the others: about as much work each
  const auto share = [&](int part) { return progress.one_of(part, entropy::kParts); };
  const std::int64_t n = model.layout.latent_channels;
  networks::Map params = model.entropy.params(z_index, z_height, z_width, scratch, share(0));
  networks::Map seen(2 * n, params.h(), params.w());  // y_hat so far, then the context
  const std::int64_t n_map = n * params.plane();
  std::fill_n(seen.channel(0), n_map, 0.0F);
  std::copy_n(params.channel(4 * n), n_map, seen.channel(n));
  const MatrixView<float> y_hat(seen.channel(0), 1, n_map);
  const std::span<const float> step(params.channel(3 * n), static_cast<std::size_t>(n_map));

  const entropy::FourPartShape shape = {
      .batch = 1, .channels = n, .height = params.h(), .width = params.w(), .channels_last = false};
  const std::int64_t count = entropy::four_part_size(shape, 0);
  std::vector<std::uint8_t> rows(static_cast<std::size_t>(count));
  std::vector<std::int32_t> symbols(rows.size());
  for (int part = 0; part < entropy::kParts; ++part) {
    networks::Map both = part == 0
                             ? networks::Map(2 * n, params.h() / 2, params.w() / 2)
                             : model.entropy.part_params(part, seen.view(), scratch, share(part));
    const std::span<float> scale(both.channel(0), rows.size());
    const std::span<float> mean(both.channel(n), rows.size());
    if (part == 0) {
      entropy::four_part_pick(shape, part, {params.channel(n), 1, n_map}, scale);
      entropy::four_part_pick(shape, part, {params.channel(2 * n), 1, n_map}, mean);
    }
    entropy::gaussian_rows({scale.data(), 1, count}, model.bounds, {rows.data(), 1, count});
    if (!networks::all_finite(scale)) source.not_finite("scale");
    source.symbols(part, rows, mean, step, symbols);
    entropy::four_part_put(shape, part, symbols, mean, y_hat);
  }
  if (!networks::all_finite(step)) source.not_finite("step");
  if (!networks::all_finite(y_hat.row_span(0))) source.not_finite("mean");  // each at its position
  networks::Map out(n, params.h(), params.w());
  for_channels(out, [&](std::int64_t c, std::span<float> plane) {
    const float* const y = seen.channel(c);
    const float* const by = params.channel(3 * n + c);
    for (std::size_t i = 0; i < plane.size(); ++i) plane[i] = y[i] * by[i];
  });
  return out;
}

}  // namespace glc::codec

// SPDX-License-Identifier: Apache-2.0
#include "networks/layout.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/check.h"

namespace glc::networks {
namespace {

// far beyond any model, and such that products of a few stay within 64 bits
constexpr std::int64_t kMost = 1 << 16;
constexpr std::int64_t kMostStem = 1 << 8;

class Checked {
 public:
  explicit Checked(const Fields& fields) : fields_(fields) {}

  std::vector<std::int64_t> all(std::string_view name, std::int64_t least) const {
    const auto found = fields_.find(name);
    if (found == fields_.end()) fail_argument("model", name, "a number", "none");
    for (const std::int64_t value : found->second) {
      if (value < least || value > kMost) {
        fail_argument("model",
                      name,
                      std::to_string(least) + " to " + std::to_string(kMost),
                      std::to_string(value));
      }
    }
    return found->second;
  }

  template <std::size_t kN>
  std::array<std::int64_t, kN> some(std::string_view name, std::int64_t least) const {
    const std::vector<std::int64_t> values = all(name, least);
    if (values.size() != kN) fail_argument("model", name, std::to_string(kN), values.size());
    std::array<std::int64_t, kN> out{};
    std::copy_n(values.begin(), kN, out.begin());
    return out;
  }

  std::int64_t one(std::string_view name, std::int64_t least = 1) const {
    return some<1>(name, least)[0];
  }

  bool flag(std::string_view name) const { return one(name, 0) != 0; }

 private:
  const Fields& fields_;
};

}  // namespace

Layout Layout::from(const Fields& fields) {
  const Checked field(fields);
  Layout out{.latent_channels = field.one("latent_channels"),
             .hyper_codebook_size = field.one("hyper_codebook_size"),
             .hyper_channels = field.one("hyper_channels"),
             .fusion_widths = field.all("fusion_widths", 1),
             .prior_channels = field.one("prior_channels"),
             .prior_depth = field.one("prior_depth", 0),
             .adaptor_blocks = field.flag("adaptor_blocks"),
             .levels = field.one("levels"),
             .pad_multiple = field.one("pad_multiple")};
  if (out.latent_channels % 4 != 0) {
    fail_argument("model", "latent_channels", "a multiple of 4", out.latent_channels);
  }
  return out;
}

LightLayout LightLayout::from(const Fields& fields) {
  const Checked field(fields);
  LightLayout out{Layout::from(fields),
                  field.one("autoencoder.stem"),
                  field.some<2>("autoencoder.encoder_widths", 1),
                  field.some<2>("autoencoder.encoder_depths", 0),
                  field.some<3>("autoencoder.decoder_widths", 1),
                  field.some<3>("autoencoder.decoder_depths", 0),
                  field.one("l_channels"),
                  field.one("transform_blocks", 0),
                  field.flag("normalize_z")};
  if (out.stem % 4 != 0 || out.stem > kMostStem) {
    fail_argument("model", "autoencoder.stem", "a multiple of 4 up to 256", out.stem);
  }
  if (out.pad_multiple != 4 * out.stride()) {
    fail_argument("model", "pad_multiple", 4 * out.stride(), out.pad_multiple);
  }
  return out;
}

}  // namespace glc::networks

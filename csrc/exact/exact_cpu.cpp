// SPDX-License-Identifier: Apache-2.0
// The driver: chooses the kernels, cuts a call into tiles, and gives every thread that computes a
// piece of the workspace and IEEE arithmetic.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/float_mode.h"
#include "core/fused.h"
#include "exact/exact_backend.h"
#include "exact/exact_check.h"
#include "exact/exact_pack.h"
#include "exact/exact_tasks.h"
#include "glc/error.h"
#include "glc/exact.h"
#include "glc/threads.h"

namespace glc::exact {
namespace {

constexpr const char* kConvOp = "exact_conv2d";
constexpr std::int64_t kBandFloats = 8192;      // of one channel, per depthwise task
constexpr std::int64_t kManyWeights = 2 << 20;  // 8 MB: beside the maps, more than caches hold

/// Whether fma rounds once: on sums that come out otherwise when rounded twice, or flushed.
bool is_fused(float (*fma)(float, float, float)) {
  struct Case {
    float a, b, c, result;
  };
  constexpr std::array kCases = {
      Case{0x1.000002p0F, 0x1.fffffcp-1F, -1.0F, -0x1p-46F},               // cancellation
      Case{0x1.000002p0F, 0x1.fffffcp-25F, 0x1.000002p0F, 0x1.000002p0F},  // a tie only in float64
      Case{0x1p-75F, 0x1p-75F, 0x1p-149F, 0x1p-148F},                      // denormal, a tie
      Case{0x1.fffffep-76F, 0x1p-75F, 0x1p-149F, 0x1p-149F},               // and just below it
  };
  const IeeeFloats mode;
  return std::ranges::all_of(kCases, [&](const Case& v) {
    const volatile float a = v.a;  // computed when run, not when compiled
    return fma(a, v.b, v.c) == v.result;
  });
}

/// What any machine of this kind has.
Backend least_backend() {
#ifdef GLC_RELAXED_SIMD
  if (is_fused(&relaxed_madd)) return backend_relaxed();
#endif
  return backend_scalar();
}

std::int64_t band_rows(std::int64_t w) {
  return std::max<std::int64_t>(kBandFloats / (w + 2) - 2, 1);
}

Backend chosen_backend() {
  const Simd simd = simd_in_force(Simd::kAvx512);
  const Backend* found = backend_of(simd);
  const Backend out = found != nullptr ? *found : least_backend();
  if (out.simd == Simd::kScalar && !is_fused(&fused)) {
    throw Unsupported(
        "exact: this CPU neither fuses a multiplication and an addition nor computes "
        "in double precision as IEEE 754 says");
  }
  return out;
}

}  // namespace

const Backend* backend_of(Simd simd) {
  static const Backend scalar = least_backend();
  switch (simd) {
    case Simd::kScalar:
      return &scalar;
#ifdef GLC_X86_SIMD
    case Simd::kAvx2: {
      static const Backend avx2 = backend_avx2();
      return cpu_features().avx2 ? &avx2 : nullptr;
    }
    case Simd::kAvx512: {
      static const Backend avx512 = backend_avx512();
      return cpu_features().avx512 ? &avx512 : nullptr;
    }
#elif defined(__aarch64__)
    case Simd::kNeon: {
      static const Backend neon = backend_neon();
      return &neon;
    }
#endif
    default:
      return nullptr;
  }
}

const Backend& backend() {
  static const Backend chosen = chosen_backend();
  return chosen;
}

Conv::Conv(std::span<const float> weight,
           std::span<const float> bias,
           std::int64_t in_channels,
           std::int64_t out_channels,
           std::int64_t kernel,
           const Backend* use)
    : use_(use != nullptr ? use : &backend()),
      in_channels_(in_channels),
      out_channels_(out_channels),
      kernel_(kernel) {
  check_conv_weights(weight, bias, in_channels, out_channels, kernel);
  packed_ = pack(*use_, weight, bias, in_channels, kernel, panel_channels(*use_, out_channels));
}

std::size_t Conv::workspace_bytes() const {
  return Workspace::bytes(0, use_->conv_scratch, glc::threads());
}

void Conv::run(MapView<const float> x,
               const Options& options,
               MapView<float> out,
               std::span<std::byte> workspace) const {
  check_input(kConvOp, x, in_channels_);
  check_conv_run(options, x, out_channels_, kernel_, out);
  const Sampling& s = options.sampling;
  const std::int64_t h_out = s.count(x.h, s.row);
  const std::int64_t w_out = s.count(x.w, s.col);
  const Workspace memory(kConvOp, workspace, 0, use_->conv_scratch);
  if (out.size() == 0) return;

  const std::int64_t n_tiles = tiles(*use_, h_out * w_out);
  const std::int64_t n_panels = panels_per_task(*use_, packed_.n_panels, x.n * n_tiles);
  const std::int64_t n_groups = (packed_.n_panels + n_panels - 1) / n_panels;
  const Window window = window_of(x.h, x.w, s, kernel_);
  const std::int64_t all_tiles = x.n * n_tiles;
  // tile by tile x is at hand for all groups; many weights had better be read once, group by group
  const bool by_group = std::ssize(packed_.weights) > kManyWeights;
  memory.for_tasks(all_tiles * n_groups, [&](std::int64_t task, float* scratch) {
    const std::int64_t tile = by_group ? task % all_tiles : task / n_groups;
    const std::int64_t group = by_group ? task / all_tiles : task % n_groups;
    const std::int64_t image = tile / n_tiles;
    const std::int64_t first_panel = group * n_panels;
    const std::int64_t at = image * out.c * out.h * out.w;
    use_->conv({.x = x.data + image * x.c * x.h * x.w,
                .weights = view(packed_),
                .window = window,
                .tile = tile_of(*use_, tile % n_tiles, h_out * w_out),
                .in_channels = in_channels_,
                .kernel = kernel_,
                .n_out = out_channels_,
                .first_panel = first_panel,
                .n_panels = std::min(n_panels, packed_.n_panels - first_panel),
                .activate = options.slope.has_value(),
                .slope = options.slope.value_or(1.0F),
                .shuffle = options.shuffle,
                .residual = options.residual.data ? options.residual.data + at : nullptr,
                .out = out.data + at,
                .plane_stride = out.h * out.w,
                .row_stride = out.w,
                .w_out = w_out,
                .scratch = scratch});
  });
}

std::size_t depthwise_workspace_bytes(std::int64_t w, const Backend* use) {
  check_side(kConvOp, w);
  const Backend& kernels = use != nullptr ? *use : backend();
  return Workspace::bytes(0, (band_rows(w) + 2) * (w + 2) + kernels.slack, glc::threads());
}

void depthwise3x3(MapView<const float> x,
                  std::span<const float> weight,
                  std::span<const float> bias,
                  MapView<float> out,
                  std::span<std::byte> workspace,
                  const Backend* use) {
  const Backend& kernels = use != nullptr ? *use : backend();
  check_depthwise(x, weight, bias, out);
  const std::int64_t rows = band_rows(x.w);
  const std::int64_t per_thread = (rows + 2) * (x.w + 2) + kernels.slack;
  const Workspace memory(kConvOp, workspace, 0, per_thread);
  if (out.size() == 0) return;
  const std::int64_t n_bands = (x.h + rows - 1) / rows;
  memory.for_tasks(x.n * x.c * n_bands, [&](std::int64_t task, float* scratch) {
    const std::int64_t plane = task / n_bands;
    const std::int64_t first_row = task % n_bands * rows;
    const auto channel = static_cast<std::size_t>(plane % x.c);
    kernels.depthwise({.x = x.data + plane * x.h * x.w,
                       .h = x.h,
                       .w = x.w,
                       .first_row = first_row,
                       .n_rows = std::min(rows, x.h - first_row),
                       .weights = weight.data() + 9 * channel,
                       .bias = bias[channel],
                       .out = out.data + plane * x.h * x.w,
                       .scratch = scratch});
  });
}

}  // namespace glc::exact

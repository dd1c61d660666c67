// SPDX-License-Identifier: Apache-2.0
// The symbols of a picture, decoded by every backend of this machine at 1, 2 and 3 threads, against
// those that Python found when the file was made. `test_exact_replay FILE` reads another file.
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "check.h"
#include "core/cpu_features.h"
#include "exact/exact_backend.h"
#include "exact_values.h"
#include "glc/exact.h"
#include "glc/threads.h"
#include "replay.h"

namespace {

using glc::exact::Backend;
using glc::exact::Conv;
using glc::exact::DepthConvBlock;
using glc::exact::MapView;
using glc::exact::Sampling;
using glc::test::BlockNames;
using glc::test::Dump;
using glc::test::Floats;
using glc::test::Maps;

class CpuLayers {
 public:
  CpuLayers(const Dump& dump, const Backend& use) : dump_(dump), use_(use) {}

  [[nodiscard]] Maps conv(const std::string& name,
                          const Maps& x,
                          const Conv::Options& options) const {
    const auto& shape = dump_.get(name + ".weight").shape;
    const Floats weight = dump_.floats(name + ".weight");
    const Floats bias = dump_.floats(name + ".bias");
    const Conv conv(weight, bias, shape[1], shape[0], shape[2], &use_);
    const std::int64_t f = options.shuffle;
    Maps out(shape[0] / (f * f), f * x.h, f * x.w);
    std::vector<std::byte> workspace(conv.workspace_bytes());
    conv.run(x.view(), options, out.view(), workspace);
    return out;
  }

  [[nodiscard]] Maps block(const std::string& name, const Maps& x) const {
    const BlockNames names(name);
    std::vector<Floats> kept;
    kept.reserve(12);
    const auto part = [&](const std::string& layer, const char* what) -> std::span<const float> {
      const std::string full = layer + what;
      if (!dump_.has(full)) return {};
      return kept.emplace_back(dump_.floats(full));
    };
    const std::int64_t b = dump_.get(names.project + ".bias").shape[0];
    const DepthConvBlock block({.in_channels = x.c,
                                .out_channels = b,
                                .expand = part(names.expand, ".weight"),
                                .expand_bias = part(names.expand, ".bias"),
                                .depthwise = part(names.depthwise, ".weight"),
                                .depthwise_bias = part(names.depthwise, ".bias"),
                                .project = part(names.project, ".weight"),
                                .project_bias = part(names.project, ".bias"),
                                .adaptor = part(names.adaptor, ".weight"),
                                .adaptor_bias = part(names.adaptor, ".bias"),
                                .gate = part(names.gate, ".weight"),
                                .gate_bias = part(names.gate, ".bias"),
                                .contract = part(names.contract, ".weight"),
                                .contract_bias = part(names.contract, ".bias"),
                                .depth_slope = 0.01F,
                                .gate_slope = 0.1F},
                               1,
                               &use_);
    Maps out(b, x.h, x.w);
    const Sampling everywhere;
    const MapView<float> view = out.view();
    std::vector<std::byte> workspace(block.workspace_bytes(x.h, x.w));
    block.run(x.view(), {&everywhere, 1}, {&view, 1}, workspace);
    return out;
  }

 private:
  const Dump& dump_;
  const Backend& use_;
};

}  // namespace

int main(int n_arguments, char** arguments) {
  const Dump dump(n_arguments > 1 ? arguments[1] : GLC_GOLDEN "/exact/tiny.bin");
  for (const auto simd :
       {glc::Simd::kScalar, glc::Simd::kNeon, glc::Simd::kAvx2, glc::Simd::kAvx512}) {
    const Backend* use = glc::exact::backend_of(simd);
    for (int threads = 1; use != nullptr && threads <= 3; ++threads) {
      glc::set_threads(threads);
      CpuLayers layers(dump, *use);
      const auto decoded = glc::test::SymbolDecoder(dump, layers).run();
      glc::test::check(decoded.symbols == dump.ints("symbols"), "symbols");
      glc::test::check_same(decoded.y_hat, dump.floats("y_hat"), "y_hat");
      const std::string name(glc::simd_name(simd));
      std::printf("%s, %d threads: %zu symbols\n", name.c_str(), threads, decoded.symbols.size());
    }
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The symbols of a picture, decoded with the CUDA kernels, as test_exact_replay.cpp does on the
// CPU.
#include <cstdint>
#include <cstdio>
#include <string>

#include "check.h"
#include "exact_values.h"
#include "glc/cuda/exact.h"
#include "glc/exact.h"
#include "on_device.h"
#include "replay.h"

namespace {

using glc::exact::Conv;
using glc::test::BlockNames;
using glc::test::Dump;
using glc::test::Floats;
using glc::test::Maps;
using glc::test::OnDevice;
namespace cuda = glc::cuda;

/// One layer a call, from and to the host: slow, and enough to compare bits.
class CudaLayers {
 public:
  explicit CudaLayers(const Dump& dump) : dump_(dump) {}

  [[nodiscard]] Maps conv(const std::string& name, const Maps& x, Conv::Options options) const {
    const auto& shape = dump_.get(name + ".weight").shape;
    const std::int64_t f = options.shuffle;
    Maps out(shape[0] / (f * f), f * x.h, f * x.w);
    const OnDevice<float> x_on(x.values);
    const OnDevice<float> weight(columns(name, false));
    const OnDevice<float> bias(dump_.floats(name + ".bias"));
    const Floats added(options.residual.data, options.residual.data + options.residual.size());
    const OnDevice<float> residual(added);
    if (!added.empty()) options.residual.data = residual.data();
    const OnDevice<float> out_on(out.values);
    cuda::exact_conv2d({x_on.data(), 1, x.c, x.h, x.w},
                       weight.span(),
                       bias.span(),
                       shape[2],
                       options,
                       {out_on.data(), 1, out.c, out.h, out.w},
                       nullptr);
    out.values = out_on.host();
    return out;
  }

  [[nodiscard]] Maps block(const std::string& name, const Maps& x) const {
    const BlockNames names(name);
    const Maps expanded = conv(names.expand, x, {.slope = 0.01F});
    const Maps spatial = depthwise(names.depthwise, expanded);
    const bool adapts = dump_.has(names.adaptor + ".weight");
    const Maps skip = adapts ? conv(names.adaptor, x, {}) : x;
    const Maps middle = conv(names.project, spatial, {.residual = skip.view()});
    const Maps gated = gated_conv(names.gate, middle);
    return conv(names.contract, gated, {.residual = middle.view()});
  }

 private:
  [[nodiscard]] Floats columns(const std::string& name, bool gated) const {
    const auto& shape = dump_.get(name + ".weight").shape;
    return cuda::exact_k_major(
        dump_.floats(name + ".weight"), shape[1], shape[2], cuda::exact_columns(shape[0], gated));
  }

  [[nodiscard]] Maps gated_conv(const std::string& name, const Maps& x) const {
    Maps out(dump_.get(name + ".weight").shape[0] / 2, x.h, x.w);
    const OnDevice<float> x_on(x.values);
    const OnDevice<float> weight(columns(name, true));
    const OnDevice<float> bias(dump_.floats(name + ".bias"));
    const OnDevice<float> out_on(out.values);
    cuda::exact_gated_conv({x_on.data(), 1, x.c, x.h, x.w},
                           weight.span(),
                           bias.span(),
                           0.1F,
                           {out_on.data(), 1, out.c, out.h, out.w},
                           nullptr);
    out.values = out_on.host();
    return out;
  }

  [[nodiscard]] Maps depthwise(const std::string& name, const Maps& x) const {
    Maps out(x.c, x.h, x.w);
    const OnDevice<float> x_on(x.values);
    const OnDevice<float> weight(dump_.floats(name + ".weight"));
    const OnDevice<float> bias(dump_.floats(name + ".bias"));
    const OnDevice<float> out_on(out.values);
    cuda::exact_depthwise3x3({x_on.data(), 1, x.c, x.h, x.w},
                             weight.span(),
                             bias.span(),
                             {out_on.data(), 1, x.c, x.h, x.w},
                             nullptr);
    out.values = out_on.host();
    return out;
  }

  const Dump& dump_;
};

}  // namespace

int main(int n_arguments, char** arguments) {
  const Dump dump(n_arguments > 1 ? arguments[1] : GLC_GOLDEN "/exact/tiny.bin");
  CudaLayers layers(dump);
  const auto decoded = glc::test::SymbolDecoder(dump, layers).run();
  glc::test::check(decoded.symbols == dump.ints("symbols"), "symbols");
  glc::test::check_same(decoded.y_hat, dump.floats("y_hat"), "y_hat");
  std::printf("cuda: %zu symbols\n", decoded.symbols.size());
  return 0;
}

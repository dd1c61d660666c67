// SPDX-License-Identifier: Apache-2.0
#include "networks/layers.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/thread_pool.h"
#include "glc/four_part.h"

namespace glc::networks {
namespace {

constexpr auto kGroups = static_cast<std::int64_t>(entropy::kPhases[0].size());

/// Pixel shuffle: [c f^2, h, w] -> [c, f h, f w].
Map shuffled(const Map& x, std::int64_t factor) {
  Map out(x.c() / (factor * factor), factor * x.h(), factor * x.w());
  for_channels(out, [&](std::int64_t c, std::span<float> plane) {
    for (std::int64_t phase = 0; phase < factor * factor; ++phase) {
      const float* from = x.channel(c * factor * factor + phase);
      for (std::int64_t i = 0; i < x.h(); ++i) {
        float* to = plane.data() + (i * factor + phase / factor) * out.w() + phase % factor;
        for (std::int64_t j = 0; j < x.w(); ++j) to[j * factor] = *from++;
      }
    }
  });
  return out;
}

exact::DepthConvBlock make_block(
    Reader& reader, const std::string& name, std::int64_t a, std::int64_t b, std::int64_t n_heads) {
  const std::string spatial = name + ".block.0";
  const std::string gated = name + ".block.1";
  const ConvTensors expand = reader.conv(spatial + ".conv1.0", a, a, 1);
  const ConvTensors depthwise = reader.conv(spatial + ".depth_conv", 1, a, 3);
  const ConvTensors project = reader.conv(spatial + ".conv2", a, b, 1);
  const ConvTensors adaptor = a == b ? ConvTensors{} : reader.conv(spatial + ".adaptor", a, b, 1);
  const ConvTensors gate = reader.conv(gated + ".conv", b, 4 * b, 1);
  const ConvTensors contract = reader.conv(gated + ".conv_out", 2 * b, b, 1);
  return exact::DepthConvBlock({.in_channels = a,
                                .out_channels = b,
                                .expand = expand.weight,
                                .expand_bias = expand.bias,
                                .depthwise = depthwise.weight,
                                .depthwise_bias = depthwise.bias,
                                .project = project.weight,
                                .project_bias = project.bias,
                                .adaptor = adaptor.weight,
                                .adaptor_bias = adaptor.bias,
                                .gate = gate.weight,
                                .gate_bias = gate.bias,
                                .contract = contract.weight,
                                .contract_bias = contract.bias,
                                .depth_slope = kDepthSlope,
                                .gate_slope = kFfnSlope},
                               n_heads);
}

exact::Conv make_conv(const ConvTensors& tensors,
                      std::int64_t a,
                      std::int64_t b,
                      std::int64_t kernel) {
  return {tensors.weight, tensors.bias, a, b, kernel};
}

/// The convolutions that give one group each of both halves of the outputs.
std::vector<exact::Conv> convs_by_group(const ConvTensors& tensors,
                                        std::int64_t a,
                                        std::int64_t b) {
  const std::int64_t each = b / (2 * kGroups);
  std::vector<exact::Conv> convs;
  for (std::int64_t group = 0; group < kGroups; ++group) {
    std::vector<float> weight;
    std::vector<float> bias;
    for (const std::int64_t half : {std::int64_t{0}, b / 2}) {
      const std::int64_t first = half + group * each;
      const float* const rows = tensors.weight.data() + first * a;
      weight.insert(weight.end(), rows, rows + each * a);
      bias.insert(bias.end(), tensors.bias.data() + first, tensors.bias.data() + first + each);
    }
    convs.push_back(make_conv({weight, bias}, a, 2 * each, 1));
  }
  return convs;
}

}  // namespace

ChainProgress::ChainProgress(const Share& progress, std::initializer_list<const Layers*> chain)
    : progress_(progress) {
  for (const Layers* layers : chain) {
    for (const auto& layer : *layers) add(*layer);
  }
  all_ = std::exchange(done_, 0.0);
  positions_ = 1.0;
}

void ChainProgress::add(const Layer& layer) {
  done_ += positions_ * layer.work();
  positions_ *= layer.positions();
}

void ChainProgress::ran(const Layer& layer) {
  add(layer);
  if (done_ < all_) progress_.tell(done_ / all_);
}

Map run(const Layers& layers, const Map& x, Scratch& scratch) {
  if (layers.empty()) return rows_of(x.view(), 0, x.h());
  Map y = layers.front()->run(x, scratch);
  for (std::size_t i = 1; i < layers.size(); ++i) y = layers[i]->run(y, scratch);
  return y;
}

Map run(const Layers& layers, Map&& x, Scratch& scratch, ChainProgress* progress) {
  Map y = std::move(x);
  for (const auto& layer : layers) {
    y = layer->run(y, scratch);
    if (progress != nullptr) progress->ran(*layer);
  }
  return y;
}

std::int64_t margin(const Layers& layers, std::int64_t of_output) {
  for (std::size_t i = layers.size(); i-- > 0;) of_output = layers[i]->margin(of_output);
  return of_output;
}

Conv::Conv(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b, Options options)
    : conv_(make_conv(reader.conv(name, a, b, options.kernel), a, b, options.kernel)),
      options_(options) {}

Map Conv::run(const Map& x, Scratch& scratch, const Map* residual) const {
  // the kernels shuffle by two themselves
  const std::int64_t within = options_.shuffle == 2 ? 2 : 1;
  const auto side = [&](std::int64_t n) {
    return within * ((n + options_.stride - 1) / options_.stride);
  };
  Map out(conv_.out_channels() / (within * within), side(x.h()), side(x.w()));
  conv_.run(x.view(),
            {.sampling = {.stride = options_.stride},
             .slope = options_.slope,
             .shuffle = within,
             .residual = residual != nullptr ? residual->view() : exact::MapView<const float>{}},
            out.view(),
            scratch.of(conv_.workspace_bytes()));
  if (options_.shuffle == within) return out;
  return shuffled(out, options_.shuffle);
}

std::int64_t Conv::margin(std::int64_t of_output) const {
  const std::int64_t whole = (of_output + options_.shuffle - 1) / options_.shuffle;
  return options_.stride * whole + options_.kernel / 2;
}

double Conv::work() const {
  const std::int64_t taps = options_.kernel * options_.kernel;
  const std::int64_t of_output = taps * conv_.in_channels() * conv_.out_channels();
  return static_cast<double>(of_output) / static_cast<double>(options_.stride * options_.stride);
}

double Conv::positions() const {
  return static_cast<double>(options_.shuffle * options_.shuffle) /
         static_cast<double>(options_.stride * options_.stride);
}

DepthConvBlock::DepthConvBlock(Reader& reader,
                               const std::string& name,
                               std::int64_t a,
                               std::int64_t b)
    : block_(make_block(reader, name, a, b, 1)) {}

Map DepthConvBlock::run(const Map& x, Scratch& scratch) const {
  Map out(block_.out_channels(), x.h(), x.w());
  const std::array samplings = {exact::Sampling{}};
  const std::array outs = {out.view()};
  block_.run(x.view(), samplings, outs, scratch.of(block_.workspace_bytes(x.h(), x.w())));
  return out;
}

double DepthConvBlock::work() const {
  constexpr std::int64_t kTaps = 9;
  const std::int64_t a = block_.in_channels();
  const std::int64_t b = block_.out_channels();
  const std::int64_t skip = a == b ? 0 : a * b;
  return static_cast<double>(a * a + kTaps * a + a * b + skip + 6 * b * b);  // gate: 4, contract: 2
}

Bottleneck::Bottleneck(Reader& reader, const std::string& name, std::int64_t channels)
    : conv1_(reader,
             name + ".conv1",
             channels,
             std::max<std::int64_t>(1, channels / 2),
             {.kernel = 3, .slope = kFfnSlope}),
      conv2_(reader,
             name + ".conv2",
             std::max<std::int64_t>(1, channels / 2),
             channels,
             {.kernel = 3}) {}

Map Bottleneck::run(const Map& x, Scratch& scratch) const {
  return conv2_.run(conv1_.run(x, scratch), scratch, &x);
}

Upsample::Upsample(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b)
    : inner_(reader, name + ".subpel_conv.0", a, 4 * b, {.slope = kDepthSlope, .shuffle = 2}),
      skip_(reader, name + ".upsample.0", a, 4 * b, {.shuffle = 2}),
      conv_(reader, name + ".conv", b, b, {.kernel = 3, .slope = kFfnSlope}) {}

Map Upsample::run(const Map& x, Scratch& scratch) const {
  const Map inner = inner_.run(x, scratch);
  const Map skip = skip_.run(x, scratch);
  return conv_.run(inner, scratch, &skip);
}

void add_blocks(Layers& layers,
                Reader& reader,
                const std::string& name,
                std::int64_t first,
                std::int64_t n,
                std::int64_t channels) {
  for (std::int64_t i = first; i < first + n; ++i) {
    layers.push_back(std::make_unique<DepthConvBlock>(
        reader, name + "." + std::to_string(i), channels, channels));
  }
}

Heads::Heads(Reader& reader, const std::string& name, std::int64_t a, std::int64_t b, Kind kind)
    : channels_(b) {
  if (kind == Kind::kBlock) {
    block_ = make_block(reader, name, a, b, kGroups);
  } else {
    convs_ = convs_by_group(reader.conv(name, a, b, 1), a, b);
  }
}

Map Heads::run(const Map& x, int part, Scratch& scratch) const {
  // each group's scales and means, one group behind the other
  Map by_group(channels_, x.h() / 2, x.w() / 2);
  const std::int64_t each = channels_ / (2 * kGroups);
  std::vector<exact::Sampling> samplings;
  std::vector<exact::MapView<float>> outs;
  for (std::int64_t group = 0; group < kGroups; ++group) {
    const std::int64_t phase =
        entropy::kPhases.at(static_cast<std::size_t>(part)).at(static_cast<std::size_t>(group));
    samplings.push_back({.stride = 2, .row = phase / 2, .col = phase % 2});
    outs.push_back({by_group.channel(2 * each * group), 1, 2 * each, by_group.h(), by_group.w()});
  }
  if (block_) {
    block_->run(x.view(), samplings, outs, scratch.of(block_->workspace_bytes(x.h(), x.w())));
  } else {
    for (std::size_t group = 0; group < convs_.size(); ++group) {
      const exact::Conv& conv = convs_[group];
      conv.run(x.view(),
               {.sampling = samplings[group]},
               outs[group],
               scratch.of(conv.workspace_bytes()));
    }
  }
  Map out(channels_, by_group.h(), by_group.w());
  const std::int64_t half = each * out.plane();
  for (std::int64_t i = 0; i < 2 * kGroups; ++i) {  // group i / 2, its scales and then its means
    const std::int64_t to = i / 2 + i % 2 * kGroups;
    std::copy_n(by_group.channel(each * i), half, out.channel(each * to));
  }
  return out;
}

std::int64_t Heads::margin(std::int64_t of_output) const {
  return 2 * of_output + (block_ ? 1 : 0);
}

}  // namespace glc::networks

// SPDX-License-Identifier: Apache-2.0
//
// A decoder of symbols: from hyper indices and a coder stream to symbols and y_hat, as another
// program would build it on the public headers. Weights and inputs come from a file of
// tools/dump_symbols.py. What computes the layers is a parameter: the CPU's kernels, or CUDA's.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "glc/entropy.h"
#include "glc/exact.h"
#include "glc/four_part.h"
#include "glc/rans.h"

namespace glc::test {

using Floats = std::vector<float>;
using Ints = std::vector<std::int32_t>;

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<std::uint32_t> words;

  [[nodiscard]] Floats floats() const {
    Floats out;
    for (const std::uint32_t word : words) out.push_back(std::bit_cast<float>(word));
    return out;
  }
  [[nodiscard]] Ints ints() const {
    Ints out;
    for (const std::uint32_t word : words) out.push_back(std::bit_cast<std::int32_t>(word));
    return out;
  }
};

class Dump {
 public:
  explicit Dump(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.empty()) throw std::runtime_error("replay: no file " + path);
    while (at_ < bytes_.size()) {
      const std::size_t n_name = word();
      std::string name(take(n_name), n_name);
      Tensor tensor;
      std::int64_t size = 1;
      for (std::uint32_t n = word(); n > 0; --n) {
        tensor.shape.push_back(word());
        size *= tensor.shape.back();
      }
      for (std::int64_t i = 0; i < size; ++i) tensor.words.push_back(word());
      tensors_.emplace(std::move(name), std::move(tensor));
    }
    bytes_.clear();
  }

  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }
  [[nodiscard]] const Tensor& get(const std::string& name) const { return tensors_.at(name); }
  [[nodiscard]] Floats floats(const std::string& name) const { return get(name).floats(); }
  [[nodiscard]] Ints ints(const std::string& name) const { return get(name).ints(); }

 private:
  const char* take(std::size_t n) {
    if (bytes_.size() - at_ < n) throw std::runtime_error("replay: the file ends too early");
    at_ += n;
    return bytes_.data() + at_ - n;
  }
  std::uint32_t word() {
    std::array<unsigned char, 4> b{};
    std::memcpy(b.data(), take(4), 4);
    return b[0] | std::uint32_t{b[1]} << 8 | std::uint32_t{b[2]} << 16 | std::uint32_t{b[3]} << 24;
  }

  std::string bytes_;
  std::size_t at_ = 0;
  std::map<std::string, Tensor> tensors_;
};

/// One picture's feature maps, [c, h, w].
struct Maps {
  Floats values;
  std::int64_t c = 0;
  std::int64_t h = 0;
  std::int64_t w = 0;

  Maps() = default;
  Maps(std::int64_t c_in, std::int64_t h_in, std::int64_t w_in)
      : values(static_cast<std::size_t>(c_in * h_in * w_in)), c(c_in), h(h_in), w(w_in) {}
  [[nodiscard]] exact::MapView<const float> view() const { return {values.data(), 1, c, h, w}; }
  [[nodiscard]] exact::MapView<float> view() { return {values.data(), 1, c, h, w}; }
};

struct Decoded {
  Ints symbols;
  Floats y_hat;
};

/// Layers has conv(name, x, options) and block(name, x), which return Maps.
template <class Layers>
class SymbolDecoder {
 public:
  SymbolDecoder(const Dump& dump, Layers& layers) : dump_(dump), layers_(layers) {}

  Decoded run() {
    const Maps params = chain("context.fusion.", upsampled(embedded()));
    const Maps context = layers_.conv("context.reduction", params, {});
    Maps seen(2 * context.c, context.h, context.w);  // y_hat, then the context
    const std::size_t n_y = context.values.size();
    const entropy::FourPartShape shape{1, context.c, context.h, context.w, false};
    std::copy(context.values.begin(),
              context.values.end(),
              seen.values.begin() + std::ssize(context.values));
    const auto tables = table_set();
    const Ints stream_words = dump_.ints("stream");
    const std::vector<std::uint8_t> stream(stream_words.begin(), stream_words.end());
    rans::Decoder decoder(stream);
    Decoded out;
    for (int part = 0; part < entropy::kParts; ++part) {
      const Maps predicted = part == 0 ? Maps() : predict(part, seen);
      const float* scales = part == 0 ? params.values.data() + n_y : predicted.values.data();
      const auto pick = [&](const float* map) {
        Floats picked(static_cast<std::size_t>(entropy::four_part_size(shape, part)));
        entropy::four_part_pick(shape, part, {map, 1, static_cast<std::int64_t>(n_y)}, picked);
        return picked;
      };
      const Floats scale = pick(scales);
      const Floats mean = pick(scales + n_y);
      const auto n = std::ssize(scale);
      std::vector<std::uint8_t> rows(scale.size());
      entropy::gaussian_rows({scale.data(), 1, n}, dump_.floats("bounds"), {rows.data(), 1, n});
      Ints symbols(scale.size());
      decoder.pull(std::span<const std::uint8_t>(rows), tables, symbols);
      entropy::four_part_put(
          shape, part, symbols, mean, {seen.values.data(), 1, static_cast<std::int64_t>(n_y)});
      out.symbols.insert(out.symbols.end(), symbols.begin(), symbols.end());
    }
    decoder.finish();
    out.y_hat.assign(seen.values.begin(), seen.values.begin() + static_cast<std::ptrdiff_t>(n_y));
    return out;
  }

 private:
  Maps embedded() const {
    const Tensor& index = dump_.get("z_index");
    const Tensor& codebook = dump_.get("hyper_vq.codebook");
    const Floats rows = codebook.floats();
    Maps z(codebook.shape[1], index.shape[0], index.shape[1]);
    const auto n = static_cast<std::size_t>(z.h * z.w);
    const auto d = static_cast<std::size_t>(z.c);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < d; ++c) z.values[c * n + i] = rows[index.words[i] * d + c];
    }
    return z;
  }

  Maps upsampled(Maps x) {
    for (const std::string name : {"h_s.layers.0", "h_s.layers.1"}) {
      const Maps out = layers_.conv(name + ".subpel_conv.0", x, {.slope = 0.01F, .shuffle = 2});
      const Maps skip = layers_.conv(name + ".upsample.0", x, {.shuffle = 2});
      x = layers_.conv(name + ".conv", out, {.slope = 0.1F, .residual = skip.view()});
    }
    return layers_.block("h_s.layers.2", x);
  }

  Maps predict(int part, const Maps& seen) {
    return chain("context.prior.", layer("context.adaptors." + std::to_string(part - 1), seen));
  }

  Maps chain(const std::string& prefix, Maps x) {
    for (int i = 0; is_layer(prefix + std::to_string(i)); ++i) {
      x = layer(prefix + std::to_string(i), x);
    }
    return x;
  }

  [[nodiscard]] bool is_block(const std::string& name) const {
    return dump_.has(name + ".block.0.conv1.0.weight");
  }
  [[nodiscard]] bool is_layer(const std::string& name) const {
    return dump_.has(name + ".weight") || is_block(name);
  }
  Maps layer(const std::string& name, const Maps& x) {
    return is_block(name) ? layers_.block(name, x) : layers_.conv(name, x, {});
  }

  [[nodiscard]] rans::TableSet table_set() const {
    const Ints freqs = dump_.ints("freqs");
    const std::vector<std::uint32_t> unsigned_freqs(freqs.begin(), freqs.end());
    return rans::TableSet::from_freqs(
        unsigned_freqs, dump_.ints("n_bins"), dump_.ints("offsets"), dump_.ints("bits")[0], true);
  }

  const Dump& dump_;
  Layers& layers_;
};

/// Prefixes of a block's layers, from that of the block.
struct BlockNames {
  explicit BlockNames(const std::string& name)
      : expand(name + ".block.0.conv1.0"),
        depthwise(name + ".block.0.depth_conv"),
        project(name + ".block.0.conv2"),
        adaptor(name + ".block.0.adaptor"),
        gate(name + ".block.1.conv"),
        contract(name + ".block.1.conv_out") {}
  std::string expand, depthwise, project, adaptor, gate, contract;
};

}  // namespace glc::test

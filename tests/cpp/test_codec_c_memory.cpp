// SPDX-License-Identifier: Apache-2.0
//
// Memory runs out at every allocation in turn: the C interface answers GLC_CODEC_OUT_OF_MEMORY,
// and leaks nothing (the address sanitizer looks). And what a model takes does not grow with
// numbers that cost its author nothing.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "check.h"
#include "codec_files.h"
#include "glc/codec_c.h"
#include "limited_memory.h"

namespace {

using glc::test::allocations_left;
using glc::test::Bytes;
using glc::test::check;
using glc::test::check_equal;
using glc::test::golden;
using glc::test::kNever;
using glc::test::Model;

/// Lets body fail at allocation 0, step, ... until it needs no more than that; returns how many.
template <class Body>
std::size_t exhaust(std::size_t step, Body body) {
  for (std::size_t k = 0;; k += step) {
    allocations_left = k;
    const glc_codec_status status = body();
    allocations_left = kNever;
    if (status == GLC_CODEC_OK) return k;
    check_equal(status, GLC_CODEC_OUT_OF_MEMORY, "another status");
    check(k < 1000000, "never succeeds");
  }
}

glc_codec_decoder* create(const Bytes& model) {
  glc_codec_decoder* decoder = nullptr;
  check_equal(glc_codec_decoder_create(model.data(), model.size(), &decoder), GLC_CODEC_OK);
  return decoder;
}

std::size_t allocations_of(const Bytes& model) {
  allocations_left = kNever - 1;
  glc_codec_decoder_free(create(model));
  const std::size_t n = kNever - 1 - allocations_left;
  allocations_left = kNever;
  return n;
}

/// Hyper indices of one value, and levels far beyond those that a file can name.
Bytes model_of_levels(std::int64_t levels) {
  Model model = Model::of(golden("model.safetensors"));
  model.metadata["config.levels"] = std::to_string(levels);
  model.metadata["config.hyper_codebook_size"] = "1";
  const auto n = static_cast<std::size_t>(levels);
  auto& codebook = model.tensors["hyper_vq.codebook"];
  codebook.bytes.resize(codebook.bytes.size() / static_cast<std::size_t>(codebook.shape[0]));
  codebook.shape[0] = 1;
  model.tensors["z_prior.logits"] = {.dtype = "F32", .shape = {levels, 1}, .bytes = Bytes(4 * n)};
  auto& scales = model.tensors["g_s.q"];
  scales.bytes.resize(n * scales.bytes.size() / static_cast<std::size_t>(scales.shape[0]));
  scales.shape[0] = levels;
  return model.join();
}

}  // namespace

int main() {
  check_equal(glc_codec_set_threads(1), GLC_CODEC_OK);
  const Bytes model = golden("model.safetensors");
  const Bytes file = glc::test::resized(golden("0.glc"), 70, 70);
  check(
      exhaust(7,
              [&] {
                glc_codec_decoder* decoder = nullptr;
                const auto status = glc_codec_decoder_create(model.data(), model.size(), &decoder);
                check((decoder != nullptr) == (status == GLC_CODEC_OK), "a decoder is made or not");
                glc_codec_decoder_free(decoder);
                return status;
              }) > 100,
      "allocations were not counted");

  glc_codec_decoder* decoder = create(model);
  Bytes pixels(std::size_t{3} * 70 * 70);
  Bytes expected = pixels;
  const glc_codec_decode_options options = {
      GLC_CODEC_MAX_PIXELS, 3, 1, [](void* /*user*/, double /*done*/) { return 0; }, nullptr};
  const auto decode = [&](Bytes& to) {
    return glc_codec_decode(
        decoder, file.data(), file.size(), &options, to.data(), to.size(), nullptr);
  };
  check_equal(decode(expected), GLC_CODEC_OK);
  check(exhaust(1, [&] { return decode(pixels); }) > 10, "allocations were not counted");
  check(pixels == expected, "memory that ran out before left something behind");
  glc_codec_decoder_free(decoder);

  check_equal(allocations_of(model_of_levels(60000)), allocations_of(model_of_levels(4)), "levels");
  return 0;
}

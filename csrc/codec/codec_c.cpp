// SPDX-License-Identifier: Apache-2.0
#include "glc/codec_c.h"

#include "core/c_interface.h"
#include "glc/codec.h"
#include "glc/threads.h"
#include "glc/version.h"

struct glc_codec_decoder {
  glc::codec::Decoder decoder;
};

namespace {

using glc::c::array;
using glc::c::guarded;
using glc::c::object;
using glc::codec::Decoder;

static_assert(GLC_CODEC_MAX_PIXELS == glc::codec::kMaxPixels);
static_assert(GLC_CODEC_INTERNAL_ERROR == glc::c::kInternalError);

glc::codec::Options options_of(const glc_codec_options* options) {
  if (options == nullptr) return {};
  return {
      .max_pixels = options->max_pixels, .until = options->until, .partial = options->partial != 0};
}

}  // namespace

extern "C" {

uint32_t glc_codec_abi_version(void) { return GLC_CODEC_ABI_VERSION; }
const char* glc_codec_version(void) { return glc::kVersion.data(); }
const char* glc_codec_last_error(void) { return glc::c::last_error(); }

int32_t glc_codec_threads(void) {
  int32_t n = 0;
  guarded([&] { n = glc::threads(); });
  return n;
}
glc_codec_status glc_codec_set_threads(int32_t n) {
  return guarded([&] { glc::set_threads(n); });
}

glc_codec_status glc_codec_decoder_create(const uint8_t* model,
                                          size_t size,
                                          glc_codec_decoder** decoder) {
  return glc::c::create(
      decoder, "codec: decoder", [&] { return Decoder(array(model, size, "codec: model")); });
}

void glc_codec_decoder_free(glc_codec_decoder* decoder) { glc::c::destroy(decoder); }

glc_codec_status glc_codec_size(const uint8_t* data,
                                size_t size,
                                const glc_codec_options* options,
                                uint32_t* width,
                                uint32_t* height) {
  return guarded([&] {
    uint32_t& w = object(width, "codec: width");
    uint32_t& h = object(height, "codec: height");
    const auto found = Decoder::size(array(data, size, "codec: data"), options_of(options));
    w = found.width;
    h = found.height;
  });
}

glc_codec_status glc_codec_decode(const glc_codec_decoder* decoder,
                                  const uint8_t* data,
                                  size_t size,
                                  const glc_codec_options* options,
                                  uint8_t* pixels,
                                  size_t capacity,
                                  glc_codec_restored* restored) {
  return guarded([&] {
    const auto found = object(decoder, "codec: decoder")
                           .decoder.decode(array(data, size, "codec: data"),
                                           array(pixels, capacity, "codec: pixels"),
                                           options_of(options));
    if (restored != nullptr) *restored = {found.n_parts, found.verified ? 1 : 0};
  });
}

}  // extern "C"

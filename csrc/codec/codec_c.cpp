// SPDX-License-Identifier: Apache-2.0
#include "glc/codec_c.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/c_interface.h"
#include "glc/codec.h"
#include "glc/threads.h"
#include "glc/version.h"

struct glc_codec_decoder {
  glc::codec::Decoder decoder;
};
struct glc_codec_encoder {
  glc::codec::Encoder encoder;
};
struct glc_codec_file {
  std::vector<std::uint8_t> bytes;
};

namespace {

using glc::c::array;
using glc::c::guarded;
using glc::c::object;
using glc::codec::Decoder;
using glc::codec::Encoder;

static_assert(GLC_CODEC_MAX_PIXELS == glc::codec::kMaxPixels);
static_assert(GLC_CODEC_INTERNAL_ERROR == glc::c::kInternalError);
static_assert(GLC_CODEC_CANCELLED == glc::c::kCancelled);

glc::codec::Progress progress_of(glc_codec_progress progress, void* user) {
  if (progress == nullptr) return nullptr;
  return [progress, user](double done) {
    if (progress(user, done) != 0) throw glc::c::Cancelled();
  };
}

glc::codec::DecodeOptions options_of(const glc_codec_decode_options* options) {
  if (options == nullptr) return {};
  return {.max_pixels = options->max_pixels,
          .until = options->until,
          .partial = options->partial != 0,
          .progress = progress_of(options->progress, options->user)};
}

glc::codec::EncodeOptions options_of(const glc_codec_encode_options* options) {
  if (options == nullptr) return {};
  glc::codec::EncodeOptions out = {.quality = options->quality,
                                   .tile = options->tile,
                                   .progress = progress_of(options->progress, options->user)};
  if (options->target_bytes != 0) {
    out.target_bytes =
        static_cast<std::size_t>(std::min<std::uint64_t>(options->target_bytes, SIZE_MAX));
  }
  return out;
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
                                const glc_codec_decode_options* options,
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
                                  const glc_codec_decode_options* options,
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

glc_codec_status glc_codec_encoder_create(const uint8_t* model,
                                          size_t size,
                                          glc_codec_encoder** encoder) {
  return glc::c::create(
      encoder, "codec: encoder", [&] { return Encoder(array(model, size, "codec: model")); });
}

void glc_codec_encoder_free(glc_codec_encoder* encoder) { glc::c::destroy(encoder); }

glc_codec_status glc_codec_encode(const glc_codec_encoder* encoder,
                                  const uint8_t* pixels,
                                  uint32_t width,
                                  uint32_t height,
                                  const glc_codec_encode_options* options,
                                  glc_codec_file** file) {
  return glc::c::create(file, "codec: file", [&] {
    const glc::codec::Size size = {.width = width, .height = height};
    return object(encoder, "codec: encoder")
        .encoder.encode(array(pixels, size.bytes(), "codec: pixels"), size, options_of(options));
  });
}

const uint8_t* glc_codec_file_data(const glc_codec_file* file) {
  return file == nullptr ? nullptr : file->bytes.data();
}
size_t glc_codec_file_size(const glc_codec_file* file) {
  return file == nullptr ? 0 : file->bytes.size();
}
void glc_codec_file_free(glc_codec_file* file) { glc::c::destroy(file); }

}  // extern "C"

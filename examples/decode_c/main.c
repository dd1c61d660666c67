// SPDX-License-Identifier: Apache-2.0
//
// Decodes a .glc file to a picture (PPM) in plain C, without Python.
//
//   glc export model.safetensors
//   decode_glc model.safetensors photo.glc photo.ppm
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "glc/codec_c.h"

typedef struct bytes {
  uint8_t* data;
  size_t size;
} bytes;

static void stop(const char* what, const char* why) {
  fprintf(stderr, "decode_glc: %s: %s\n", what, why);
  exit(2);
}

static void require(glc_codec_status status, const char* what) {
  if (status != GLC_CODEC_OK) stop(what, glc_codec_last_error());
}

static uint8_t* allocate(size_t size) {
  uint8_t* data = malloc(size != 0 ? size : 1);
  if (data == NULL) stop("memory", "there is not enough");
  return data;
}

static bytes read_file(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) stop(path, "cannot be read");
  const long size = ftell(file);
  if (size < 0 || fseek(file, 0, SEEK_SET) != 0) stop(path, "cannot be read");
  bytes out = {allocate((size_t)size), (size_t)size};
  if (fread(out.data, 1, out.size, file) != out.size) stop(path, "cannot be read");
  fclose(file);
  return out;
}

/// Told how far the picture has come; another answer than 0 would cancel it.
static int show(void* user, double done) {
  fprintf(user, "\r%3.0f %%%s", 100.0 * done, done < 1.0 ? "" : "\n");
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: decode_glc MODEL IN.glc OUT.ppm\n");
    return 2;
  }
  const bytes model = read_file(argv[1]);
  glc_codec_decoder* decoder = NULL;
  require(glc_codec_decoder_create(model.data, model.size, &decoder), argv[1]);
  free(model.data);  // which the decoder has copied

  const bytes file = read_file(argv[2]);
  uint32_t width = 0;
  uint32_t height = 0;
  require(glc_codec_size(file.data, file.size, NULL, &width, &height), argv[2]);
  const size_t size = (size_t)3 * width * height;  // of at most GLC_CODEC_MAX_PIXELS pixels
  uint8_t* pixels = allocate(size);
  glc_codec_decode_options options = glc_codec_decode_defaults();
  if (isatty(STDERR_FILENO)) options.progress = show;
  options.user = stderr;
  require(glc_codec_decode(decoder, file.data, file.size, &options, pixels, size, NULL), argv[2]);
  free(file.data);
  glc_codec_decoder_free(decoder);

  FILE* out = fopen(argv[3], "wb");
  if (out == NULL) stop(argv[3], "cannot be written");
  fprintf(out, "P6\n%u %u\n255\n", (unsigned)width, (unsigned)height);
  if (fwrite(pixels, 1, size, out) != size || fclose(out) != 0) stop(argv[3], "cannot be written");
  free(pixels);
  return 0;
}

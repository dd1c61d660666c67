// SPDX-License-Identifier: Apache-2.0
//
// The C interface of the picture codec from C, through the shared library: a golden picture,
// every status, hostile bytes.
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "glc/codec_c.h"

#define LAST_ERROR glc_codec_last_error
#include "check_c.h"

enum { kWidth = 130, kHeight = 200, kBytes = 3 * kWidth * kHeight, kModelIdAt = 4 };

static uint8_t* model;
static size_t model_size;
static uint8_t* file;
static size_t file_size;
static uint8_t* pixels;
static glc_codec_decoder* decoder;

/// A golden file, in memory of exactly its size.
static uint8_t* read_file(const char* path, size_t* size) {
  FILE* from = fopen(path, "rb");
  CHECK(from != NULL);
  CHECK(fseek(from, 0, SEEK_END) == 0);
  *size = (size_t)ftell(from);
  CHECK(fseek(from, 0, SEEK_SET) == 0);
  uint8_t* bytes = allocate(*size);
  CHECK(fread(bytes, 1, *size, from) == *size);
  CHECK(fclose(from) == 0);
  return bytes;
}

/// CRC-32C, bit by bit.
static uint32_t crc32c(const uint8_t* bytes, size_t n) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < n; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

static glc_codec_status decode(const glc_codec_decode_options* options,
                               glc_codec_restored* restored) {
  return glc_codec_decode(decoder, file, file_size, options, pixels, kBytes, restored);
}

static void test_about(void) {
  CHECK(glc_codec_abi_version() == GLC_CODEC_ABI_VERSION);
  CHECK(strchr(glc_codec_version(), '.') != NULL);
  CHECK(strcmp(glc_codec_last_error(), "") == 0);  // nothing failed yet
  const glc_codec_decode_options defaults = glc_codec_decode_defaults();
  CHECK(defaults.max_pixels == GLC_CODEC_MAX_PIXELS && defaults.until == 4);
  CHECK(defaults.partial == 0 && defaults.progress == NULL && defaults.user == NULL);
}

static void test_threads(void) {
  CHECK_OK(glc_codec_set_threads(2));
  CHECK(glc_codec_threads() == 2);
  const int32_t bad[] = {0, -1, 257, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); ++i) {
    CHECK_INVALID(glc_codec_set_threads(bad[i]));
  }
  CHECK(glc_codec_threads() == 2);
}

static void test_models(void) {
  glc_codec_decoder* out = NULL;
  CHECK_INVALID(glc_codec_decoder_create(NULL, model_size, &out));
  CHECK_INVALID(glc_codec_decoder_create(model, model_size, NULL));
  CHECK_INVALID(glc_codec_decoder_create(model, SIZE_MAX, &out));
  CHECK_BROKEN(glc_codec_decoder_create(NULL, 0, &out));
  CHECK_BROKEN(glc_codec_decoder_create(model, 7, &out));
  CHECK_BROKEN(glc_codec_decoder_create(model, model_size - 1, &out));
  CHECK_BROKEN(glc_codec_decoder_create(file, file_size, &out));
  model[model_size - 1] ^= 1U;
  CHECK_BROKEN(glc_codec_decoder_create(model, model_size, &out));
  CHECK(strstr(glc_codec_last_error(), "crc32c") != NULL);
  model[model_size - 1] ^= 1U;
  static const char format[] = "\"format\":\"1\"";
  size_t at = 0;
  while (memcmp(model + at, format, sizeof(format) - 1) != 0) ++at;
  model[at + sizeof(format) - 3] = '2';
  CHECK_STATUS(glc_codec_decoder_create(model, model_size, &out), GLC_CODEC_UNSUPPORTED);
  model[at + sizeof(format) - 3] = '1';
  CHECK(out == NULL);
  CHECK_OK(glc_codec_decoder_create(model, model_size, &decoder));
  memset(model, 0, model_size);  // which the decoder has copied
  glc_codec_decoder_free(NULL);
}

static void test_picture(void) {
  uint32_t width = 0;
  uint32_t height = 0;
  CHECK_OK(glc_codec_size(file, file_size, NULL, &width, &height));
  CHECK(width == kWidth && height == kHeight);
  glc_codec_restored restored = {-1, -1};
  CHECK_OK(decode(NULL, &restored));
  CHECK(restored.n_parts == 4 && restored.verified == 1);
  CHECK(crc32c(pixels, kBytes) == 0xBCCEB42FU);  // as pictures.txt says
  CHECK_OK(decode(NULL, NULL));
  uint32_t sums[5];
  glc_codec_decode_options options = glc_codec_decode_defaults();
  for (options.until = 0; options.until <= 4; ++options.until) {
    CHECK_OK(decode(&options, &restored));
    CHECK(restored.n_parts == options.until && restored.verified == 1);
    sums[options.until] = crc32c(pixels, kBytes);
    CHECK(options.until == 0 || sums[options.until] != sums[options.until - 1]);
  }
  // a file that was cut
  options = glc_codec_decode_defaults();
  options.partial = -1;
  const size_t whole = file_size;
  file_size = whole * 3 / 4;
  CHECK_BROKEN(decode(NULL, &restored));
  CHECK_OK(decode(&options, &restored));
  CHECK(restored.n_parts > 0 && restored.n_parts < 4 && restored.verified == 0);
  CHECK(crc32c(pixels, kBytes) == sums[restored.n_parts]);
  CHECK_BROKEN(glc_codec_size(file, 15, &options, &width, &height));
  file_size = 20;
  CHECK_OK(glc_codec_size(file, file_size, &options, &width, &height));
  CHECK_BROKEN(decode(&options, &restored));
  file_size = whole;
}

static void test_errors(void) {
  uint32_t width = 7;
  uint32_t height = 8;
  glc_codec_restored restored = {-5, -6};
  CHECK_INVALID(glc_codec_size(NULL, file_size, NULL, &width, &height));
  CHECK_INVALID(glc_codec_size(file, file_size, NULL, NULL, &height));
  CHECK_INVALID(glc_codec_size(file, file_size, NULL, &width, NULL));
  CHECK_INVALID(glc_codec_size(file, SIZE_MAX, NULL, &width, &height));
  CHECK_BROKEN(glc_codec_size(NULL, 0, NULL, &width, &height));
  CHECK_INVALID(glc_codec_decode(NULL, file, file_size, NULL, pixels, kBytes, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, NULL, file_size, NULL, pixels, kBytes, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, file, SIZE_MAX, NULL, pixels, kBytes, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, file, file_size, NULL, NULL, kBytes, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, file, file_size, NULL, NULL, 0, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, file, file_size, NULL, pixels, kBytes - 1, &restored));
  CHECK_INVALID(glc_codec_decode(decoder, file, file_size, NULL, pixels, SIZE_MAX, &restored));
  CHECK_BROKEN(glc_codec_decode(decoder, NULL, 0, NULL, pixels, kBytes, &restored));
  glc_codec_decode_options options = glc_codec_decode_defaults();
  const int32_t bad[] = {-1, 5, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); ++i) {
    options.until = bad[i];
    CHECK_INVALID(decode(&options, &restored));
  }
  options = glc_codec_decode_defaults();
  options.max_pixels = 0;
  CHECK_INVALID(decode(&options, &restored));
  CHECK_INVALID(glc_codec_size(file, file_size, &options, &width, &height));
  options.max_pixels = kWidth * kHeight - 1;
  CHECK_BROKEN(decode(&options, &restored));
  CHECK_BROKEN(glc_codec_size(file, file_size, &options, &width, &height));
  options.max_pixels = UINT64_MAX;
  CHECK_OK(decode(&options, NULL));
  file[file_size - 1] ^= 1U;
  CHECK_BROKEN(decode(NULL, &restored));
  file[file_size - 1] ^= 1U;
  file[3] += 16;  // version
  CHECK_STATUS(decode(NULL, &restored), GLC_CODEC_UNSUPPORTED);
  CHECK_STATUS(glc_codec_size(file, file_size, NULL, &width, &height), GLC_CODEC_UNSUPPORTED);
  file[3] -= 16;
  options.partial = 1;
  file[kModelIdAt] ^= 1U;
  CHECK_BROKEN(decode(&options, &restored));
  CHECK(strstr(glc_codec_last_error(), "another model") != NULL);
  file[kModelIdAt] ^= 1U;
  CHECK(width == 7 && height == 8 && restored.n_parts == -5 && restored.verified == -6);
  CHECK_OK(decode(NULL, &restored));
}

/// What a call has told, and when it is to end.
struct heard {
  int times;
  int until;  // which time to answer other than 0
  int answer;
  double last;
  int falls;
};

static int hear(void* user, double done) {
  struct heard* heard = user;
  if (heard->times == 0 ? done != 0.0 : done < heard->last) heard->falls = 1;
  heard->last = done;
  return heard->times++ == heard->until ? heard->answer : 0;
}

/// A call that hears all, before and after three that are ended: at first, in the middle, at last.
static void check_heard(glc_codec_status (*call)(struct heard* heard), int least) {
  struct heard whole = {.until = -1, .answer = 1};
  CHECK_OK(call(&whole));
  CHECK(whole.times >= least && whole.falls == 0 && whole.last == 1.0);
  const int last[] = {0, whole.times / 2, whole.times - 1};
  const int answers[] = {1, -1, INT_MIN};
  for (int i = 0; i < 3; ++i) {
    struct heard heard = {.until = last[i], .answer = answers[i]};
    CHECK_STATUS(call(&heard), GLC_CODEC_CANCELLED);
    CHECK(heard.times == last[i] + 1);
    CHECK(strstr(glc_codec_last_error(), "cancelled") != NULL);
  }
  struct heard after = {.until = -1};
  CHECK_OK(call(&after));
  CHECK(after.times == whole.times);
}

static glc_codec_status decode_heard(struct heard* heard) {
  glc_codec_decode_options options = glc_codec_decode_defaults();
  options.progress = hear;
  options.user = heard;
  glc_codec_restored restored = {-1, -1};
  const glc_codec_status status = decode(&options, &restored);
  CHECK(restored.n_parts == (status == GLC_CODEC_OK ? 4 : -1));
  CHECK(status != GLC_CODEC_OK || crc32c(pixels, kBytes) == 0xBCCEB42FU);
  return status;
}

static glc_codec_encoder* heard_encoder;
static const uint8_t* heard_picture;

static glc_codec_status encode_heard(struct heard* heard) {
  glc_codec_encode_options options = glc_codec_encode_defaults();
  options.quality = 0.0;
  options.progress = hear;
  options.user = heard;
  glc_codec_file* made = NULL;
  const glc_codec_status status =
      glc_codec_encode(heard_encoder, heard_picture, kWidth, kHeight, &options, &made);
  CHECK((made != NULL) == (status == GLC_CODEC_OK));
  CHECK(made == NULL || (glc_codec_file_size(made) == file_size &&
                         memcmp(glc_codec_file_data(made), file, file_size) == 0));
  glc_codec_file_free(made);
  return status;
}

/// The golden file, from its picture; and every status.
static void test_encoder(void) {
  size_t size = 0;
  uint8_t* picture = read_file(GLC_GOLDEN "/exported/v1/picture.rgb", &size);
  CHECK(size == kBytes);
  uint8_t* whole = read_file(GLC_GOLDEN "/exported/v1/model.safetensors", &size);
  glc_codec_encoder* encoder = NULL;
  CHECK_INVALID(glc_codec_encoder_create(NULL, size, &encoder));
  CHECK_INVALID(glc_codec_encoder_create(whole, size, NULL));
  CHECK_BROKEN(glc_codec_encoder_create(whole, size / 2, &encoder));
  CHECK(encoder == NULL);
  CHECK_OK(glc_codec_encoder_create(whole, size, &encoder));
  free(whole);

  glc_codec_encode_options options = glc_codec_encode_defaults();
  CHECK(options.quality == 2.0 && options.target_bytes == 0 && options.tile == 0);
  CHECK(options.progress == NULL && options.user == NULL);
  options.quality = 0.0;
  glc_codec_file* made = NULL;
  CHECK_OK(glc_codec_encode(encoder, picture, kWidth, kHeight, &options, &made));
  CHECK(glc_codec_file_size(made) == file_size);
  CHECK(memcmp(glc_codec_file_data(made), file, file_size) == 0);
  glc_codec_file_free(made);
  made = NULL;
  options.target_bytes = UINT64_MAX;
  CHECK_OK(glc_codec_encode(encoder, picture, kWidth, kHeight, &options, &made));
  CHECK(glc_codec_file_size(made) > file_size);
  glc_codec_file_free(made);
  made = NULL;
  CHECK_OK(glc_codec_encode(encoder, picture, kWidth, kHeight, NULL, &made));
  glc_codec_file_free(made);

  heard_encoder = encoder;
  heard_picture = picture;
  check_heard(encode_heard, 8);

  made = NULL;
  options.target_bytes = 30;
  CHECK_INVALID(glc_codec_encode(encoder, picture, kWidth, kHeight, &options, &made));
  CHECK(strstr(glc_codec_last_error(), "target_bytes: expected at least") != NULL);
  options = glc_codec_encode_defaults();
  options.tile = 100;
  CHECK_INVALID(glc_codec_encode(encoder, picture, kWidth, kHeight, &options, &made));
  options.tile = 0;
  options.quality = 3.5;
  CHECK_INVALID(glc_codec_encode(encoder, picture, kWidth, kHeight, &options, &made));
  CHECK_INVALID(glc_codec_encode(NULL, picture, kWidth, kHeight, NULL, &made));
  CHECK_INVALID(glc_codec_encode(encoder, NULL, kWidth, kHeight, NULL, &made));
  CHECK_INVALID(glc_codec_encode(encoder, picture, kWidth, kHeight, NULL, NULL));
  CHECK_INVALID(glc_codec_encode(encoder, picture, 0, kHeight, NULL, &made));
  CHECK(made == NULL && glc_codec_file_data(NULL) == NULL && glc_codec_file_size(NULL) == 0);
  glc_codec_file_free(NULL);
  glc_codec_encoder_free(NULL);
  glc_codec_encoder_free(encoder);
  free(picture);
}

static void test_hostile(void) {
  uint8_t* bytes = allocate(file_size);
  glc_codec_decode_options options = glc_codec_decode_defaults();
  options.max_pixels = kWidth * kHeight;
  options.partial = 1;
  for (int round = 0; round < 40; ++round) {
    memcpy(bytes, file, file_size);
    for (int n = round % 4; n >= 0; --n) bytes[next_random() % file_size] = (uint8_t)next_random();
    const size_t size = next_random() % (file_size + 1);
    const glc_codec_status status =
        glc_codec_decode(decoder, bytes, size, &options, pixels, kBytes, NULL);
    // another size may be claimed than pixels have
    CHECK(status == GLC_CODEC_OK || status == GLC_CODEC_BITSTREAM_ERROR ||
          status == GLC_CODEC_UNSUPPORTED || status == GLC_CODEC_INVALID_ARGUMENT);
  }
  free(bytes);
}

int main(void) {
  model = read_file(GLC_GOLDEN "/exported/v1/model.safetensors", &model_size);
  file = read_file(GLC_GOLDEN "/exported/v1/0.glc", &file_size);
  pixels = allocate(kBytes);
  test_about();
  test_threads();
  test_models();
  test_picture();
  test_errors();
  check_heard(decode_heard, 12);
  test_encoder();
  test_hostile();
  glc_codec_decoder_free(decoder);
  free(pixels);
  free(file);
  free(model);
  return 0;
}

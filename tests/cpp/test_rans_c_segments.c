// SPDX-License-Identifier: Apache-2.0
//
// Segments and threads from C: every cut decodes, its bound holds, and hostile bytes are refused.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "glc/rans_c.h"

#define LAST_ERROR glc_rans_last_error
#include "check_c.h"

enum { kSymbols = 200000, kShort = 1000 };

static int32_t symbols[kSymbols];
static int32_t decoded[kSymbols];
static uint8_t rows8[kSymbols];
static uint8_t bytes[kSymbols];
static uint8_t bytes_back[kSymbols];

static glc_rans_tables* make_message(void) {
  const double scales[] = {0.5, 30.0};
  for (size_t i = 0; i < kSymbols; ++i) {
    rows8[i] = (uint8_t)(next_random() & 1U);
    symbols[i] = (int32_t)(next_random() % (rows8[i] == 0 ? 3 : 101)) - (rows8[i] == 0 ? 1 : 50);
    if (next_random() % 97 == 0) symbols[i] = (int32_t)next_random();
    bytes[i] = (uint8_t)(next_random() & next_random());
  }
  glc_rans_tables* tables = NULL;
  CHECK_OK(glc_rans_tables_from_gaussian(scales, 2, 12, &tables));
  return tables;
}

static void test_cut(const glc_rans_tables* tables, size_t n, size_t segment_symbols) {
  const size_t capacity = glc_rans_encode_bound(n, tables, segment_symbols);
  uint8_t* stream = allocate(capacity);
  const glc_rans_rows rows = glc_rans_rows_u8(rows8);
  size_t size = 0;
  CHECK_OK(glc_rans_encode(symbols, n, rows, tables, 0, segment_symbols, stream, capacity, &size));
  memset(decoded, 0, n * sizeof(*decoded));
  CHECK_OK(glc_rans_decode(stream, size, rows, tables, decoded, n));
  CHECK(memcmp(decoded, symbols, n * sizeof(*decoded)) == 0);

  // only escapes, 32 lanes: the bound still holds
  for (size_t i = 0; i < n; ++i) decoded[i] = (i % 2) != 0 ? INT32_MIN : INT32_MAX;
  CHECK_OK(glc_rans_encode(
      decoded, n, glc_rans_rows_one(0), tables, 32, segment_symbols, stream, capacity, &size));
  free(stream);
}

static void test_bad_cuts(const glc_rans_tables* tables) {
  const size_t bad[] = {1, 31, 33, ((size_t)1 << 30) + 32, SIZE_MAX - 1};
  uint8_t out[64];
  size_t size = 0;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); ++i) {
    glc_rans_encoder* encoder = NULL;
    CHECK_INVALID(glc_rans_encoder_create(0, bad[i], &encoder));
    CHECK(encoder == NULL);
    CHECK_INVALID(glc_rans_encode(
        symbols, 1, glc_rans_rows_one(0), tables, 0, bad[i], out, sizeof(out), &size));
    CHECK_INVALID(glc_rans_encode_bytes(bytes, 1, bad[i], out, sizeof(out), &size));
  }
}

// Several pushes, then every bit of the first bytes flipped and the rest here and there.
static void test_hostile(const glc_rans_tables* tables) {
  glc_rans_encoder* encoder = NULL;
  const glc_rans_rows rows = glc_rans_rows_u8(rows8);
  CHECK_OK(glc_rans_encoder_create(4, 96, &encoder));
  CHECK_OK(glc_rans_encoder_push(encoder, symbols, kShort, rows, tables));
  CHECK_OK(glc_rans_encoder_push(encoder, symbols, 0, rows, tables));
  CHECK_OK(glc_rans_encoder_push(encoder, symbols, 7, glc_rans_rows_one(1), tables));
  const size_t bound = glc_rans_encoder_bound(encoder);
  uint8_t* stream = allocate(bound);
  size_t size = 0;
  CHECK_OK(glc_rans_encoder_finish(encoder, stream, bound, &size));
  glc_rans_encoder_free(encoder);

  for (size_t bit = 0; bit < 8 * size; bit += bit < 2000 ? 1 : 7) {
    stream[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    glc_rans_decoder* decoder = NULL;
    glc_rans_status status = glc_rans_decoder_create(stream, size, &decoder);
    if (status == GLC_RANS_OK) {
      status = glc_rans_decoder_pull(decoder, rows, tables, decoded, kShort);
    }
    if (status == GLC_RANS_OK) status = glc_rans_decoder_pull(decoder, rows, tables, NULL, 0);
    if (status == GLC_RANS_OK) {
      status = glc_rans_decoder_pull(decoder, glc_rans_rows_one(1), tables, decoded, 7);
    }
    if (status == GLC_RANS_OK) status = glc_rans_decoder_finish(decoder);
    CHECK(status == GLC_RANS_BITSTREAM_ERROR || status == GLC_RANS_OK);
    glc_rans_decoder_free(decoder);
    stream[bit / 8] ^= (uint8_t)(1U << (bit % 8));
  }
  for (size_t cut = 0; cut < size; cut += 1 + cut / 32) {
    uint8_t* part = allocate(cut + 1);
    memcpy(part, stream, cut);
    CHECK_BROKEN(glc_rans_decode(part, cut, rows, tables, decoded, kShort));
    free(part);
  }
  free(stream);
}

static void test_bytes(size_t segment_bytes) {
  const size_t capacity = glc_rans_bytes_bound(kSymbols);
  uint8_t* coded = allocate(capacity);
  size_t size = 0;
  CHECK_OK(glc_rans_encode_bytes(bytes, kSymbols, segment_bytes, coded, capacity, &size));
  memset(bytes_back, 0, sizeof(bytes_back));
  CHECK_OK(glc_rans_decode_bytes(coded, size, bytes_back, kSymbols));
  CHECK(memcmp(bytes, bytes_back, sizeof(bytes)) == 0);
  free(coded);
}

static void test_threads(void) {
  CHECK_INVALID(glc_rans_set_threads(0));
  CHECK_INVALID(glc_rans_set_threads(-1));
  CHECK_INVALID(glc_rans_set_threads(1000000));
  CHECK_OK(glc_rans_set_threads(3));
  CHECK(glc_rans_threads() == 3);
}

int main(void) {
  glc_rans_tables* tables = make_message();
  const size_t cuts[] = {0, 32, 4096, (size_t)1 << 30, GLC_RANS_NO_SEGMENTS};
  const size_t sizes[] = {0, 1, 31, 33, kShort};
  test_threads();
  for (size_t c = 0; c < sizeof(cuts) / sizeof(*cuts); ++c) {
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); ++s) {
      test_cut(tables, sizes[s], cuts[c]);
    }
    test_cut(tables, kSymbols, cuts[c]);
    test_bytes(cuts[c]);
  }
  test_bad_cuts(tables);
  test_hostile(tables);
  glc_rans_tables_free(tables);
  return 0;
}

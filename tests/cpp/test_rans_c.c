// SPDX-License-Identifier: Apache-2.0
//
// The C interface from C, through the shared library: round trips, every status, hostile bytes.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "glc/rans_c.h"

#define LAST_ERROR glc_rans_last_error
#include "check_c.h"

enum { kSymbols = 3000, kRows = 5, kBits = 14 };

static const double kScales[kRows] = {0.05, 0.3, 1.0, 4.0, 20.0};

// What the tests share: symbols of five Gaussian rows, now and then far outside.
static int32_t symbols[kSymbols];
static int32_t decoded[kSymbols];
static uint8_t rows8[kSymbols];
static uint16_t rows16[kSymbols];
static int32_t rows32[kSymbols];
static glc_rans_tables* tables;

static void make_message(void) {
  for (size_t i = 0; i < kSymbols; ++i) {
    rows8[i] = (uint8_t)(next_random() % kRows);
    rows16[i] = rows8[i];
    rows32[i] = rows8[i];
    const int32_t spread = 2 * (int32_t)(kScales[rows8[i]] + 1);
    symbols[i] = (int32_t)(next_random() % (uint32_t)(2 * spread + 1)) - spread;
    if (next_random() % 97 == 0) symbols[i] = (int32_t)next_random();
  }
  symbols[7] = INT32_MIN;
  symbols[8] = INT32_MAX;
}

static void test_about(void) {
  CHECK(glc_rans_abi_version() == GLC_RANS_ABI_VERSION);
  CHECK(strchr(glc_rans_version(), '.') != NULL);
  CHECK(strcmp(glc_rans_last_error(), "") == 0);  // nothing failed yet
}

static void test_tables(void) {
  CHECK_OK(glc_rans_tables_from_gaussian(kScales, kRows, kBits, &tables));
  CHECK(glc_rans_tables_rows(tables) == kRows);
  CHECK(glc_rans_tables_bits(tables) == kBits);
  CHECK(glc_rans_tables_escape(tables) == 1);
  CHECK(glc_rans_tables_nbytes(tables) > 1000);

  const uint32_t freqs[] = {100, 156, 0, 10, 246};
  const int32_t n_bins[] = {2, 3};
  const int32_t offsets[] = {-1, 5};
  glc_rans_tables* plain = NULL;
  CHECK_OK(glc_rans_tables_from_freqs(freqs, 5, n_bins, offsets, 2, 8, 0, &plain));
  CHECK(glc_rans_tables_escape(plain) == 0);

  const int32_t two[] = {-1, 7};
  const uint8_t two_rows[] = {0, 1};
  uint64_t cost = 0;
  CHECK_OK(glc_rans_tables_cost(plain, two, 2, glc_rans_rows_u8(two_rows), &cost));
  CHECK(cost > 92000 && cost < 95000);  // log2(256 / 100) + log2(256 / 246) bits, times 65536
  const int32_t impossible[] = {5};     // frequency 0
  CHECK_INVALID(glc_rans_tables_cost(plain, impossible, 1, glc_rans_rows_one(1), &cost));
  CHECK_INVALID(glc_rans_tables_cost(plain, two, 2, glc_rans_rows_one(2), &cost));
  CHECK_INVALID(glc_rans_tables_cost(NULL, two, 2, glc_rans_rows_one(0), &cost));
  CHECK_INVALID(glc_rans_tables_cost(plain, two, 2, glc_rans_rows_one(0), NULL));
  glc_rans_tables_free(plain);

  const int32_t cdfs[] = {0, 100, 255, 256, 0, 256, 0, 0};
  const int32_t sizes[] = {4, 2};
  CHECK_OK(glc_rans_tables_from_cdfs(cdfs, 4, sizes, offsets, 2, 8, &plain));
  CHECK(glc_rans_tables_rows(plain) == 2);
  glc_rans_tables_free(plain);
  glc_rans_tables_free(NULL);
  CHECK(glc_rans_tables_rows(NULL) == 0 && glc_rans_tables_bits(NULL) == 0);
  CHECK(glc_rans_tables_escape(NULL) == 0 && glc_rans_tables_nbytes(NULL) == 0);
}

static void test_bad_tables(void) {
  const uint32_t freqs[] = {100, 155};  // one too few
  const int32_t n_bins[] = {2};
  const int32_t offsets[] = {0};
  const int32_t cdfs[] = {0, 100, 256};
  const int32_t sizes[] = {3};
  const double bad_scales[] = {1.0, -1.0};
  glc_rans_tables* out = NULL;
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, 1, 8, 0, &out));
  CHECK(strstr(glc_rans_last_error(), "expected a sum of 256, got 255") != NULL);
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 1, n_bins, offsets, 1, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, 1, 7, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, 1, INT32_MIN, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(NULL, 2, n_bins, offsets, 1, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, NULL, offsets, 1, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, NULL, 1, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, 0, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, SIZE_MAX, 8, 0, &out));
  CHECK_INVALID(glc_rans_tables_from_freqs(freqs, 2, n_bins, offsets, 1, 8, 0, NULL));
  CHECK_INVALID(glc_rans_tables_from_cdfs(cdfs, 2, sizes, offsets, 1, 8, &out));
  CHECK_INVALID(glc_rans_tables_from_cdfs(cdfs, SIZE_MAX, sizes, offsets, 2, 8, &out));
  CHECK_INVALID(glc_rans_tables_from_cdfs(cdfs, 3, sizes, offsets, 1, 9, &out));
  CHECK_INVALID(glc_rans_tables_from_cdfs(NULL, 3, sizes, offsets, 1, 8, &out));
  CHECK_INVALID(glc_rans_tables_from_gaussian(bad_scales, 2, kBits, &out));
  const int32_t bad_bits[] = {INT32_MIN, -1, 0, 7, 17, 64, 2000, INT32_MAX};
  for (size_t i = 0; i < sizeof(bad_bits) / sizeof(*bad_bits); ++i) {
    CHECK_INVALID(glc_rans_tables_from_gaussian(kScales, kRows, bad_bits[i], &out));
  }
  CHECK_INVALID(glc_rans_tables_from_gaussian(NULL, 0, kBits, &out));
  CHECK(out == NULL);
}

static void test_normalise(void) {
  const uint64_t counts[] = {1, 0, 5000};
  const double pmf[] = {0.25, 0.0, 1e-9, 0.5, 0.25};
  uint32_t freqs[5];
  CHECK_OK(glc_rans_normalise_counts(counts, 3, 8, freqs));
  CHECK(freqs[0] == 1 && freqs[1] == 0 && freqs[2] == 255);
  CHECK_OK(glc_rans_normalise_pmf(pmf, 5, 12, freqs));
  CHECK(freqs[0] + freqs[2] + freqs[3] + freqs[4] == 4096 && freqs[1] == 0 && freqs[2] == 1);
  const double none[] = {0.0, 0.0};
  const double negative[] = {1.0, -0.5};
  CHECK_INVALID(glc_rans_normalise_pmf(none, 2, 12, freqs));
  CHECK_INVALID(glc_rans_normalise_pmf(negative, 2, 12, freqs));
  CHECK_INVALID(glc_rans_normalise_pmf(pmf, 5, 40, freqs));
  CHECK_INVALID(glc_rans_normalise_pmf(NULL, 5, 12, freqs));
  CHECK_INVALID(glc_rans_normalise_counts(counts, 3, 8, NULL));
  CHECK_INVALID(glc_rans_normalise_counts(counts, 0, 8, freqs));
}

static void test_histograms(void) {
  const uint8_t bytes[] = {0, 2, 2, 2, 3};
  const int32_t values[] = {1, 1, 0};
  uint64_t counts[6];
  CHECK_OK(glc_rans_histogram_u8(bytes, sizeof(bytes), counts, 4));
  CHECK(counts[0] == 1 && counts[1] == 0 && counts[2] == 3 && counts[3] == 1);
  CHECK_OK(glc_rans_histogram_i32(values, 3, counts + 4, 2));
  CHECK(counts[4] == 1 && counts[5] == 2);
  const int32_t outside[] = {-1};
  CHECK_INVALID(glc_rans_histogram_u8(bytes, sizeof(bytes), counts, 3));
  CHECK_INVALID(glc_rans_histogram_i32(outside, 1, counts, 4));
  CHECK_INVALID(glc_rans_histogram_u8(NULL, 5, counts, 4));

  const uint64_t rows[] = {1, 0, 3, 1, 1, 2};
  const int32_t n_bins[] = {4, 2};
  const int32_t offsets[] = {0, 0};
  glc_rans_tables* scaled = NULL;
  uint64_t cost = 0;
  const int32_t absent[] = {1};
  CHECK_OK(glc_rans_tables_from_counts(rows, 6, n_bins, offsets, 2, 12, 0, &scaled));
  CHECK_INVALID(glc_rans_tables_cost(scaled, absent, 1, glc_rans_rows_one(0), &cost));
  glc_rans_tables_free(scaled);
  CHECK_OK(glc_rans_tables_from_counts(rows, 6, n_bins, offsets, 2, 12, 1, &scaled));
  CHECK_OK(glc_rans_tables_cost(scaled, absent, 1, glc_rans_rows_one(0), &cost));
  glc_rans_tables_free(scaled);

  const uint64_t huge[] = {UINT64_MAX, 1};
  const int32_t too_many[] = {4, 3};
  CHECK_INVALID(glc_rans_tables_from_counts(huge, 2, n_bins + 1, offsets, 1, 12, 0, &scaled));
  CHECK_INVALID(glc_rans_tables_from_counts(rows, 6, too_many, offsets, 2, 12, 0, &scaled));
  CHECK_INVALID(glc_rans_tables_from_counts(rows, 6, n_bins, offsets, 1, 12, 0, &scaled));
  CHECK_INVALID(glc_rans_tables_from_counts(rows, SIZE_MAX, n_bins, offsets, 2, 12, 0, &scaled));
}

// Pushes in three runs with the three types of rows; returns the stream.
static uint8_t* encode_in_pushes(int32_t lanes, size_t* size) {
  glc_rans_encoder* encoder = NULL;
  CHECK_OK(glc_rans_encoder_create(lanes, 0, &encoder));
  CHECK_OK(glc_rans_encoder_push(encoder, symbols, 1000, glc_rans_rows_u8(rows8), tables));
  CHECK_OK(
      glc_rans_encoder_push(encoder, symbols + 1000, 1, glc_rans_rows_one(rows8[1000]), tables));
  CHECK_INVALID(glc_rans_encoder_push(encoder, symbols, 1, glc_rans_rows_one(kRows), tables));
  CHECK_OK(glc_rans_encoder_push(encoder, NULL, 0, glc_rans_rows_u16(NULL), tables));
  CHECK_OK(glc_rans_encoder_push(
      encoder, symbols + 1001, 1000, glc_rans_rows_u16(rows16 + 1001), tables));
  CHECK_OK(glc_rans_encoder_push(
      encoder, symbols + 2001, kSymbols - 2001, glc_rans_rows_i32(rows32 + 2001), tables));
  const size_t bound = glc_rans_encoder_bound(encoder);
  uint8_t* stream = allocate(bound);
  CHECK_INVALID(glc_rans_encoder_finish(encoder, stream, bound - 1, size));
  CHECK_INVALID(glc_rans_encoder_finish(encoder, NULL, bound, size));
  CHECK_INVALID(glc_rans_encoder_finish(encoder, stream, bound, NULL));
  CHECK_OK(glc_rans_encoder_finish(encoder, stream, bound, size));
  CHECK(*size > 0 && *size <= bound);
  CHECK_INVALID(glc_rans_encoder_finish(encoder, stream, bound, size));
  CHECK_INVALID(glc_rans_encoder_push(encoder, symbols, 1, glc_rans_rows_one(0), tables));
  glc_rans_encoder_free(encoder);
  return stream;
}

static void test_push_and_pull(int32_t lanes) {
  size_t size = 0;
  uint8_t* stream = encode_in_pushes(lanes, &size);
  glc_rans_decoder* decoder = NULL;
  memset(decoded, 0, sizeof(decoded));
  CHECK_OK(glc_rans_decoder_create(stream, size, &decoder));
  CHECK_OK(glc_rans_decoder_pull(decoder, glc_rans_rows_i32(rows32), tables, decoded, 1000));
  CHECK_INVALID(glc_rans_decoder_pull(decoder, glc_rans_rows_one(-1), tables, decoded, 1));
  CHECK_INVALID(glc_rans_decoder_pull(decoder, glc_rans_rows_one(0), NULL, decoded, 1));
  CHECK_INVALID(glc_rans_decoder_pull(decoder, glc_rans_rows_one(0), tables, NULL, 1));
  CHECK_OK(
      glc_rans_decoder_pull(decoder, glc_rans_rows_one(rows32[1000]), tables, decoded + 1000, 1));
  CHECK_OK(glc_rans_decoder_pull(decoder, glc_rans_rows_u8(NULL), tables, NULL, 0));
  CHECK_OK(
      glc_rans_decoder_pull(decoder, glc_rans_rows_u8(rows8 + 1001), tables, decoded + 1001, 1000));
  CHECK_OK(glc_rans_decoder_pull(
      decoder, glc_rans_rows_u16(rows16 + 2001), tables, decoded + 2001, kSymbols - 2001));
  CHECK_OK(glc_rans_decoder_finish(decoder));
  CHECK(memcmp(decoded, symbols, sizeof(symbols)) == 0);
  glc_rans_decoder_free(decoder);

  CHECK_OK(glc_rans_decoder_create(stream, size, &decoder));
  CHECK_OK(glc_rans_decoder_pull(decoder, glc_rans_rows_u8(rows8), tables, decoded, 999));
  CHECK_BROKEN(glc_rans_decoder_finish(decoder));  // too early
  CHECK_BROKEN(glc_rans_decoder_pull(decoder, glc_rans_rows_u8(rows8), tables, decoded, 1));
  glc_rans_decoder_free(decoder);
  free(stream);
}

static void test_one_call(void) {
  const size_t bound = glc_rans_encode_bound(kSymbols, tables, 0);
  uint8_t* stream = allocate(bound);
  size_t size = 0;
  CHECK_OK(glc_rans_encode(
      symbols, kSymbols, glc_rans_rows_u8(rows8), tables, 0, 0, stream, bound, &size));
  memset(decoded, 0, sizeof(decoded));
  CHECK_OK(glc_rans_decode(stream, size, glc_rans_rows_u16(rows16), tables, decoded, kSymbols));
  CHECK(memcmp(decoded, symbols, sizeof(symbols)) == 0);

  size_t empty = 0;
  CHECK_OK(glc_rans_encode(NULL, 0, glc_rans_rows_one(0), tables, 32, 0, stream, bound, &empty));
  CHECK_OK(glc_rans_decode(stream, empty, glc_rans_rows_one(0), tables, NULL, 0));

  // the worst symbols fit the bound: every one escapes
  for (size_t i = 0; i < kSymbols; ++i) decoded[i] = (i % 2) != 0 ? INT32_MIN : INT32_MAX;
  CHECK_OK(glc_rans_encode(
      decoded, kSymbols, glc_rans_rows_one(0), tables, 32, 0, stream, bound, &size));
  CHECK(glc_rans_encode_bound(SIZE_MAX, tables, 0) == SIZE_MAX);
  CHECK(glc_rans_encode_bound(SIZE_MAX / 12, tables, 32) == SIZE_MAX);
  CHECK(glc_rans_encode_bound(1, NULL, 0) == SIZE_MAX);

  const glc_rans_rows one = glc_rans_rows_one(0);
  const glc_rans_rows odd = {rows8, 4, 0};
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, tables, 3, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, tables, -1, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, tables, 64, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, odd, tables, 0, 0, stream, bound, &size));
  CHECK_INVALID(
      glc_rans_encode(symbols, 9, glc_rans_rows_u8(NULL), tables, 0, 0, stream, 99, &size));
  CHECK_INVALID(glc_rans_encode(symbols, SIZE_MAX, one, tables, 0, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(NULL, 9, one, tables, 0, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, NULL, 0, 0, stream, bound, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, tables, 0, 0, stream, 4, &size));
  CHECK_INVALID(glc_rans_encode(symbols, 9, one, tables, 0, 0, stream, bound, NULL));
  CHECK_INVALID(glc_rans_decode(NULL, 9, one, tables, decoded, 9));
  CHECK_INVALID(glc_rans_decode(stream, SIZE_MAX, one, tables, decoded, 9));
  CHECK_BROKEN(glc_rans_decode(NULL, 0, one, tables, decoded, 9));
  free(stream);
}

static void test_null_handles(void) {
  size_t size = 0;
  uint8_t byte = 0;
  glc_rans_decoder* decoder = NULL;
  CHECK_INVALID(glc_rans_encoder_create(0, 0, NULL));
  CHECK_INVALID(glc_rans_encoder_push(NULL, symbols, 1, glc_rans_rows_one(0), tables));
  CHECK_INVALID(glc_rans_encoder_finish(NULL, &byte, 1, &size));
  CHECK(glc_rans_encoder_bound(NULL) == 0);
  CHECK_INVALID(glc_rans_decoder_create(NULL, 1, &decoder));
  CHECK_INVALID(glc_rans_decoder_create(&byte, 1, NULL));
  CHECK_BROKEN(glc_rans_decoder_create(&byte, 1, &decoder));
  CHECK(decoder == NULL);
  CHECK_INVALID(glc_rans_decoder_pull(NULL, glc_rans_rows_one(0), tables, decoded, 1));
  CHECK_INVALID(glc_rans_decoder_finish(NULL));
  glc_rans_encoder_free(NULL);
  glc_rans_decoder_free(NULL);
}

static void test_bytes(void) {
  enum { kBytes = 5000, kRoom = kBytes + 64 };
  uint8_t* data = allocate(kBytes);
  uint8_t* coded = allocate(kRoom);
  uint8_t* back = allocate(kBytes);
  for (size_t i = 0; i < kBytes; ++i) data[i] = (uint8_t)(next_random() & next_random() & 15U);
  size_t size = 0;
  size_t n = 0;
  CHECK(glc_rans_bytes_bound(kBytes) <= kRoom && glc_rans_bytes_bound(SIZE_MAX) == SIZE_MAX);
  CHECK_OK(glc_rans_encode_bytes(data, kBytes, 0, coded, kRoom, &size));
  CHECK(size < kBytes / 2);
  CHECK_OK(glc_rans_decoded_bytes_size(coded, size, kBytes, &n));
  CHECK(n == kBytes);
  CHECK_OK(glc_rans_decode_bytes(coded, size, back, n));
  CHECK(memcmp(data, back, kBytes) == 0);
  CHECK_BROKEN(glc_rans_decoded_bytes_size(coded, size, kBytes - 1, &n));
  CHECK_INVALID(glc_rans_decode_bytes(coded, size, back, n - 1));
  CHECK_INVALID(glc_rans_encode_bytes(data, kBytes, 0, coded, 100, &size));
  CHECK_INVALID(glc_rans_encode_bytes(data, kBytes, 0, NULL, 100, &size));
  CHECK_INVALID(glc_rans_encode_bytes(NULL, 1, 0, coded, kRoom, &size));
  CHECK_INVALID(glc_rans_encode_bytes(data, 1, 0, coded, kRoom, NULL));
  CHECK_INVALID(glc_rans_encode_bytes(coded, 9, 0, coded + 8, 12, &size));
  CHECK_INVALID(glc_rans_decode_bytes(coded, size, coded + 64, n));
  CHECK_INVALID(glc_rans_decoded_bytes_size(coded, size, kBytes, NULL));
  CHECK_INVALID(glc_rans_decode_bytes(NULL, size, back, n));
  for (size_t cut = 0; cut < size; cut += 1 + cut / 16) {
    uint8_t* part = allocate(cut + 1);
    memcpy(part, coded, cut);
    CHECK_BROKEN(glc_rans_decode_bytes(part, cut, back, cut == 0 ? 0 : kBytes));
    free(part);
  }

  for (size_t i = 0; i < kBytes; ++i) data[i] = (uint8_t)next_random();  // does not compress
  CHECK_OK(glc_rans_encode_bytes(data, kBytes, 0, coded, glc_rans_bytes_bound(kBytes), &size));
  CHECK_OK(glc_rans_decode_bytes(coded, size, back, kBytes));
  CHECK(memcmp(data, back, kBytes) == 0);
  const size_t roomy = 3 * glc_rans_bytes_bound(kBytes);  // coded into it without a copy
  uint8_t* other = allocate(roomy);
  size_t other_size = 0;
  CHECK_OK(glc_rans_encode_bytes(data, kBytes, 0, other, roomy, &other_size));
  CHECK(other_size == size && memcmp(other, coded, size) == 0);
  free(other);
  CHECK_OK(glc_rans_encode_bytes(NULL, 0, 0, coded, glc_rans_bytes_bound(0), &size));
  CHECK_OK(glc_rans_decode_bytes(coded, size, NULL, 0));
  free(data);
  free(coded);
  free(back);
}

// Cut streams, flipped bits and noise: symbols or a bitstream error, never anything else.
static void test_hostile_streams(void) {
  size_t size = 0;
  uint8_t* stream = encode_in_pushes(0, &size);
  CHECK_OK(
      glc_rans_encode(symbols, 400, glc_rans_rows_u8(rows8), tables, 0, 0, stream, size, &size));
  for (size_t cut = 0; cut < size; ++cut) {
    uint8_t* part = allocate(cut + 1);
    memcpy(part, stream, cut);
    CHECK_BROKEN(glc_rans_decode(part, cut, glc_rans_rows_u8(rows8), tables, decoded, 400));
    free(part);
  }
  for (size_t bit = 0; bit < 8 * size; ++bit) {
    stream[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    const glc_rans_status status =
        glc_rans_decode(stream, size, glc_rans_rows_u8(rows8), tables, decoded, 400);
    CHECK(status == GLC_RANS_BITSTREAM_ERROR || status == GLC_RANS_OK);
    stream[bit / 8] ^= (uint8_t)(1U << (bit % 8));
  }
  for (int round = 0; round < 2000; ++round) {
    uint8_t noise[64];
    const size_t n = next_random() % sizeof(noise);
    for (size_t i = 0; i < n; ++i) noise[i] = (uint8_t)next_random();
    glc_rans_status status =
        glc_rans_decode(noise, n, glc_rans_rows_u8(rows8), tables, decoded, 100);
    CHECK(status == GLC_RANS_BITSTREAM_ERROR || status == GLC_RANS_OK);
    size_t claimed = 0;
    status = glc_rans_decoded_bytes_size(noise, n, kSymbols, &claimed);
    if (status == GLC_RANS_OK) {
      status = glc_rans_decode_bytes(noise, n, (uint8_t*)decoded, claimed);
    }
    CHECK(status == GLC_RANS_BITSTREAM_ERROR || status == GLC_RANS_OK);
  }
  free(stream);
}

int main(void) {
  test_about();
  make_message();
  test_tables();
  test_bad_tables();
  test_normalise();
  test_histograms();
  for (int32_t lanes = 1; lanes <= 32; lanes *= 2) test_push_and_pull(lanes);
  test_push_and_pull(0);
  test_one_call();
  test_null_handles();
  test_bytes();
  test_hostile_streams();
  glc_rans_tables_free(tables);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
//
// A codec in plain C: a signal, the differences of its samples, a table learnt from their
// histogram. Prints the sizes, checks the round trip, then damages the stream.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glc/rans_c.h"

enum { kSamples = 50000, kReach = 64, kBins = 2 * kReach + 2, kBits = 14 };

static void stop(const char* what) {
  fprintf(stderr, "%s: %s\n", what, glc_rans_last_error());
  exit(1);
}

// A triangle wave with noise, and its differences.
static void make_signal(int32_t* samples, int32_t* residuals) {
  uint32_t noise = 1;
  int32_t previous = 0;
  for (int32_t i = 0; i < kSamples; ++i) {
    noise = noise * 1664525U + 1013904223U;
    const int32_t phase = i % 400;
    samples[i] = 5 * (phase < 200 ? phase : 400 - phase) + (int32_t)(noise >> 28);
    residuals[i] = samples[i] - previous;
    previous = samples[i];
  }
}

// Both sides need the same table; a real codec would ship it, or send the counts.
static glc_rans_tables* learn_table(const int32_t* residuals) {
  uint64_t counts[kBins] = {0};  // -kReach .. kReach, then the escapes
  for (size_t i = 0; i < kSamples; ++i) {
    const int32_t bin = residuals[i] + kReach;
    ++counts[bin >= 0 && bin < kBins - 1 ? bin : kBins - 1];
  }
  const int32_t n_bins = kBins;
  const int32_t first = -kReach;
  glc_rans_tables* tables = NULL;
  if (glc_rans_tables_from_counts(counts, kBins, &n_bins, &first, 1, kBits, 1, &tables) !=
      GLC_RANS_OK) {
    stop("tables");
  }
  return tables;
}

int main(void) {
  static int32_t samples[kSamples];
  static int32_t residuals[kSamples];
  static int32_t decoded[kSamples];
  make_signal(samples, residuals);
  residuals[17] = 2000000000;  // far outside the table: costs bits, not correctness

  glc_rans_tables* tables = learn_table(residuals);
  const glc_rans_rows rows = glc_rans_rows_one(0);
  const size_t capacity = glc_rans_encode_bound(kSamples, tables, 0);
  uint8_t* stream = malloc(capacity);
  if (stream == NULL) return 1;

  size_t size = 0;
  if (glc_rans_encode(residuals, kSamples, rows, tables, 0, 0, stream, capacity, &size) !=
      GLC_RANS_OK) {
    stop("encode");
  }
  uint64_t cost = 0;
  if (glc_rans_tables_cost(tables, residuals, kSamples, rows, &cost) != GLC_RANS_OK) stop("cost");
  if (glc_rans_decode(stream, size, rows, tables, decoded, kSamples) != GLC_RANS_OK) stop("decode");
  if (memcmp(decoded, residuals, sizeof(residuals)) != 0) {
    fprintf(stderr, "the round trip changed the symbols\n");
    return 1;
  }
  const double ideal = (double)cost / 65536.0 / 8.0;
  printf("glc %s: %d symbols in %zu bytes, ideal %.1f (%+.2f %%)\n",
         glc_rans_version(),
         (int)kSamples,
         size,
         ideal,
         100.0 * ((double)size / ideal - 1.0));

  // Cut in half: an error, never a crash and never a silent half.
  if (glc_rans_decode(stream, size / 2, rows, tables, decoded, kSamples) !=
      GLC_RANS_BITSTREAM_ERROR) {
    fprintf(stderr, "a cut stream went unnoticed\n");
    return 1;
  }
  printf("half of the stream: %s\n", glc_rans_last_error());
  free(stream);
  glc_rans_tables_free(tables);
  return 0;
}

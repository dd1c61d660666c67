// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "glc/cdf.h"
#include "glc/rans.h"
#include "glc/rans_c.h"
#include "rans/rans_c_guard.h"

using glc::rans::TableSet;
using glc::rans::c::array;
using glc::rans::c::create;
using glc::rans::c::destroy;
using glc::rans::c::guarded;
using glc::rans::c::object;
using glc::rans::c::rows_of;
using glc::rans::c::saturating;

extern "C" {

glc_rans_status glc_rans_tables_from_freqs(const uint32_t* freqs,
                                           size_t n_freqs,
                                           const int32_t* n_bins,
                                           const int32_t* offsets,
                                           size_t n_rows,
                                           int32_t bits,
                                           int32_t escape,
                                           glc_rans_tables** tables) {
  return create(tables, "rans: tables", [&] {
    return TableSet::from_freqs(array(freqs, n_freqs, "rans: freqs"),
                                array(n_bins, n_rows, "rans: n_bins"),
                                array(offsets, n_rows, "rans: offsets"),
                                bits,
                                escape != 0);
  });
}

glc_rans_status glc_rans_tables_from_counts(const uint64_t* counts,
                                            size_t n_counts,
                                            const int32_t* n_bins,
                                            const int32_t* offsets,
                                            size_t n_rows,
                                            int32_t bits,
                                            int32_t escape,
                                            glc_rans_tables** tables) {
  return create(tables, "rans: tables", [&] {
    return glc::cdf::count_tables(array(counts, n_counts, "rans: counts"),
                                  array(n_bins, n_rows, "rans: n_bins"),
                                  array(offsets, n_rows, "rans: offsets"),
                                  bits,
                                  escape != 0);
  });
}

glc_rans_status glc_rans_tables_from_cdfs(const int32_t* cdfs,
                                          size_t width,
                                          const int32_t* sizes,
                                          const int32_t* offsets,
                                          size_t n_rows,
                                          int32_t bits,
                                          glc_rans_tables** tables) {
  return create(tables, "rans: tables", [&] {
    return TableSet::from_cdfs(array(cdfs, saturating(0, n_rows, width), "rans: cdfs"),
                               width,
                               array(sizes, n_rows, "rans: sizes"),
                               array(offsets, n_rows, "rans: offsets"),
                               bits);
  });
}

glc_rans_status glc_rans_tables_from_gaussian(const double* scales,
                                              size_t n_scales,
                                              int32_t bits,
                                              glc_rans_tables** tables) {
  return create(tables, "rans: tables", [&] {
    return glc::cdf::gaussian_tables(array(scales, n_scales, "rans: scales"), bits);
  });
}

void glc_rans_tables_free(glc_rans_tables* tables) { destroy(tables); }

size_t glc_rans_tables_rows(const glc_rans_tables* tables) {
  return tables == nullptr ? 0 : tables->set.rows();
}
int32_t glc_rans_tables_bits(const glc_rans_tables* tables) {
  return tables == nullptr ? 0 : tables->set.bits();
}
int32_t glc_rans_tables_escape(const glc_rans_tables* tables) {
  return tables != nullptr && tables->set.escape() ? 1 : 0;
}
size_t glc_rans_tables_nbytes(const glc_rans_tables* tables) {
  return tables == nullptr ? 0 : tables->set.nbytes();
}

glc_rans_status glc_rans_tables_cost(const glc_rans_tables* tables,
                                     const int32_t* symbols,
                                     size_t n,
                                     glc_rans_rows rows,
                                     uint64_t* cost) {
  return guarded([&] {
    uint64_t& result = object(cost, "rans: cost");
    result = object(tables, "rans: tables")
                 .set.cost(array(symbols, n, "rans: symbols"), rows_of(rows, n));
  });
}

glc_rans_status glc_rans_normalise_counts(const uint64_t* counts,
                                          size_t n,
                                          int32_t bits,
                                          uint32_t* freqs) {
  return guarded([&] {
    glc::cdf::normalise(array(counts, n, "rans: counts"), bits, array(freqs, n, "rans: freqs"));
  });
}

glc_rans_status glc_rans_normalise_pmf(const double* pmf, size_t n, int32_t bits, uint32_t* freqs) {
  return guarded([&] {
    glc::cdf::normalise(array(pmf, n, "rans: pmf"), bits, array(freqs, n, "rans: freqs"));
  });
}

glc_rans_status glc_rans_histogram_u8(const uint8_t* data,
                                      size_t n,
                                      uint64_t* counts,
                                      size_t n_counts) {
  return guarded([&] {
    glc::cdf::histogram(array(data, n, "rans: data"), array(counts, n_counts, "rans: counts"));
  });
}

glc_rans_status glc_rans_histogram_i32(const int32_t* data,
                                       size_t n,
                                       uint64_t* counts,
                                       size_t n_counts) {
  return guarded([&] {
    glc::cdf::histogram(array(data, n, "rans: data"), array(counts, n_counts, "rans: counts"));
  });
}

}  // extern "C"

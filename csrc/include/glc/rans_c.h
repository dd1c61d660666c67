/* SPDX-License-Identifier: Apache-2.0 */
/// The coder of glc/rans.h for C and for every language that calls C: plain C11, opaque handles,
/// no exceptions. docs/embedding.md shows it at work; docs/format.md specifies the stream.
///
///   glc_rans_tables* tables = NULL;
///   const glc_rans_rows rows = glc_rans_rows_u8(row_of_each);
///   glc_rans_status status = glc_rans_tables_from_gaussian(scales, n_scales, 14, &tables);
///   status = glc_rans_encode(symbols, n, rows, tables, 0, 0, out, capacity, &size);
///   status = glc_rans_decode(out, size, rows, tables, decoded, n);
///   if (status != GLC_RANS_OK) fprintf(stderr, "%s\n", glc_rans_last_error());
///   glc_rans_tables_free(tables);
///
/// Errors: whatever can go wrong is a status; nothing is printed, and no argument ends the process:
/// NULL where memory is needed, numbers out of range and hostile streams are all answered. Outputs
/// are written only on GLC_RANS_OK, except arrays that were being filled: after an error their
/// content is unspecified. After any error an encoder is as it was before the call, which may be
/// repeated. So is a decoder after GLC_RANS_INVALID_ARGUMENT; after any other error of a pull or a
/// finish, GLC_RANS_OUT_OF_MEMORY too, it answers nothing but GLC_RANS_BITSTREAM_ERROR. NULL with a
/// count of 0 is an empty array.
///
/// Memory: callers own all buffers, and inputs are borrowed for the call only (but see
/// glc_rans_decoder_create). Symbols are not decoded over their rows or their stream, nor bytes
/// coded or decoded over what they come from: that is GLC_RANS_INVALID_ARGUMENT. A *_free function
/// takes NULL.
///
/// Threads: tables never change and may be used by any number of threads at once. An encoder or
/// decoder belongs to one thread at a time.
#ifndef GLC_RANS_C_H_
#define GLC_RANS_C_H_

/* NOLINTBEGIN(modernize-*,hicpp-*): this header is C */
#include <stddef.h>
#include <stdint.h>

/// segment_symbols and segment_bytes that never cut into segments.
#define GLC_RANS_NO_SEGMENTS SIZE_MAX

/// Raised when a function or a type of this header changes incompatibly; names the shared library.
#define GLC_RANS_ABI_VERSION 0

#if defined(_WIN32) && defined(GLC_RANS_BUILD_SHARED)
#define GLC_RANS_API __declspec(dllexport)
#elif defined(_WIN32) && defined(GLC_RANS_USE_SHARED)
#define GLC_RANS_API __declspec(dllimport)
#elif defined(GLC_RANS_BUILD_SHARED)
#define GLC_RANS_API __attribute__((visibility("default")))
#else
#define GLC_RANS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// The classes of glc/error.h, and what C++ has exceptions of its own for.
typedef int32_t glc_rans_status;
enum {
  GLC_RANS_OK = 0,
  GLC_RANS_INVALID_ARGUMENT = 1,  ///< the caller's mistake
  GLC_RANS_BITSTREAM_ERROR = 2,   ///< the data is malformed or truncated
  GLC_RANS_UNSUPPORTED = 3,       ///< valid, but this build lacks it
  GLC_RANS_CUDA_ERROR = 4,
  GLC_RANS_OUT_OF_MEMORY = 5,
  GLC_RANS_INTERNAL_ERROR = 6  ///< a bug of ours
};

/// Immutable set of integer cdfs, one row per kind of symbol.
typedef struct glc_rans_tables glc_rans_tables;
/// Buffers pushes and codes them at finish.
typedef struct glc_rans_encoder glc_rans_encoder;
/// Reads a stream in the order of the pushes.
typedef struct glc_rans_decoder glc_rans_decoder;

/// GLC_RANS_ABI_VERSION of the library that runs; a caller may compare it with its header's.
GLC_RANS_API uint32_t glc_rans_abi_version(void);
/// Library version, for example "0.1.0".
GLC_RANS_API const char* glc_rans_version(void);
/// What went wrong in this thread's last call that returned an error, at most 255 characters; ""
/// before the first. Valid until the thread's next error.
GLC_RANS_API const char* glc_rans_last_error(void);

/// Threads that one call may use, the calling one included: at first GLC_NUM_THREADS of the
/// environment, or the CPUs that this process may run on. 0 when GLC_NUM_THREADS is no number from
/// 1 to 256: then calls that need threads answer GLC_RANS_INVALID_ARGUMENT.
GLC_RANS_API int32_t glc_rans_threads(void);
/// Sets it for the process, from 1 to 256.
GLC_RANS_API glc_rans_status glc_rans_set_threads(int32_t n);

/* ---------------------------------------------------------------------------------------- rows */

enum {
  GLC_RANS_ROWS_ONE = 0,
  GLC_RANS_ROWS_UINT8 = 1,
  GLC_RANS_ROWS_UINT16 = 2,
  GLC_RANS_ROWS_INT32 = 3
};

/// The table row of each symbol of a run. Made by the four functions below.
typedef struct glc_rans_rows {
  const void* data;  ///< a row per symbol, borrowed; unless type is GLC_RANS_ROWS_ONE
  int32_t type;
  int32_t row;  ///< the row of all symbols, if type is GLC_RANS_ROWS_ONE
} glc_rans_rows;

static inline glc_rans_rows glc_rans_rows_one(int32_t row) {
  const glc_rans_rows all = {NULL, GLC_RANS_ROWS_ONE, row};
  return all;
}
static inline glc_rans_rows glc_rans_rows_u8(const uint8_t* rows) {
  const glc_rans_rows each = {rows, GLC_RANS_ROWS_UINT8, 0};
  return each;
}
static inline glc_rans_rows glc_rans_rows_u16(const uint16_t* rows) {
  const glc_rans_rows each = {rows, GLC_RANS_ROWS_UINT16, 0};
  return each;
}
static inline glc_rans_rows glc_rans_rows_i32(const int32_t* rows) {
  const glc_rans_rows each = {rows, GLC_RANS_ROWS_INT32, 0};
  return each;
}

/* -------------------------------------------------------------------------------------- tables */

/// Rows of frequencies, concatenated: row r has n_bins[r] of the n_freqs entries, which sum to
/// 1 << bits (8..16), and codes the symbols offsets[r] + 0 .. offsets[r] + n_bins[r] - 1.
/// With escape != 0 the last bin of each row takes every other int32, and no frequency may be 0.
/// Without it a symbol of frequency 0, or outside its row, cannot be encoded.
GLC_RANS_API glc_rans_status glc_rans_tables_from_freqs(const uint32_t* freqs,
                                                        size_t n_freqs,
                                                        const int32_t* n_bins,
                                                        const int32_t* offsets,
                                                        size_t n_rows,
                                                        int32_t bits,
                                                        int32_t escape,
                                                        glc_rans_tables** tables);

/// The same from histograms, which are scaled to 1 << bits; a positive count keeps a frequency.
/// With escape != 0 a count of 0 is taken as 1. A row of counts sums to at most 2^46.
GLC_RANS_API glc_rans_status glc_rans_tables_from_counts(const uint64_t* counts,
                                                         size_t n_counts,
                                                         const int32_t* n_bins,
                                                         const int32_t* offsets,
                                                         size_t n_rows,
                                                         int32_t bits,
                                                         int32_t escape,
                                                         glc_rans_tables** tables);

/// CompressAI's layout: cdfs [n_rows, width], of which row r uses sizes[r] entries from 0 to
/// 1 << bits, strictly increasing; its last bin is the escape.
GLC_RANS_API glc_rans_status glc_rans_tables_from_cdfs(const int32_t* cdfs,
                                                       size_t width,
                                                       const int32_t* sizes,
                                                       const int32_t* offsets,
                                                       size_t n_rows,
                                                       int32_t bits,
                                                       glc_rans_tables** tables);

/// One row per scale in (0, 1024]: a zero-mean Gaussian binned at half-integers, with escape. At
/// most 65536 rows, and 2^24 bins in all.
GLC_RANS_API glc_rans_status glc_rans_tables_from_gaussian(const double* scales,
                                                           size_t n_scales,
                                                           int32_t bits,
                                                           glc_rans_tables** tables);

GLC_RANS_API void glc_rans_tables_free(glc_rans_tables* tables);

/// Properties; 0 for NULL.
GLC_RANS_API size_t glc_rans_tables_rows(const glc_rans_tables* tables);
GLC_RANS_API int32_t glc_rans_tables_bits(const glc_rans_tables* tables);
GLC_RANS_API int32_t glc_rans_tables_escape(const glc_rans_tables* tables);
/// Memory of the coding tables, in bytes.
GLC_RANS_API size_t glc_rans_tables_nbytes(const glc_rans_tables* tables);

/// Ideal size of symbols [n], escapes included, in units of 2^-16 bit. Equal on every machine.
GLC_RANS_API glc_rans_status glc_rans_tables_cost(const glc_rans_tables* tables,
                                                  const int32_t* symbols,
                                                  size_t n,
                                                  glc_rans_rows rows,
                                                  uint64_t* cost);

/// freqs [n] ~ counts [n] or pmf [n], summing to 1 << bits (8..16) exactly, as the frequencies of a
/// row have to; what is positive keeps a frequency. Equal on every machine, so either end of a
/// stream may compute them. Counts sum to at most 2^46; probabilities are finite, and need not sum
/// to one.
GLC_RANS_API glc_rans_status glc_rans_normalise_counts(const uint64_t* counts,
                                                       size_t n,
                                                       int32_t bits,
                                                       uint32_t* freqs);
GLC_RANS_API glc_rans_status glc_rans_normalise_pmf(const double* pmf,
                                                    size_t n,
                                                    int32_t bits,
                                                    uint32_t* freqs);

/// counts[v] = number of values equal to v, which must be below n_counts. data [n], counts
/// [n_counts], written.
GLC_RANS_API glc_rans_status glc_rans_histogram_u8(const uint8_t* data,
                                                   size_t n,
                                                   uint64_t* counts,
                                                   size_t n_counts);
GLC_RANS_API glc_rans_status glc_rans_histogram_i32(const int32_t* data,
                                                    size_t n,
                                                    uint64_t* counts,
                                                    size_t n_counts);

/* ------------------------------------------------------------------------------------- encoder */

/// lanes: 1, 2, 4, 8, 16 or 32 interleaved states, or 0 to choose by the size of the result.
/// segment_symbols: a multiple of 32 in 32..2^30, into runs of which each push is cut, so that
/// threads can share the work; GLC_RANS_NO_SEGMENTS for one set of states in all; or 0 to choose by
/// the size of the result.
GLC_RANS_API glc_rans_status glc_rans_encoder_create(int32_t lanes,
                                                     size_t segment_symbols,
                                                     glc_rans_encoder** encoder);
GLC_RANS_API void glc_rans_encoder_free(glc_rans_encoder* encoder);

/// Appends symbols [n]. After an error the encoder is as it was before. The tables may be freed
/// right after.
GLC_RANS_API glc_rans_status glc_rans_encoder_push(glc_rans_encoder* encoder,
                                                   const int32_t* symbols,
                                                   size_t n,
                                                   glc_rans_rows rows,
                                                   const glc_rans_tables* tables);

/// Upper bound in bytes of the stream of what has been pushed so far; 0 for NULL.
GLC_RANS_API size_t glc_rans_encoder_bound(const glc_rans_encoder* encoder);

/// Writes the stream and its size; capacity must be at least the bound. The encoder then takes
/// neither symbols nor another finish; free it.
GLC_RANS_API glc_rans_status glc_rans_encoder_finish(glc_rans_encoder* encoder,
                                                     uint8_t* out,
                                                     size_t capacity,
                                                     size_t* size);

/* ------------------------------------------------------------------------------------- decoder */

/// Reads the head. data [size] is borrowed until the decoder is freed.
GLC_RANS_API glc_rans_status glc_rans_decoder_create(const uint8_t* data,
                                                     size_t size,
                                                     glc_rans_decoder** decoder);
GLC_RANS_API void glc_rans_decoder_free(glc_rans_decoder* decoder);

/// Writes symbols [n]: those of the next push, with the same count, rows and tables. After any
/// error but GLC_RANS_INVALID_ARGUMENT the decoder refuses further pulls.
GLC_RANS_API glc_rans_status glc_rans_decoder_pull(glc_rans_decoder* decoder,
                                                   glc_rans_rows rows,
                                                   const glc_rans_tables* tables,
                                                   int32_t* symbols,
                                                   size_t n);

/// Verifies that the stream ends where the last pull ended.
GLC_RANS_API glc_rans_status glc_rans_decoder_finish(glc_rans_decoder* decoder);

/* ------------------------------------------------------------------------------- in one call */

/// Bytes that glc_rans_encode may need for n symbols, whatever they are; SIZE_MAX when the tables
/// are NULL or size_t cannot hold the bound.
GLC_RANS_API size_t glc_rans_encode_bound(size_t n,
                                          const glc_rans_tables* tables,
                                          size_t segment_symbols);

/// Encoder create, push, finish. glc_rans_encode_bound bytes of capacity always suffice.
GLC_RANS_API glc_rans_status glc_rans_encode(const int32_t* symbols,
                                             size_t n,
                                             glc_rans_rows rows,
                                             const glc_rans_tables* tables,
                                             int32_t lanes,
                                             size_t segment_symbols,
                                             uint8_t* out,
                                             size_t capacity,
                                             size_t* size);

/// Decoder create, pull, finish.
GLC_RANS_API glc_rans_status glc_rans_decode(const uint8_t* data,
                                             size_t size,
                                             glc_rans_rows rows,
                                             const glc_rans_tables* tables,
                                             int32_t* symbols,
                                             size_t n);

/* --------------------------------------------------------------------------------- plain bytes */

/// Bytes that glc_rans_encode_bytes may need for n bytes; SIZE_MAX when size_t cannot hold it.
GLC_RANS_API size_t glc_rans_bytes_bound(size_t n);

/// Order-0 coding of data [n], self-describing; stored when that is shorter. segment_bytes is to
/// bytes what an encoder's segment_symbols is to symbols.
/// glc_rans_bytes_bound bytes of capacity always suffice; a little over twice that saves a copy.
GLC_RANS_API glc_rans_status glc_rans_encode_bytes(const uint8_t* data,
                                                   size_t n,
                                                   size_t segment_bytes,
                                                   uint8_t* out,
                                                   size_t capacity,
                                                   size_t* size);

/// Size of what glc_rans_encode_bytes coded, as its head claims: an error above max_size, so that
/// a caller allocates no more than that.
GLC_RANS_API glc_rans_status glc_rans_decoded_bytes_size(const uint8_t* data,
                                                         size_t size,
                                                         size_t max_size,
                                                         size_t* n);

/// Inverse of glc_rans_encode_bytes; n must be the size above.
GLC_RANS_API glc_rans_status glc_rans_decode_bytes(const uint8_t* data,
                                                   size_t size,
                                                   uint8_t* out,
                                                   size_t n);

#ifdef __cplusplus
} /* extern "C" */
#endif
/* NOLINTEND(modernize-*,hicpp-*) */

#endif /* GLC_RANS_C_H_ */

// SPDX-License-Identifier: Apache-2.0
//
// The C face of the coder. Each function checks what C cannot express (NULL, counts that no array
// has), calls the C++ of the same name, and turns exceptions into a status and a text.
#include "glc/rans_c.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "glc/version.h"

struct glc_rans_tables {
  glc::rans::TableSet set;
};
struct glc_rans_encoder {
  glc::rans::Encoder encoder;
};
struct glc_rans_decoder {
  glc::rans::Decoder decoder;
};

namespace {

using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::Rows;
using glc::rans::TableSet;

// An escape number has at most 34 binary digits, 67 bits in Elias-gamma form.
constexpr std::size_t kMaxEscapeBits = 67;
constexpr std::size_t kMaxHeadBytes =
    64;  // descriptors, counts, the escape section's length; slack
// A segment's states, its end, padding of escapes and of the segment; slack of the encoder.
constexpr std::size_t kMaxSegmentBytes = 4 * glc::rans::kMaxLanes + 48;
// What nobody asked for has at least this many symbols, the last of a push apart: it aims at 64 KiB
// of at most 11 bytes each.
constexpr std::size_t kMinDefaultSegment = 4096;
constexpr std::size_t kMaxVarintBytes = 10;

char* last_error_buffer() noexcept {
  thread_local char buffer[256] = "";
  return buffer;
}

glc_rans_status failed(glc_rans_status status, const char* what) noexcept {
  std::snprintf(last_error_buffer(), 256, "%s", what);
  return status;
}

/// Runs body; no exception leaves.
template <class Body>
glc_rans_status guarded(Body body) noexcept {
  try {
    body();
    return GLC_RANS_OK;
  } catch (const InvalidArgument& error) {
    return failed(GLC_RANS_INVALID_ARGUMENT, error.what());
  } catch (const glc::BitstreamError& error) {
    return failed(GLC_RANS_BITSTREAM_ERROR, error.what());
  } catch (const glc::Unsupported& error) {
    return failed(GLC_RANS_UNSUPPORTED, error.what());
  } catch (const glc::CudaError& error) {
    return failed(GLC_RANS_CUDA_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return failed(GLC_RANS_OUT_OF_MEMORY, "rans: out of memory");
  } catch (const std::length_error& error) {  // more than a container can hold
    return failed(GLC_RANS_OUT_OF_MEMORY, error.what());
  } catch (const std::exception& error) {
    return failed(GLC_RANS_INTERNAL_ERROR, error.what());
  } catch (...) {
    return failed(GLC_RANS_INTERNAL_ERROR, "rans: unknown exception");
  }
}

/// The object behind a pointer that must not be NULL.
template <class T>
T& object(T* pointer, const char* name) {
  if (pointer == nullptr) {
    throw InvalidArgument("rans: " + std::string(name) + ": expected a pointer, got NULL");
  }
  return *pointer;
}

template <class T>
std::span<T> array(T* data, std::size_t n, const char* name) {
  if (n == 0) return {};
  object(data, name);
  if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
    throw InvalidArgument("rans: " + std::string(name) + ": expected a count that memory can hold");
  }
  return {data, n};
}

Rows rows_of(const glc_rans_rows& rows, std::size_t n) {
  const auto each = [&]<class T>(T) { return array(static_cast<const T*>(rows.data), n, "rows"); };
  switch (rows.type) {
    case GLC_RANS_ROWS_ONE:
      return {rows.row};
    case GLC_RANS_ROWS_UINT8:
      return {each(std::uint8_t{})};
    case GLC_RANS_ROWS_UINT16:
      return {each(std::uint16_t{})};
    case GLC_RANS_ROWS_INT32:
      return {each(std::int32_t{})};
    default:
      throw InvalidArgument("rans: rows: expected a type 0..3, got " + std::to_string(rows.type));
  }
}

/// Creates a Handle around what make() returns and hands it to the caller.
template <class Handle, class Make>
glc_rans_status create(Handle** out, const char* name, Make make) noexcept {
  return guarded([&] {
    Handle*& slot = object(out, name);
    slot = std::make_unique<Handle>(Handle{make()}).release();
  });
}

template <class Handle>
void destroy(Handle* handle) noexcept {
  const std::unique_ptr<Handle> owned(handle);
}

/// Throws unless segments are left to the library or declined.
void check_segments(std::size_t n, const char* name) {
  if (n != 0 && n != GLC_RANS_NO_SEGMENTS) {
    throw glc::Unsupported("rans: " + std::string(name) +
                           ": expected 0 or GLC_RANS_NO_SEGMENTS in this version");
  }
}

Encoder make_encoder(std::int32_t lanes, std::size_t segment_symbols) {
  check_segments(segment_symbols, "segment_symbols");
  return Encoder(lanes == 0 ? std::nullopt : std::optional<int>(lanes));
}

/// a + b * c, or SIZE_MAX where that does not fit.
std::size_t saturating(std::size_t a, std::size_t b, std::size_t c) {
  if (c != 0 && b > (SIZE_MAX - a) / c) return SIZE_MAX;
  return a + b * c;
}

}  // namespace

extern "C" {

uint32_t glc_rans_abi_version(void) { return GLC_RANS_ABI_VERSION; }
const char* glc_rans_version(void) { return glc::kVersion.data(); }
const char* glc_rans_last_error(void) { return last_error_buffer(); }

// ---------------------------------------------------------------------------------------- tables

glc_rans_status glc_rans_tables_from_freqs(const uint32_t* freqs,
                                           size_t n_freqs,
                                           const int32_t* n_bins,
                                           const int32_t* offsets,
                                           size_t n_rows,
                                           int32_t bits,
                                           int32_t escape,
                                           glc_rans_tables** tables) {
  return create(tables, "tables", [&] {
    return TableSet::from_freqs(array(freqs, n_freqs, "freqs"),
                                array(n_bins, n_rows, "n_bins"),
                                array(offsets, n_rows, "offsets"),
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
  return create(tables, "tables", [&] {
    return glc::cdf::count_tables(array(counts, n_counts, "counts"),
                                  array(n_bins, n_rows, "n_bins"),
                                  array(offsets, n_rows, "offsets"),
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
  return create(tables, "tables", [&] {
    return TableSet::from_cdfs(array(cdfs, saturating(0, n_rows, width), "cdfs"),
                               width,
                               array(sizes, n_rows, "sizes"),
                               array(offsets, n_rows, "offsets"),
                               bits);
  });
}

glc_rans_status glc_rans_tables_from_gaussian(const double* scales,
                                              size_t n_scales,
                                              int32_t bits,
                                              glc_rans_tables** tables) {
  return create(tables, "tables", [&] {
    return glc::cdf::gaussian_tables(array(scales, n_scales, "scales"), bits);
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
    uint64_t& result = object(cost, "cost");
    result = object(tables, "tables").set.cost(array(symbols, n, "symbols"), rows_of(rows, n));
  });
}

glc_rans_status glc_rans_histogram_u8(const uint8_t* data,
                                      size_t n,
                                      uint64_t* counts,
                                      size_t n_counts) {
  return guarded(
      [&] { glc::cdf::histogram(array(data, n, "data"), array(counts, n_counts, "counts")); });
}

glc_rans_status glc_rans_histogram_i32(const int32_t* data,
                                       size_t n,
                                       uint64_t* counts,
                                       size_t n_counts) {
  return guarded(
      [&] { glc::cdf::histogram(array(data, n, "data"), array(counts, n_counts, "counts")); });
}

// --------------------------------------------------------------------------------------- encoder

glc_rans_status glc_rans_encoder_create(int32_t lanes,
                                        size_t segment_symbols,
                                        glc_rans_encoder** encoder) {
  return create(encoder, "encoder", [&] { return make_encoder(lanes, segment_symbols); });
}

void glc_rans_encoder_free(glc_rans_encoder* encoder) { destroy(encoder); }

glc_rans_status glc_rans_encoder_push(glc_rans_encoder* encoder,
                                      const int32_t* symbols,
                                      size_t n,
                                      glc_rans_rows rows,
                                      const glc_rans_tables* tables) {
  return guarded([&] {
    object(encoder, "encoder")
        .encoder.push(array(symbols, n, "symbols"), rows_of(rows, n), object(tables, "tables").set);
  });
}

size_t glc_rans_encoder_bound(const glc_rans_encoder* encoder) {
  return encoder == nullptr ? 0 : encoder->encoder.encoded_bound();
}

glc_rans_status glc_rans_encoder_finish(glc_rans_encoder* encoder,
                                        uint8_t* out,
                                        size_t capacity,
                                        size_t* size) {
  return guarded([&] {
    size_t& result = object(size, "size");
    result = object(encoder, "encoder").encoder.finish(array(out, capacity, "out"));
  });
}

// --------------------------------------------------------------------------------------- decoder

glc_rans_status glc_rans_decoder_create(const uint8_t* data,
                                        size_t size,
                                        glc_rans_decoder** decoder) {
  return create(decoder, "decoder", [&] { return Decoder(array(data, size, "data")); });
}

void glc_rans_decoder_free(glc_rans_decoder* decoder) { destroy(decoder); }

glc_rans_status glc_rans_decoder_pull(glc_rans_decoder* decoder,
                                      glc_rans_rows rows,
                                      const glc_rans_tables* tables,
                                      int32_t* symbols,
                                      size_t n) {
  return guarded([&] {
    object(decoder, "decoder")
        .decoder.pull(rows_of(rows, n), object(tables, "tables").set, array(symbols, n, "symbols"));
  });
}

glc_rans_status glc_rans_decoder_finish(glc_rans_decoder* decoder) {
  return guarded([&] { object(decoder, "decoder").decoder.finish(); });
}

// ----------------------------------------------------------------------------------- in one call

size_t glc_rans_encode_bound(size_t n, const glc_rans_tables* tables, size_t segment_symbols) {
  if (tables == nullptr) return SIZE_MAX;
  std::size_t bound = saturating(kMaxHeadBytes + kMaxSegmentBytes, n, 2);
  if (tables->set.escape()) bound = saturating(bound, n, (kMaxEscapeBits + 7) / 8);
  if (segment_symbols == GLC_RANS_NO_SEGMENTS) return bound;
  const std::size_t least = segment_symbols == 0 ? kMinDefaultSegment : segment_symbols;
  return saturating(bound, n / least + 1, kMaxSegmentBytes);
}

glc_rans_status glc_rans_encode(const int32_t* symbols,
                                size_t n,
                                glc_rans_rows rows,
                                const glc_rans_tables* tables,
                                int32_t lanes,
                                size_t segment_symbols,
                                uint8_t* out,
                                size_t capacity,
                                size_t* size) {
  return guarded([&] {
    size_t& result = object(size, "size");
    Encoder encoder = make_encoder(lanes, segment_symbols);
    encoder.push(array(symbols, n, "symbols"), rows_of(rows, n), object(tables, "tables").set);
    result = encoder.finish(array(out, capacity, "out"));
  });
}

glc_rans_status glc_rans_decode(const uint8_t* data,
                                size_t size,
                                glc_rans_rows rows,
                                const glc_rans_tables* tables,
                                int32_t* symbols,
                                size_t n) {
  return guarded([&] {
    Decoder decoder(array(data, size, "data"));
    decoder.pull(rows_of(rows, n), object(tables, "tables").set, array(symbols, n, "symbols"));
    decoder.finish();
  });
}

// ----------------------------------------------------------------------------------- plain bytes

size_t glc_rans_bytes_bound(size_t n) { return saturating(kMaxHeadBytes, n, 1); }

glc_rans_status glc_rans_encode_bytes(const uint8_t* data,
                                      size_t n,
                                      size_t segment_bytes,
                                      uint8_t* out,
                                      size_t capacity,
                                      size_t* size) {
  return guarded([&] {
    size_t& result = object(size, "size");
    check_segments(segment_bytes, "segment_bytes");
    const auto room = array(out, capacity, "out");
    const auto coded = glc::rans::encode_bytes(array(data, n, "data"));
    if (coded.size() > room.size()) {
      throw InvalidArgument("bytes: out: expected " + std::to_string(coded.size()) +
                            " bytes, got " + std::to_string(capacity));
    }
    std::copy(coded.begin(), coded.end(), room.begin());
    result = coded.size();
  });
}

glc_rans_status glc_rans_decoded_bytes_size(const uint8_t* data,
                                            size_t size,
                                            size_t max_size,
                                            size_t* n) {
  return guarded([&] {
    size_t& result = object(n, "n");
    result = glc::rans::decoded_bytes_size(array(data, size, "data"), max_size);
  });
}

glc_rans_status glc_rans_decode_bytes(const uint8_t* data, size_t size, uint8_t* out, size_t n) {
  return guarded([&] { glc::rans::decode_bytes(array(data, size, "data"), array(out, n, "out")); });
}

}  // extern "C"

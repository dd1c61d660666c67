// SPDX-License-Identifier: Apache-2.0
#include "glc/rans_c.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core/big_array.h"
#include "core/overlap.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "glc/threads.h"
#include "glc/version.h"
#include "rans/rans_c_guard.h"

namespace glc::rans::c {

Rows rows_of(const glc_rans_rows& rows, std::size_t n) {
  switch (rows.type) {
    case GLC_RANS_ROWS_ONE:
      return {rows.row};
    case GLC_RANS_ROWS_UINT8:
      return {array(static_cast<const std::uint8_t*>(rows.data), n, "rans: rows")};
    case GLC_RANS_ROWS_UINT16:
      return {array(static_cast<const std::uint16_t*>(rows.data), n, "rans: rows")};
    case GLC_RANS_ROWS_INT32:
      return {array(static_cast<const std::int32_t*>(rows.data), n, "rans: rows")};
    default:
      throw InvalidArgument("rans: rows: expected a type 0..3, got " + std::to_string(rows.type));
  }
}

}  // namespace glc::rans::c

namespace {

using glc::InvalidArgument;
using glc::rans::Decoder;
using glc::rans::Encoder;
using glc::rans::c::array;
using glc::rans::c::create;
using glc::rans::c::destroy;
using glc::rans::c::guarded;
using glc::rans::c::object;
using glc::rans::c::rows_of;
using glc::rans::c::saturating;

// An escape number has at most 34 binary digits, 67 bits in Elias-gamma form.
constexpr std::size_t kMaxEscapeBits = 67;
// Descriptors, counts, the length of the escapes; slack of the encoder.
constexpr std::size_t kMaxHeadBytes = 64;
// A segment's states, its end, padding of escapes and of the segment; slack of the encoder.
constexpr std::size_t kMaxSegmentBytes = 4 * glc::rans::kMaxLanes + 48;
// What nobody asked for has at least this many symbols, the last of a push apart: it aims at 64 KiB
// of at most 11 bytes each.
constexpr std::size_t kMinDefaultSegment = 4096;

/// A C caller's choice of segments as C++ takes it.
std::optional<std::size_t> segments_of(std::size_t n) {
  if (n == 0) return std::nullopt;
  return n == GLC_RANS_NO_SEGMENTS ? glc::rans::kNoSegments : n;
}

Encoder make_encoder(std::int32_t lanes, std::size_t segment_symbols) {
  return Encoder(lanes == 0 ? std::nullopt : std::optional<int>(lanes),
                 segments_of(segment_symbols));
}

}  // namespace

extern "C" {

uint32_t glc_rans_abi_version(void) { return GLC_RANS_ABI_VERSION; }
const char* glc_rans_version(void) { return glc::kVersion.data(); }
const char* glc_rans_last_error(void) { return glc::c::last_error(); }

int32_t glc_rans_threads(void) {
  int32_t n = 0;
  guarded([&] { n = glc::threads(); });
  return n;
}
glc_rans_status glc_rans_set_threads(int32_t n) {
  return guarded([&] { glc::set_threads(n); });
}

// --------------------------------------------------------------------------------------- encoder

glc_rans_status glc_rans_encoder_create(int32_t lanes,
                                        size_t segment_symbols,
                                        glc_rans_encoder** encoder) {
  return create(encoder, "rans: encoder", [&] { return make_encoder(lanes, segment_symbols); });
}

void glc_rans_encoder_free(glc_rans_encoder* encoder) { destroy(encoder); }

glc_rans_status glc_rans_encoder_push(glc_rans_encoder* encoder,
                                      const int32_t* symbols,
                                      size_t n,
                                      glc_rans_rows rows,
                                      const glc_rans_tables* tables) {
  return guarded([&] {
    object(encoder, "rans: encoder")
        .encoder.push(array(symbols, n, "rans: symbols"),
                      rows_of(rows, n),
                      object(tables, "rans: tables").set);
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
    size_t& result = object(size, "rans: size");
    result = object(encoder, "rans: encoder").encoder.finish(array(out, capacity, "rans: out"));
  });
}

// --------------------------------------------------------------------------------------- decoder

glc_rans_status glc_rans_decoder_create(const uint8_t* data,
                                        size_t size,
                                        glc_rans_decoder** decoder) {
  return create(decoder, "rans: decoder", [&] { return Decoder(array(data, size, "rans: data")); });
}

void glc_rans_decoder_free(glc_rans_decoder* decoder) { destroy(decoder); }

glc_rans_status glc_rans_decoder_pull(glc_rans_decoder* decoder,
                                      glc_rans_rows rows,
                                      const glc_rans_tables* tables,
                                      int32_t* symbols,
                                      size_t n) {
  return guarded([&] {
    object(decoder, "rans: decoder")
        .decoder.pull(rows_of(rows, n),
                      object(tables, "rans: tables").set,
                      array(symbols, n, "rans: symbols"));
  });
}

glc_rans_status glc_rans_decoder_finish(glc_rans_decoder* decoder) {
  return guarded([&] { object(decoder, "rans: decoder").decoder.finish(); });
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
    size_t& result = object(size, "rans: size");
    Encoder encoder = make_encoder(lanes, segment_symbols);
    encoder.push(
        array(symbols, n, "rans: symbols"), rows_of(rows, n), object(tables, "rans: tables").set);
    result = encoder.finish(array(out, capacity, "rans: out"));
  });
}

glc_rans_status glc_rans_decode(const uint8_t* data,
                                size_t size,
                                glc_rans_rows rows,
                                const glc_rans_tables* tables,
                                int32_t* symbols,
                                size_t n) {
  return guarded([&] {
    Decoder decoder(array(data, size, "rans: data"));
    decoder.pull(
        rows_of(rows, n), object(tables, "rans: tables").set, array(symbols, n, "rans: symbols"));
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
    size_t& result = object(size, "rans: size");
    const auto room = array(out, capacity, "rans: out");
    const auto bytes = array(data, n, "rans: data");
    glc::require_apart(bytes, room, "bytes: out: expected memory apart from the data's");
    const auto segments = segments_of(segment_bytes);
    const std::size_t bound = glc::rans::encoded_bytes_bound(n, segments);
    if (room.size() >= bound) {
      result = glc::rans::encode_bytes(bytes, room, segments);
      return;
    }
    const auto coded = glc::big_array<std::uint8_t>(bound);
    const std::size_t coded_size = glc::rans::encode_bytes(bytes, {coded.get(), bound}, segments);
    if (coded_size > room.size()) {
      throw InvalidArgument("bytes: out: expected " + std::to_string(coded_size) + " bytes, got " +
                            std::to_string(capacity));
    }
    std::copy_n(coded.get(), coded_size, room.data());
    result = coded_size;
  });
}

glc_rans_status glc_rans_decoded_bytes_size(const uint8_t* data,
                                            size_t size,
                                            size_t max_size,
                                            size_t* n) {
  return guarded([&] {
    size_t& result = object(n, "rans: n");
    result = glc::rans::decoded_bytes_size(array(data, size, "rans: data"), max_size);
  });
}

glc_rans_status glc_rans_decode_bytes(const uint8_t* data, size_t size, uint8_t* out, size_t n) {
  return guarded([&] {
    glc::rans::decode_bytes(array(data, size, "rans: data"), array(out, n, "rans: out"));
  });
}

}  // extern "C"

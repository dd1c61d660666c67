// SPDX-License-Identifier: Apache-2.0
//
// Memory runs out at every allocation in turn: the C interface answers GLC_RANS_OUT_OF_MEMORY,
// keeps its promises and leaks nothing (the address sanitizer looks).
#include <cstddef>
#include <cstdint>
#include <vector>

#include "check.h"
#include "glc/rans_c.h"
#include "limited_memory.h"

namespace {

using glc::test::allocations_left;
using glc::test::check;
using glc::test::check_equal;
using glc::test::kNever;

constexpr std::size_t kSymbols = 700;

struct Buffers {
  std::vector<std::int32_t> symbols = std::vector<std::int32_t>(kSymbols);
  std::vector<std::int32_t> decoded = std::vector<std::int32_t>(kSymbols);
  std::vector<std::uint8_t> rows = std::vector<std::uint8_t>(kSymbols);
  std::vector<std::uint8_t> stream = std::vector<std::uint8_t>(16384);
};

/// Pulls everything. A pull that failed is the last, though memory is back: the decoder has moved.
glc_rans_status pull_again(Buffers& b, std::size_t size, const glc_rans_tables* tables) {
  const glc_rans_rows rows = glc_rans_rows_u8(b.rows.data());
  glc_rans_decoder* decoder = nullptr;
  glc_rans_status status = glc_rans_decoder_create(b.stream.data(), size, &decoder);
  if (status == GLC_RANS_OK) {
    status = glc_rans_decoder_pull(decoder, rows, tables, b.decoded.data(), kSymbols);
    if (status != GLC_RANS_OK) {
      allocations_left = kNever;
      for (const std::size_t n : {kSymbols, std::size_t{1}}) {
        check_equal(glc_rans_decoder_pull(decoder, rows, tables, b.decoded.data(), n),
                    GLC_RANS_BITSTREAM_ERROR,
                    "a pull after one that failed");
      }
      check_equal(glc_rans_decoder_finish(decoder), GLC_RANS_BITSTREAM_ERROR, "finish after that");
    }
  }
  glc_rans_decoder_free(decoder);
  return status;
}

/// Both one-call pairs and the handles, up to the first error.
glc_rans_status run(Buffers& b, const glc_rans_tables* tables, std::size_t segment_symbols) {
  const glc_rans_rows rows = glc_rans_rows_u8(b.rows.data());
  std::size_t size = 0;
  glc_rans_encoder* encoder = nullptr;
  glc_rans_status status = glc_rans_encoder_create(0, segment_symbols, &encoder);
  if (status == GLC_RANS_OK) {
    status = glc_rans_encoder_push(encoder, b.symbols.data(), kSymbols, rows, tables);
    if (status != GLC_RANS_OK) {  // as before: the same push again is the whole message
      allocations_left = kNever;
      check_equal(glc_rans_encoder_push(encoder, b.symbols.data(), kSymbols, rows, tables),
                  GLC_RANS_OK);
      check_equal(glc_rans_encoder_finish(encoder, b.stream.data(), b.stream.size(), &size),
                  GLC_RANS_OK);
      check_equal(glc_rans_decode(b.stream.data(), size, rows, tables, b.decoded.data(), kSymbols),
                  GLC_RANS_OK);
      check(b.decoded == b.symbols, "the push that failed left something behind");
    } else {
      status = glc_rans_encoder_finish(encoder, b.stream.data(), b.stream.size(), &size);
    }
  }
  glc_rans_encoder_free(encoder);
  if (status != GLC_RANS_OK) return status;
  status = pull_again(b, size, tables);
  if (status != GLC_RANS_OK) return status;
  status = glc_rans_decode(b.stream.data(), size, rows, tables, b.decoded.data(), kSymbols);
  if (status != GLC_RANS_OK) return status;
  check(b.decoded == b.symbols, "round trip");
  status = glc_rans_encode_bytes(
      b.rows.data(), b.rows.size(), segment_symbols, b.stream.data(), b.stream.size(), &size);
  if (status != GLC_RANS_OK) return status;
  return glc_rans_decode_bytes(b.stream.data(), size, b.rows.data(), b.rows.size());
}

glc_rans_status make_tables(glc_rans_tables** tables) {
  const double scales[] = {0.3, 5.0};
  return glc_rans_tables_from_gaussian(scales, 2, 12, tables);
}

/// Lets body fail at allocation 0, 1, ... until it needs no more than that.
template <class Body>
void exhaust(Body body) {
  glc_rans_status status = GLC_RANS_OUT_OF_MEMORY;
  std::size_t k = 0;
  for (; status != GLC_RANS_OK; ++k) {
    allocations_left = k;
    status = body();
    allocations_left = kNever;
    check(status == GLC_RANS_OK || status == GLC_RANS_OUT_OF_MEMORY, "another status");
    check(k < 10000, "never succeeds");
  }
  check(k > 3, "allocations were not counted");
}

}  // namespace

int main() {
  Buffers buffers;
  for (std::size_t i = 0; i < kSymbols; ++i) {
    buffers.rows[i] = static_cast<std::uint8_t>(i * i % 7 % 2);
    buffers.symbols[i] = static_cast<std::int32_t>(i % 5) - 2;
  }
  buffers.symbols[9] = 1000000;
  exhaust([] {
    glc_rans_tables* tables = nullptr;
    const glc_rans_status status = make_tables(&tables);
    check((tables != nullptr) == (status == GLC_RANS_OK), "tables are made or not");
    glc_rans_tables_free(tables);
    return status;
  });
  glc_rans_tables* tables = nullptr;
  check_equal(make_tables(&tables), GLC_RANS_OK);
  for (const std::size_t segment_symbols : {std::size_t{0}, std::size_t{64}}) {
    exhaust([&] { return run(buffers, tables, segment_symbols); });
  }

  // A mistake is reported even when there is no memory for its text.
  allocations_left = 0;
  const glc_rans_status status = glc_rans_encoder_push(nullptr, nullptr, 0, {}, tables);
  allocations_left = kNever;
  check(status == GLC_RANS_INVALID_ARGUMENT || status == GLC_RANS_OUT_OF_MEMORY, "no status");
  glc_rans_tables_free(tables);
  return 0;
}

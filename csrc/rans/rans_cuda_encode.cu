// SPDX-License-Identifier: Apache-2.0
//
// Symbols to a record. Escape numbers are written by the kernel that packs: it walks the symbols of
// a segment that has any once more, in their order, so that the workspace need not hold them.
#include "core/check.h"
#include "rans/rans_cuda_encode.cuh"
#include "rans/rans_cuda_host.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "rans";

std::size_t aligned(std::size_t bytes) {
  return (bytes + kRansAlign - 1) / kRansAlign * kRansAlign;
}

/// Sizes of the arrays of EncodeWork, each aligned.
struct WorkSizes {
  std::size_t plan, n_words, escape_bits, ends, states, words;
  explicit WorkSizes(const EncodeShape& shape)
      : plan(aligned(sizeof(EncodePlan))),
        n_words(aligned(4 * std::size_t{shape.n_segments})),
        escape_bits(aligned(8 * std::size_t{shape.n_segments})),
        ends(n_words),
        states(std::size_t{4} * kWarpLanes * shape.n_segments),
        words(aligned(2 * shape.n)) {}
  [[nodiscard]] std::size_t total() const {
    return plan + n_words + escape_bits + ends + states + words;
  }
};

int log2_lanes_of(int lanes) {
  for (int log2 = 0; log2 <= 5; ++log2) {
    if (lanes == 1 << log2) return log2;
  }
  fail_argument("rans", "lanes", "1, 2, 4, 8, 16 or 32", lanes);
}

// --------------------------------------------------------------------------------------- begin

struct BeginParams {
  std::uint8_t* out;
  std::uint64_t capacity;
  RansProgress* progress;
};

__global__ void encode_begin_kernel(BeginParams p) {
  *p.progress = {.position = rans::kStreamHeadBytes};
  if (p.capacity < rans::kStreamHeadBytes) {
    note(&p.progress->error, RansError::kCapacity, rans::kStreamHeadBytes);
  } else {
    *reinterpret_cast<std::uint32_t*>(p.out) = rans::kDescriptorSegments;
  }
}

// ---------------------------------------------------------------------------------------- code

/// A symbol's bin: of its row, or its row's escape.
struct FoundBin {
  std::uint32_t entry;
  std::uint64_t raw;  ///< of an escape
  bool escapes;
};
__device__ inline FoundBin find_bin(const rans::RowInfo& row, std::int32_t symbol) {
  // Below the row the difference wraps to a large number; either side ends at the escape.
  const std::uint32_t place =
      static_cast<std::uint32_t>(symbol) - static_cast<std::uint32_t>(row.offset);
  if (place < row.n_direct) return {row.encode_base + place, 0, false};
  const std::int64_t v = std::int64_t{symbol} - row.offset;
  return {row.encode_base + row.n_direct, rans::escape_raw(v, row.n_direct), true};
}

template <class Row>
__device__ rans::RowInfo row_info(const EncodeParams<Row>& p,
                                  const std::byte* tables,
                                  std::uint32_t row,
                                  std::uint64_t i) {
  if (row >= p.layout.n_rows) {
    note(&p.progress->error, RansError::kRow, i);
    row = 0;
  }
  return reinterpret_cast<const rans::RowInfo*>(tables + p.layout.rows_at)[row];
}

template <class Row>
struct SymbolSource {
  struct Symbol {
    std::int32_t value;
    std::uint32_t row;
  };
  const EncodeParams<Row>& p;
  const std::byte* tables;

  __device__ Symbol fetch(std::uint64_t i) const {
    return {__ldg(&p.symbols[i]), row_of(p.rows, p.one_row, i)};
  }
  __device__ FoundBin find(Symbol symbol, std::uint64_t i) const {
    return find_bin(row_info(p, tables, symbol.row, i), symbol.value);
  }
  __device__ rans::EncodeEntry entry(Symbol symbol, std::uint64_t i) const {
    const FoundBin bin = find(symbol, i);
    rans::EncodeEntry entry{};
    if (!bin.escapes || p.layout.escape) {
      entry = reinterpret_cast<const rans::EncodeEntry*>(tables)[bin.entry];
    }
    if (entry.reciprocal == 0) note(&p.progress->error, RansError::kSymbol, i);
    return entry;
  }
  /// The escape number of symbol i, 0 when it does not escape.
  __device__ std::uint64_t number(std::uint64_t i) const {
    const FoundBin bin = find(fetch(i), i);
    return bin.escapes ? bin.raw + 1 : 0;
  }
};

template <class Row, bool kShared>
__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) code_kernel(EncodeParams<Row> p) {
  const std::byte* const global = p.blob + p.layout.encode_at;
  const std::byte* const tables = kShared ? stage(global, p.layout.encode_bytes) : global;
  const SymbolSource<Row> source{p, tables};
  const std::uint32_t log2_lanes = p.work.plan->log2_lanes;
  const std::uint32_t sum_factor = rans::sum_power(1U << log2_lanes);
  each_turn(turns_of(p.shape.n_segments, log2_lanes), [&](std::uint64_t turn) {
    const Group group(log2_lanes, turn);
    std::uint32_t sum = 0;
    const auto sum_up = [&](std::uint64_t i) {
      sum = sum * sum_factor + static_cast<std::uint32_t>(__ldg(&p.symbols[i]));
      return p.layout.escape && source.find(source.fetch(i), i).escapes;
    };
    const auto number_of = [&](std::uint64_t i) { return source.number(i); };
    const EscapesSeen escapes = see_escapes(p.shape, group, 0, sum_up, number_of);
    const std::uint32_t check = rans::check_with_sum<std::int32_t>(
        escapes.check, sum_of_lanes(group, sum, symbols_in(p.shape, group.segment)));
    __syncwarp();
    code_segment(p.shape, p.work, group, p.layout.bits, check, source);
    if (group.lane == 0 && group.segment < p.shape.n_segments) {
      p.work.escape_bits[group.segment] = escapes.n_bits;
    }
  });
}

// --------------------------------------------------------------------------------------- place

struct PlanParams {
  EncodePlan* plan;
  std::uint32_t log2_lanes;
};
__global__ void plan_kernel(PlanParams p) { *p.plan = {.log2_lanes = p.log2_lanes}; }

struct PlaceParams {
  EncodeShape shape;
  EncodeWork work;
  RansProgress* progress;
  std::uint64_t capacity;
};

__global__ void __launch_bounds__(kPlaceBlock) place_kernel(PlaceParams p) {
  bool too_large = false;
  bool escapes = false;
  EncodePlan& plan = *p.work.plan;
  const std::uint64_t size =
      place_segments(p.shape, p.work, 1U << plan.log2_lanes, too_large, escapes);
  if (threadIdx.x != 0) return;
  const std::uint64_t at = p.progress->position;
  if (too_large) note(&p.progress->error, RansError::kTooLarge, 0);
  if (at + size > p.capacity) note(&p.progress->error, RansError::kCapacity, at + size);
  plan.at = at;
  plan.fits = p.progress->error == kRansNoError ? 1 : 0;
  p.progress->record.escapes = escapes ? 1 : 0;
  p.progress->position = at + size;
}

// ---------------------------------------------------------------------------------------- pack

template <class Row>
__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) pack_kernel(EncodeParams<Row> p) {
  const EncodePlan plan = *p.work.plan;
  if (plan.fits == 0) return;
  auto* const record = reinterpret_cast<std::uint32_t*>(p.out + plan.at);
  pack_head(p.shape, p.work, record, p.progress->record.escapes != 0);
  std::uint32_t* const body = record + rans::kRecordHeadBytes / 4 + p.shape.n_segments;
  each_turn(p.shape.n_segments, [&](std::uint64_t s) {
    const std::uint32_t begin = s == 0 ? 0 : p.work.ends[s - 1];
    pack_segment(p.shape, p.work, body + begin, p.work.ends[s] - begin, s);
    if (p.work.escape_bits[s] == 0) return;
    __syncwarp();  // the zeros that the numbers are written into
    const std::uint64_t bytes = (std::uint64_t{4} << plan.log2_lanes) + 2 * p.work.n_words[s];
    const SymbolSource<Row> source{p, p.blob + p.layout.encode_at};
    pack_escapes(
        p.shape, s, body + begin, 8 * bytes, [&](std::uint64_t i) { return source.number(i); });
  });
}

template <class Row>
void launch_encode(const EncodeParams<Row>& p, std::uint32_t log2_lanes, cudaStream_t stream) {
  launch(kOp, plan_kernel, {1, 1}, stream, {p.work.plan, log2_lanes});
  const std::size_t n_warps = (std::size_t{p.shape.n_segments} >> (5 - log2_lanes)) + 1;
  const auto code = [&]<bool kShared>(std::bool_constant<kShared>) {
    auto* const kernel = code_kernel<Row, kShared>;
    const std::size_t shared = kShared ? p.layout.encode_bytes : 0;
    const unsigned blocks = blocks_for<kShared>(kOp, kernel, shared, n_warps);
    launch(kOp, kernel, {blocks, kBlock, shared}, stream, p);
  };
  if (p.shape.n_segments != 0) {
    if (p.layout.encode_bytes <= most_shared_bytes(kOp)) {
      code(std::true_type{});
    } else {
      code(std::false_type{});
    }
  }
  launch(kOp, place_kernel, {1, kPlaceBlock}, stream, {p.shape, p.work, p.progress, p.capacity});
  const unsigned blocks = blocks_for(kOp, pack_kernel<Row>, 0, std::size_t{p.shape.n_segments} + 1);
  launch(kOp, pack_kernel<Row>, {blocks, kBlock}, stream, p);
}

}  // namespace

EncodeShape encode_shape(std::size_t n, std::size_t segment_symbols) {
  rans::check_segment_symbols(segment_symbols);
  if (n > rans::kMaxPush) fail_argument("rans", "symbols", "at most 2^31 - 1 in a push", n);
  return {.n = n,
          .segment_symbols = static_cast<std::uint32_t>(segment_symbols),
          .n_segments = static_cast<std::uint32_t>((n + segment_symbols - 1) / segment_symbols)};
}

std::size_t encode_work_bytes(const EncodeShape& shape) { return WorkSizes(shape).total(); }

EncodeWork encode_work(const EncodeShape& shape, std::span<std::byte> workspace) {
  const WorkSizes sizes(shape);
  require_aligned(workspace.data(), kRansAlign, "workspace");
  require_room(workspace.size(), sizes.total(), "workspace");
  std::byte* at = workspace.data();
  const auto take = [&at]<class T>(T*& array, std::size_t bytes) {
    array = reinterpret_cast<T*>(at);
    at += bytes;
  };
  EncodeWork work{};
  take(work.plan, sizes.plan);
  take(work.n_words, sizes.n_words);
  take(work.escape_bits, sizes.escape_bits);
  take(work.ends, sizes.ends);
  take(work.states, sizes.states);
  take(work.words, sizes.words);
  return work;
}

std::size_t rans_record_bound(std::size_t n, int lanes, std::size_t segment_symbols, bool escape) {
  log2_lanes_of(lanes);
  const EncodeShape shape = encode_shape(n, segment_symbols);
  // 2 bytes a symbol; an escape's number has 2 * 34 - 1 bits more, a segment's are padded
  const std::size_t escape_bytes =
      escape ? (n * (2 * rans::kMaxEscapeWidth - 1) + 7) / 8 + shape.n_segments : 0;
  return rans::kRecordHeadBytes + 2 * n + escape_bytes +
         shape.n_segments * (4 + 4 * static_cast<std::size_t>(lanes) + rans::kRecordAlign);
}

std::size_t rans_encode_workspace_bytes(std::size_t n, int lanes, std::size_t segment_symbols) {
  log2_lanes_of(lanes);
  return encode_work_bytes(encode_shape(n, segment_symbols));
}

void rans_encode_begin(std::span<std::uint8_t> out, RansProgress* progress, cudaStream_t stream) {
  require_aligned(out.data(), 4, "out");
  launch(kOp, encode_begin_kernel, {1, 1}, stream, {out.data(), out.size(), progress});
}

void rans_encode(std::span<const std::int32_t> symbols,
                 const rans::Rows& rows,
                 const RansTables& tables,
                 const void* blob,
                 int lanes,
                 std::size_t segment_symbols,
                 std::span<std::uint8_t> out,
                 RansProgress* progress,
                 std::span<std::byte> workspace,
                 cudaStream_t stream) {
  const auto log2_lanes = static_cast<std::uint32_t>(log2_lanes_of(lanes));
  const EncodeShape shape = encode_shape(symbols.size(), segment_symbols);
  const EncodeWork work = encode_work(shape, workspace);
  require_aligned(out.data(), 4, "out");
  require_aligned(blob, kRansAlign, "blob");
  rans::check_row_count(rows, symbols.size());
  visit_device_rows(rows, [&]<class Row>(const Row* typed, std::uint32_t one_row) {
    const EncodeParams<Row> p{.shape = shape,
                              .work = work,
                              .progress = progress,
                              .out = out.data(),
                              .capacity = out.size(),
                              .layout = tables.layout(),
                              .blob = static_cast<const std::byte*>(blob),
                              .rows = typed,
                              .one_row = one_row,
                              .symbols = symbols.data()};
    launch_encode(p, log2_lanes, stream);
  });
}

}  // namespace glc::cuda

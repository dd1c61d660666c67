// SPDX-License-Identifier: Apache-2.0
//
// A decode is two kernels: one thread reads the head of the record and moves the stream's position
// beyond it (of the stream's only record, it opens and closes the stream as well); then a fixed
// number of blocks, because only the device knows how many segments there are, takes the segments
// in turn. The escapes of a segment are put in their places by the lanes that decoded it, right
// after it.
#include "core/check.h"
#include "rans/rans_cuda_decode.cuh"
#include "rans/rans_cuda_escapes.cuh"
#include "rans/rans_cuda_host.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "rans";

// ---------------------------------------------------------------------------------------- heads

struct BeginParams {
  const std::uint8_t* data;
  std::uint64_t n;
  const std::uint64_t* size;
  RansProgress* progress;
};

__device__ void begin(const BeginParams& p) {
  std::uint64_t n = p.n;
  if (p.size != nullptr && *p.size < n) n = *p.size;
  *p.progress = {.position = rans::kStreamHeadBytes, .record = {.n_bytes = n}};
  const bool plain = n != 0 && (p.data[0] & 0xF0U) == 0;
  if (plain) {
    note(&p.progress->error, RansError::kNoSegments, 0);
  } else if (n < rans::kStreamHeadBytes) {
    note(&p.progress->error, RansError::kRecordCut, 0);
  } else if (load_u32(p.data, 0) != rans::kDescriptorSegments) {
    note(&p.progress->error, RansError::kDescriptor, 0);
  }
}

__device__ void end(RansProgress& progress) {
  if (progress.position != progress.record.n_bytes) {
    note(&progress.error, RansError::kStreamLeft, progress.position);
  }
}

__global__ void begin_kernel(BeginParams p) { begin(p); }

struct OpenParams {
  const std::uint8_t* data;
  std::uint64_t n_symbols;
  RansProgress* progress;
};

__global__ void open_kernel(OpenParams p) { open_record(p.data, p.n_symbols, *p.progress); }

__global__ void end_kernel(RansProgress* progress) { end(*progress); }

__global__ void only_record_kernel(BeginParams p, std::uint64_t n_symbols) {
  begin(p);
  open_record(p.data, n_symbols, *p.progress);
  end(*p.progress);
}

// ------------------------------------------------------------------------------------- symbols

/// Tables in shared memory behind the windows, or where they are when they do not fit. The loop
/// over symbols is bound by the instructions it issues, so an entry tells the symbol as well,
/// escapes included.
template <class Bucket, bool kShared>
class TableLookup {
 public:
  using Seen = std::int32_t;  ///< the lowest of the symbols
  struct Turn {
    std::int32_t before;  ///< the symbol of the last step
  };

  /// All threads of a block make one.
  __device__ TableLookup(const RansTablesLayout& layout, const std::byte* blob)
      : blob_(blob),
        buckets_(layout.buckets_at),
        row_bytes_(std::uint32_t{sizeof(Bucket)} << layout.bucket_bits),
        shift_(layout.bits - layout.bucket_bits),
        less_(layout.freq_less),
        escape_(layout.escape) {
    if constexpr (kShared) {
      stage(blob, layout.decode_bytes, kWindowsBytes);
      entries_ = shared_address() + kWindowsBytes;
      buckets_ += entries_;
    }
  }

  __device__ Bin find(std::uint32_t row, std::uint32_t slot) const {
    const std::uint32_t bucket = load<Bucket>(row * row_bytes_ + buckets_ +
                                              (slot >> shift_) * std::uint32_t{sizeof(Bucket)});
    std::uint32_t at = bucket * std::uint32_t{sizeof(uint2)} + entries_;
    uint2 entry = load<uint2>(at);  // a SlotEntry
    std::uint32_t from_start = slot - (entry.x & 0xFFFFU);
    while (from_start >= freq_of(entry)) {
      at += sizeof(uint2);
      entry = load<uint2>(at);
      from_start = slot - (entry.x & 0xFFFFU);
    }
    return {from_start, freq_of(entry), static_cast<std::int32_t>(entry.y)};
  }
  /// Two symbols are seen at once.
  __device__ static void take(Turn& turn, Seen& seen, int a, std::int32_t value) {
    if (a % 2 != 0) seen = __vimin3_s32(seen, turn.before, value);
    turn.before = value;
  }
  __device__ static void see(Seen& seen, std::int32_t value) { seen = value < seen ? value : seen; }
  [[nodiscard]] __device__ bool has_escape(Seen seen) const {
    return escape_ && seen == rans::kEscapeValue;
  }

 private:
  template <class T>
  [[nodiscard]] __device__ T load(std::uint32_t at) const {
    if constexpr (kShared) {
      return load_shared<T>(at);
    } else {
      return __ldg(reinterpret_cast<const T*>(blob_ + at));
    }
  }
  [[nodiscard]] __device__ std::uint32_t freq_of(const uint2& entry) const {
    return (entry.x >> 16) + (kShared ? 0U : less_);
  }

  const std::byte* blob_;
  std::uint32_t entries_ = 0;  // addresses in shared memory, or offsets in the blob
  std::uint32_t buckets_;
  std::uint32_t row_bytes_;
  int shift_;
  std::uint32_t less_;
  bool escape_;
};

/// The sum (rans/stream_check.h) of a lane's symbols.
struct SymbolSum {
  std::uint32_t factor;
  std::uint32_t sum = 0;
  __device__ explicit SymbolSum(const Group& group)
      : factor(rans::sum_power(static_cast<std::uint32_t>(group.lanes))) {}
  __device__ void add_at(std::uint32_t, std::int32_t value) {
    sum = sum * factor + static_cast<std::uint32_t>(value);
  }
  template <class Turn>
  __device__ void take(const Turn&, int, std::int32_t value) {
    add_at(0, value);
  }
};

template <class Row, class Bucket, bool kShared>
__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor)
    decode_kernel(DecodeParams<Row, std::int32_t> p) {
  const TableLookup<Bucket, kShared> lookup(p.layout, p.blob);
  const RansRecord record = p.progress->record;
  each_turn(turns_of(record.n_segments, record.log2_lanes), [&](std::uint64_t turn) {
    const Group group(record.log2_lanes, turn);
    SegmentRun<std::int32_t> run = open_segment(p, record, group);
    __syncwarp();  // the window may still be read
    SymbolSum sum(group);
    decode_segment(p, lookup, group, run, sum);
    std::uint32_t change = 0;  // of the sum, by escapes that come in place of kEscapeValue
    const auto escapes = [&](const std::uint8_t* bytes, std::uint64_t n_bytes) {
      const std::uint64_t place = segment_begin(p.data, record, group.segment);
      const auto* const infos =
          reinterpret_cast<const rans::RowInfo*>(p.blob + p.layout.encode_at + p.layout.rows_at);
      const auto put = [&](std::uint64_t i, std::uint64_t number) {
        const std::uint32_t row = row_of(p.rows, p.one_row, i);
        const rans::RowInfo info = infos[row < p.layout.n_rows ? row : 0];
        const std::int64_t symbol = rans::escape_value(number - 1, info.n_direct) + info.offset;
        if (symbol < INT32_MIN || symbol > INT32_MAX) {
          note(&p.progress->error, RansError::kEscapeRange, place);
        } else {
          p.out[i] = static_cast<std::int32_t>(symbol);
          change += static_cast<std::uint32_t>(symbol - rans::kEscapeValue) *
                    rans::sum_power(run.begin + run.n - 1 - i);
        }
      };
      DeviceBits bits(bytes, n_bytes);
      constexpr int kWidth = rans::kMaxEscapeWidth;
      return read_escapes(p, record, group, run, bits, rans::kEscapeValue, kWidth, put);
    };
    close_segment(p, record, group, run, 0, escapes, [&] {
      return sum_of_lanes(group, sum.sum, run.n, change);
    });
  });
}

template <class Row, class Bucket, bool kShared>
void launch_decode(const DecodeParams<Row, std::int32_t>& p, cudaStream_t stream) {
  auto* const kernel = decode_kernel<Row, Bucket, kShared>;
  const std::size_t shared = kWindowsBytes + (kShared ? p.layout.decode_bytes : 0);
  const unsigned blocks = blocks_for<kShared>(kOp, kernel, shared, p.n / rans::kMinSegment + 1);
  launch(kOp, kernel, {blocks, kBlock, shared}, stream, p);
}

void check_push(std::span<const std::uint8_t> data,
                const rans::Rows& rows,
                const void* blob,
                std::span<const std::int32_t> out) {
  require_aligned(data.data(), 4, "data");
  require_aligned(blob, kRansAlign, "blob");
  rans::check_row_count(rows, out.size());
  rans::check_apart(rows, data, out);
}

/// Reads the segments of the record that progress has open.
void decode_record(std::span<const std::uint8_t> data,
                   const rans::Rows& rows,
                   const RansTables& tables,
                   const void* blob,
                   std::span<std::int32_t> out,
                   RansProgress* progress,
                   cudaStream_t stream) {
  if (out.empty()) return;
  const RansTablesLayout& layout = tables.layout();
  const bool fits =
      layout.freq_less == 0 && kWindowsBytes + layout.decode_bytes <= most_shared_bytes(kOp);
  visit_device_rows(rows, [&]<class Row>(const Row* typed, std::uint32_t one_row) {
    const DecodeParams<Row, std::int32_t> p{.data = data.data(),
                                            .progress = progress,
                                            .layout = layout,
                                            .blob = static_cast<const std::byte*>(blob),
                                            .rows = typed,
                                            .one_row = one_row,
                                            .out = out.data(),
                                            .n = out.size()};
    if (layout.wide_buckets) {
      launch_decode<Row, std::uint32_t, false>(p, stream);
    } else if (fits) {
      launch_decode<Row, std::uint16_t, true>(p, stream);
    } else {
      launch_decode<Row, std::uint16_t, false>(p, stream);
    }
  });
}

}  // namespace

void rans_decode_begin(std::span<const std::uint8_t> data,
                       const std::uint64_t* size,
                       RansProgress* progress,
                       cudaStream_t stream) {
  require_aligned(data.data(), 4, "data");
  launch(kOp, begin_kernel, {1, 1}, stream, {data.data(), data.size(), size, progress});
}

void rans_decode(std::span<const std::uint8_t> data,
                 const rans::Rows& rows,
                 const RansTables& tables,
                 const void* blob,
                 std::span<std::int32_t> out,
                 RansProgress* progress,
                 cudaStream_t stream) {
  check_push(data, rows, blob, out);
  launch(kOp, open_kernel, {1, 1}, stream, {data.data(), out.size(), progress});
  decode_record(data, rows, tables, blob, out, progress, stream);
}

void rans_decode_only(std::span<const std::uint8_t> data,
                      const std::uint64_t* size,
                      const rans::Rows& rows,
                      const RansTables& tables,
                      const void* blob,
                      std::span<std::int32_t> out,
                      RansProgress* progress,
                      cudaStream_t stream) {
  check_push(data, rows, blob, out);
  const BeginParams stream_of_one{data.data(), data.size(), size, progress};
  launch(kOp, only_record_kernel, {1, 1}, stream, stream_of_one, out.size());
  decode_record(data, rows, tables, blob, out, progress, stream);
}

void rans_decode_end(RansProgress* progress, cudaStream_t stream) {
  launch(kOp, end_kernel, {1, 1}, stream, progress);
}

}  // namespace glc::cuda

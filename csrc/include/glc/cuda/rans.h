// SPDX-License-Identifier: Apache-2.0
//
// The rANS coder on a CUDA device: streams of segments (docs/format.md), the same bytes as
// glc/rans.h writes and reads. Symbols, rows, streams, tables and workspaces are device memory of
// the current device and the caller's; nothing is allocated, nothing waits, and every call may be
// captured in a CUDA graph. What goes wrong with the data is noted in a RansProgress on the device
// and becomes an exception when the caller has copied it to the host.
//
//   RansTables tables(table_set);                    // once; copy tables.blob() to the device
//   rans_encode_begin(out, progress, stream);
//   rans_encode(symbols, rows, tables, blob, 32, 8192, out, progress, workspace, stream);
//   ... cudaMemcpyAsync(&host, progress, ...), synchronise, rans_check(host): host.position bytes
//
//   rans_decode_begin(data, nullptr, progress, stream);
//   rans_decode(data, rows, tables, blob, symbols_out, progress, stream);
//   rans_decode_end(progress, stream);
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cuda_runtime_api.h>

#include "glc/rans.h"

namespace glc::cuda {

/// Alignment of every device pointer below, in bytes. Streams need 4.
inline constexpr std::size_t kRansAlign = 16;

/// Warps that a processor of the device runs at once, each decoding a segment: data cut into a
/// multiple of as many equal segments as there are such warps leaves none idle.
inline constexpr int kRansWarpsPerProcessor = 32;

/// Shared memory that the warps of a decoding block have for words on their way.
inline constexpr std::size_t kRansWindowsBytes = 8192;

/// Where the kernels find what in a RansTables' blob: byte offsets and sizes.
struct RansTablesLayout {
  std::uint32_t n_rows = 0;
  std::uint32_t n_bins = 0;
  std::uint32_t decode_bytes = 0;  ///< the decoder's part, from 0: entries, buckets
  std::uint32_t buckets_at = 0;
  std::uint32_t encode_at = 0;  ///< the encoder's part: entries, rows
  std::uint32_t encode_bytes = 0;
  std::uint32_t rows_at = 0;  ///< in the encoder's part, which begins at encode_at
  std::uint8_t bits = 0;
  std::uint8_t bucket_bits = 0;
  bool escape = false;
  bool wide_buckets = false;   ///< 4 bytes each, else 2
  std::uint8_t freq_less = 0;  ///< 1 where entries keep a frequency less one, as 2^16 needs
};

/// The tables of a TableSet as the kernels read them. 64 Gaussian rows of 14 bits come to about
/// 101 KiB for decoding and 50 for encoding, so that they fit shared memory.
class RansTables {
 public:
  explicit RansTables(const rans::TableSet& tables);
  /// What the caller copies to the device, kRansAlign-aligned, and passes as `blob`.
  [[nodiscard]] std::span<const std::byte> blob() const { return blob_; }
  [[nodiscard]] const RansTablesLayout& layout() const { return layout_; }

 private:
  std::vector<std::byte> blob_;
  RansTablesLayout layout_{};
};

inline constexpr std::uint64_t kRansNoError = ~std::uint64_t{0};

/// The record at hand, for the kernels.
struct RansRecord {
  std::uint64_t n_bytes = 0;  ///< of the whole stream, when reading
  std::uint64_t ends = 0;     ///< offset of the table of ends
  std::uint64_t body = 0;     ///< offset of the first segment
  std::uint32_t n_segments = 0;
  std::uint32_t segment_symbols = 0;
  std::uint32_t log2_lanes = 0;
  std::uint32_t escapes = 0;  ///< whether the record has any
};

/// State of a stream between calls; device memory.
struct RansProgress {
  std::uint64_t position = 0;          ///< bytes written or read so far
  std::uint64_t error = kRansNoError;  ///< what rans_check() knows to read
  RansRecord record = {};
};

/// Throws BitstreamError or InvalidArgument when progress, copied to the host, has an error.
void rans_check(const RansProgress& progress);

// ------------------------------------------------------------------------------------ symbols

/// Bytes of a record of n symbols at most. lanes: 1, 2, 4, 8, 16 or 32; segment_symbols: a multiple
/// of 32 in 32..2^30. Throws InvalidArgument.
[[nodiscard]] std::size_t rans_record_bound(std::size_t n,
                                            int lanes,
                                            std::size_t segment_symbols,
                                            bool escape);
/// Bytes of workspace that rans_encode() needs for n symbols. Throws InvalidArgument.
[[nodiscard]] std::size_t rans_encode_workspace_bytes(std::size_t n,
                                                      int lanes,
                                                      std::size_t segment_symbols);

/// Starts a stream in out.
void rans_encode_begin(std::span<std::uint8_t> out, RansProgress* progress, cudaStream_t stream);

/// Appends one push: symbols [n], rows [n] or one number, as rans::Encoder does with these lanes
/// and segment_symbols. On the device: a row outside the tables, a symbol that its row cannot code,
/// or an out that is too small is noted in progress, and out is then unspecified.
/// Throws InvalidArgument when the sizes of the arguments disagree, or CudaError.
void rans_encode(std::span<const std::int32_t> symbols,
                 const rans::Rows& rows,
                 const RansTables& tables,
                 const void* blob,
                 int lanes,
                 std::size_t segment_symbols,
                 std::span<std::uint8_t> out,
                 RansProgress* progress,
                 std::span<std::byte> workspace,
                 cudaStream_t stream);

/// Opens a stream for reading: the first *size bytes of data, or all when size is null. size is
/// device memory too, so that a stream can be read before the host knows how long it is.
void rans_decode_begin(std::span<const std::uint8_t> data,
                       const std::uint64_t* size,
                       RansProgress* progress,
                       cudaStream_t stream);

/// Reads the next push into out [n]; rows and tables as they were pushed. Any bytes give symbols or
/// an error in progress. Throws InvalidArgument when sizes disagree or out shares memory with data
/// or rows, or CudaError.
void rans_decode(std::span<const std::uint8_t> data,
                 const rans::Rows& rows,
                 const RansTables& tables,
                 const void* blob,
                 std::span<std::int32_t> out,
                 RansProgress* progress,
                 cudaStream_t stream);

/// Notes an error when bytes of the stream are left.
void rans_decode_end(RansProgress* progress, cudaStream_t stream);

/// The three of them for a stream of one push, in two kernels; arguments as theirs. Throws as
/// rans_decode() does.
void rans_decode_only(std::span<const std::uint8_t> data,
                      const std::uint64_t* size,
                      const rans::Rows& rows,
                      const RansTables& tables,
                      const void* blob,
                      std::span<std::int32_t> out,
                      RansProgress* progress,
                      cudaStream_t stream);

// -------------------------------------------------------------------------------------- bytes

/// Bytes that rans_encode_bytes() may write, and the workspaces. segment_bytes: a multiple of 32 in
/// 32..2^30. Throws InvalidArgument.
[[nodiscard]] std::size_t rans_encoded_bytes_bound(std::size_t n, std::size_t segment_bytes);
[[nodiscard]] std::size_t rans_encode_bytes_workspace_bytes(std::size_t n,
                                                            std::size_t segment_bytes);
[[nodiscard]] std::size_t rans_decode_bytes_workspace_bytes();

/// Order-0 coding of data [n], the bytes of rans::encode_bytes(data, segment_bytes, lanes);
/// progress is begun anew. Throws InvalidArgument on wrong lanes or where out or workspace is too
/// small, or CudaError.
void rans_encode_bytes(std::span<const std::uint8_t> data,
                       std::size_t segment_bytes,
                       std::optional<int> lanes,
                       std::span<std::uint8_t> out,
                       RansProgress* progress,
                       std::span<std::byte> workspace,
                       cudaStream_t stream);

/// Inverse, of data's first *size bytes, or all when size is null; out must have the decoded size.
/// Methods without segments are refused: they are for small data, and for the CPU.
void rans_decode_bytes(std::span<const std::uint8_t> data,
                       const std::uint64_t* size,
                       std::span<std::uint8_t> out,
                       RansProgress* progress,
                       std::span<std::byte> workspace,
                       cudaStream_t stream);

}  // namespace glc::cuda

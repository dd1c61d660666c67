// SPDX-License-Identifier: Apache-2.0
//
// Order-0 bytes. The device counts, chooses frequencies and lanes as the CPU does, and decides
// whether coding pays at all; the host only says how long a segment is.
#include "core/check.h"
#include "rans/rans_cuda_bytes.cuh"
#include "rans/rans_cuda_decode.cuh"
#include "rans/rans_cuda_host.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "rans";
constexpr std::size_t kHeadRoom = 1024;
static_assert(kMostHeadBytes <= kHeadRoom);

/// Of each byte value; start is 4096 for values after the last.
struct ByteBins {
  std::uint32_t freqs[256];
  std::uint32_t starts[256];
};

// -------------------------------------------------------------------------------------- encode

struct BytesParams {
  EncodeShape shape;
  EncodeWork work;
  std::uint64_t* counts;       ///< [256]
  rans::EncodeEntry* entries;  ///< [256]
  std::uint8_t* head;          ///< [kHeadRoom]
  const std::uint8_t* data;
  RansProgress* progress;
  std::uint8_t* out;
  std::uint64_t capacity;
};

__global__ void zero_kernel(BytesParams p) {
  p.counts[threadIdx.x] = 0;
  if (threadIdx.x == 0) *p.progress = {};
}

__global__ void __launch_bounds__(kBlock) count_kernel(BytesParams p) {
  auto& counts = block_shared<std::uint32_t[256]>();
  if (threadIdx.x < 256) counts[threadIdx.x] = 0;
  __syncthreads();
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i < p.shape.n; i += step) atomicAdd(&counts[__ldg(&p.data[i])], 1U);
  __syncthreads();
  if (threadIdx.x < 256 && counts[threadIdx.x] != 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&p.counts[threadIdx.x]),
              static_cast<unsigned long long>(counts[threadIdx.x]));
  }
}

__global__ void __launch_bounds__(kHeadBlock) head_kernel(BytesParams p) {
  auto& [freqs, starts] = block_shared<ByteBins>();
  const std::uint64_t count = p.counts[threadIdx.x];
  const std::uint32_t freq = normalised(count, p.shape.n);
  const std::uint64_t cost =
      block_sum(freq == 0 ? 0 : count * rans::fixed_point_cost(freq, rans::kByteBits));
  freqs[threadIdx.x] = freq;
  __syncthreads();
  if (threadIdx.x == 0) {
    std::uint32_t start = 0;
    for (int value = 0; value < 256; ++value) {
      starts[value] = start;
      start += freqs[value];
    }
    *p.work.plan = {.log2_lanes = rans::log2_lanes_for(cost / p.shape.n_segments),
                    .head_bytes = put_head(p.head, p.shape.n, freqs)};
  }
  __syncthreads();
  p.entries[threadIdx.x] = freq == 0
                               ? rans::EncodeEntry{}
                               : rans::EncodeEntry{rans::reciprocal_of(freq),
                                                   static_cast<std::uint16_t>(freq - 1),
                                                   static_cast<std::uint16_t>(starts[threadIdx.x])};
}

__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) code_bytes_kernel(BytesParams p) {
  const auto* const entries = reinterpret_cast<const rans::EncodeEntry*>(
      stage(reinterpret_cast<const std::byte*>(p.entries), 256 * sizeof(rans::EncodeEntry)));
  const std::uint32_t log2_lanes = p.work.plan->log2_lanes;
  each_turn(turns_of(p.shape.n_segments, log2_lanes), [&](std::uint64_t turn) {
    const Group group(log2_lanes, turn);
    code_segment(p.shape, p.work, group, rans::kByteBits, [&](std::uint64_t i) {
      return entries[__ldg(&p.data[i])];
    });
    if (group.lane == 0 && group.segment < p.shape.n_segments) {
      p.work.escape_bits[group.segment] = 0;
    }
  });
}

__global__ void __launch_bounds__(kPlaceBlock) place_bytes_kernel(BytesParams p) {
  bool too_large = false;
  bool escapes = false;
  EncodePlan& plan = *p.work.plan;
  const std::uint64_t record =
      place_segments(p.shape, p.work, 1U << plan.log2_lanes, too_large, escapes);
  if (threadIdx.x != 0) return;
  std::uint8_t start[kMostStartBytes];
  const std::uint64_t stored_bytes = put_start(start, 0, p.shape.n) + p.shape.n;
  const std::uint64_t coded_bytes = plan.head_bytes + record;
  plan.stored = coded_bytes >= stored_bytes ? 1 : 0;
  plan.at = plan.head_bytes;
  const std::uint64_t size = plan.stored != 0 ? stored_bytes : coded_bytes;
  plan.fits = size <= p.capacity ? 1 : 0;
  if (plan.fits == 0) note(&p.progress->error, RansError::kCapacity, size);
  p.progress->position = size;
}

__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) pack_bytes_kernel(BytesParams p) {
  const EncodePlan plan = *p.work.plan;
  if (plan.fits == 0) return;
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  if (plan.stored != 0) {
    const std::uint32_t at = rans_varint_bytes(p.shape.n) + 1;
    if (thread == 0) put_start(p.out, 0, p.shape.n);
    for (std::uint64_t i = thread; i < p.shape.n; i += step) p.out[at + i] = p.data[i];
    return;
  }
  for (std::uint64_t i = thread; i < plan.head_bytes; i += step) p.out[i] = p.head[i];
  auto* const record = reinterpret_cast<std::uint32_t*>(p.out + plan.at);
  pack_head(p.shape, p.work, record, false);
  std::uint32_t* const body = record + rans::kRecordHeadBytes / 4 + p.shape.n_segments;
  each_turn(p.shape.n_segments, [&](std::uint64_t s) {
    const std::uint32_t begin = s == 0 ? 0 : p.work.ends[s - 1];
    pack_segment(p.shape, p.work, body + begin, p.work.ends[s] - begin, s);
  });
}

struct EmptyParams {
  std::uint8_t* out;
  RansProgress* progress;
};
__global__ void empty_kernel(EmptyParams p) { *p.progress = {.position = put_start(p.out, 0, 0)}; }

// -------------------------------------------------------------------------------------- decode

/// In front of the decode table in the workspace.
struct BytesHead {
  std::uint64_t at;      ///< offset of stored data
  std::uint64_t stored;  ///< whether it is
};

struct ReadParams {
  DecodeParams<OneRow, std::uint8_t> run;
  std::uint64_t n_bytes;
  const std::uint64_t* size;
  BytesHead* head;
  std::uint32_t* slots;  ///< [4096] of rans/entries.h
};

/// Reads the frequencies that begin at `at`; returns where they end, or 0 when they are not good.
__device__ inline std::uint64_t read_freqs(const std::uint8_t* data,
                                           std::uint64_t n_bytes,
                                           std::uint64_t at,
                                           std::uint32_t* freqs) {
  DeviceBits bits(data + at, n_bytes - at);
  std::uint32_t sum = 0;
  std::uint32_t value = 0;
  while (sum < kByteTotal) {
    if (value > 255) return 0;
    const std::uint64_t freq = bits.gamma(rans::kByteBits + 1);
    if (freq == 0 || freq - 1 > kByteTotal - sum) return 0;
    freqs[value] = static_cast<std::uint32_t>(freq - 1);
    sum += freqs[value];
    std::uint64_t next = 1;
    if (freqs[value] == 0) next = bits.gamma(rans::kByteBits + 1);
    if (next == 0 || next > 256) return 0;
    value += static_cast<std::uint32_t>(next);
  }
  return bits.skip_padding() ? at + bits.bytes_used() : 0;
}

/// Reads all before the segments; by one thread. freqs [256] are zero.
__device__ inline void read_head(const ReadParams& p, std::uint64_t n_bytes, std::uint32_t* freqs) {
  RansProgress& progress = *p.run.progress;
  progress = {.position = 0, .record = {.n_bytes = n_bytes}};
  *p.head = {};
  const std::uint8_t* const data = p.run.data;
  if (n_bytes == 0 || data[0] > 2) return note(&progress.error, RansError::kMethod, 0);
  if (data[0] == 1) return note(&progress.error, RansError::kOneStream, 0);
  std::uint8_t start[kMostStartBytes];
  std::uint64_t at = put_start(start, data[0], p.run.n);  // no other bytes may say this size
  for (std::uint64_t i = 0; i < at; ++i) {
    if (i >= n_bytes || data[i] != start[i]) return note(&progress.error, RansError::kSize, i);
  }
  if (data[0] == 0) {
    if (n_bytes - at != p.run.n) return note(&progress.error, RansError::kDataCut, at);
    *p.head = {.at = at, .stored = 1};
    progress.position = n_bytes;
    return;
  }
  const std::uint64_t end = read_freqs(data, n_bytes, at, freqs);
  if (end == 0) return note(&progress.error, RansError::kFrequencies, at);
  for (at = end; at % rans::kRecordAlign != 0; ++at) {
    if (at >= n_bytes || data[at] != 0) return note(&progress.error, RansError::kPadding, at);
  }
  progress.position = at;
  open_record(data, p.run.n, progress);
  if (progress.error != kRansNoError) return;
  if (progress.record.escapes != 0) note(&progress.error, RansError::kRecordDescriptor, at);
  if (progress.position != n_bytes) {
    note(&progress.error, RansError::kStreamLeft, progress.position);
  }
}

__global__ void __launch_bounds__(kHeadBlock) read_kernel(ReadParams p) {
  auto& [freqs, starts] = block_shared<ByteBins>();
  freqs[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    std::uint64_t n_bytes = p.n_bytes;
    if (p.size != nullptr && *p.size < n_bytes) n_bytes = *p.size;
    read_head(p, n_bytes, freqs);
    std::uint32_t start = 0;
    for (int value = 0; value < 256; ++value) {
      starts[value] = start;
      start += freqs[value];
    }
  }
  __syncthreads();
  for (std::uint32_t i = 0; i < freqs[threadIdx.x]; ++i) {
    const std::uint32_t slot = starts[threadIdx.x] + i;
    if (slot < kByteTotal) {
      p.slots[slot] = threadIdx.x << 24 | i << 12 | (freqs[threadIdx.x] - 1U);
    }
  }
}

struct ByteLookup {
  const std::uint32_t* slots;
  __device__ Bin find(std::uint32_t, std::uint32_t slot) const {
    const std::uint32_t entry = slots[slot];
    return {slot - (entry >> 12 & 0xFFFU), entry & 0xFFFU, static_cast<std::int32_t>(entry >> 24)};
  }
  __device__ static bool is_escape(Bin) { return false; }
  __device__ static std::uint8_t value(Bin bin) { return static_cast<std::uint8_t>(bin.value); }
};

__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) decode_bytes_kernel(ReadParams p) {
  auto& rings = block_shared<std::uint32_t[kBlockWarps][kWindowWords]>();
  if (p.head->stored != 0) {
    const std::uint8_t* const data = p.run.data + p.head->at;
    std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (; i < p.run.n; i += std::uint64_t{gridDim.x} * blockDim.x) p.run.out[i] = data[i];
    return;
  }
  const ByteLookup lookup{reinterpret_cast<const std::uint32_t*>(
      stage(reinterpret_cast<const std::byte*>(p.slots), 4 * kByteTotal))};
  const RansRecord record = p.run.progress->record;
  each_turn(turns_of(record.n_segments, record.log2_lanes), [&](std::uint64_t turn) {
    const Group group(record.log2_lanes, turn);
    SegmentRun<std::uint8_t> run = open_segment(p.run, record, group);
    __syncwarp();  // the ring may still be read
    decode_segment(p.run, lookup, group, rings[threadIdx.x / kWarpLanes], run);
    const auto none = [](const std::uint8_t*, std::uint64_t) { return std::uint64_t{0}; };
    close_segment(p.run, record, group, run, none);
  });
}

std::size_t bytes_work_bytes(const EncodeShape& shape) {
  return encode_work_bytes(shape) + 256 * (sizeof(std::uint64_t) + sizeof(rans::EncodeEntry)) +
         kHeadRoom;
}

}  // namespace

std::size_t rans_encoded_bytes_bound(std::size_t n, std::size_t segment_bytes) {
  // what is longer than this is stored
  return kMostHeadBytes + rans_record_bound(n, rans::kMaxLanes, segment_bytes, false);
}

std::size_t rans_encode_bytes_workspace_bytes(std::size_t n, std::size_t segment_bytes) {
  return bytes_work_bytes(encode_shape(n, segment_bytes));
}

std::size_t rans_decode_bytes_workspace_bytes() {
  return sizeof(BytesHead) + 4 * std::size_t{kByteTotal};
}

void rans_encode_bytes(std::span<const std::uint8_t> data,
                       std::size_t segment_bytes,
                       std::span<std::uint8_t> out,
                       RansProgress* progress,
                       std::span<std::byte> workspace,
                       cudaStream_t stream) {
  const EncodeShape shape = encode_shape(data.size(), segment_bytes);
  require_aligned(out.data(), 4, "out");
  require_room(out.size(), 2, "out");
  if (data.empty()) return launch(kOp, empty_kernel, {1, 1}, stream, {out.data(), progress});
  const std::size_t work_bytes = encode_work_bytes(shape);
  require_room(workspace.size(), bytes_work_bytes(shape), "workspace");
  std::byte* at = workspace.data() + work_bytes;
  BytesParams p{.shape = shape,
                .work = encode_work(shape, workspace),
                .counts = reinterpret_cast<std::uint64_t*>(at),
                .entries = reinterpret_cast<rans::EncodeEntry*>(at + 256 * sizeof(std::uint64_t)),
                .head = nullptr,
                .data = data.data(),
                .progress = progress,
                .out = out.data(),
                .capacity = out.size()};
  p.head = reinterpret_cast<std::uint8_t*>(p.entries + 256);
  launch(kOp, zero_kernel, {1, 256}, stream, p);
  const std::size_t n_warps = data.size() / 1024 + 1;
  launch(kOp, count_kernel, {blocks_for(kOp, count_kernel, 0, n_warps), kBlock}, stream, p);
  launch(kOp, head_kernel, {1, kHeadBlock}, stream, p);
  const std::size_t shared = 256 * sizeof(rans::EncodeEntry);
  const unsigned blocks = blocks_for(kOp, code_bytes_kernel, shared, shape.n_segments);
  launch(kOp, code_bytes_kernel, {blocks, kBlock, shared}, stream, p);
  launch(kOp, place_bytes_kernel, {1, kPlaceBlock}, stream, p);
  const unsigned n_packers = blocks_for(kOp, pack_bytes_kernel, 0, shape.n_segments);
  launch(kOp, pack_bytes_kernel, {n_packers, kBlock}, stream, p);
}

void rans_decode_bytes(std::span<const std::uint8_t> data,
                       const std::uint64_t* size,
                       std::span<std::uint8_t> out,
                       RansProgress* progress,
                       std::span<std::byte> workspace,
                       cudaStream_t stream) {
  require_aligned(data.data(), 4, "data");
  require_aligned(workspace.data(), kRansAlign, "workspace");
  require_room(workspace.size(), rans_decode_bytes_workspace_bytes(), "workspace");
  if (out.size() > rans::kMaxPush) {
    fail_argument("rans", "out", "at most 2^31 - 1 bytes", out.size());
  }
  auto* const head = reinterpret_cast<BytesHead*>(workspace.data());
  const ReadParams p{
      .run = {.data = data.data(),
              .progress = progress,
              .layout = {.n_rows = 1, .bits = static_cast<std::uint8_t>(rans::kByteBits)},
              .blob = nullptr,
              .rows = nullptr,
              .one_row = 0,
              .out = out.data(),
              .n = out.size()},
      .n_bytes = data.size(),
      .size = size,
      .head = head,
      .slots = reinterpret_cast<std::uint32_t*>(head + 1)};
  launch(kOp, read_kernel, {1, kHeadBlock}, stream, p);
  if (out.empty()) return;
  const std::size_t shared = 4 * std::size_t{kByteTotal};
  const std::size_t n_warps = out.size() / rans::kMinSegment + 1;
  const unsigned blocks = blocks_for(kOp, decode_bytes_kernel, shared, n_warps);
  launch(kOp, decode_bytes_kernel, {blocks, kBlock, shared}, stream, p);
}

}  // namespace glc::cuda

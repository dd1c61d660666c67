// SPDX-License-Identifier: Apache-2.0
//
// Coding order-0 bytes. The device counts, chooses frequencies and lanes as the CPU does, and
// decides whether coding pays at all; the host only says how long a segment is, and may name lanes.
#include <bit>

#include "core/check.h"
#include "rans/rans_cuda_bytes.cuh"
#include "rans/rans_cuda_host.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "rans";
constexpr std::size_t kHeadRoom = 1280;
static_assert(kMostHeadBytes <= kHeadRoom);

/// What coding a byte takes.
struct ByteCodes {
  rans::EncodeEntry entries[256];
  std::uint16_t numbers[256];  ///< of rare values, place + 1; else 0
};
static_assert(sizeof(ByteCodes) % kRansAlign == 0);

struct BytesParams {
  EncodeShape shape;
  EncodeWork work;
  int log2_lanes;         ///< -1: by the cost
  std::uint64_t* counts;  ///< [256]
  ByteCodes* codes;
  std::uint8_t* head;  ///< [kHeadRoom]
  const std::uint8_t* data;
  RansProgress* progress;
  std::uint8_t* out;
  std::uint64_t capacity;
};

__global__ void zero_kernel(BytesParams p) {
  p.counts[threadIdx.x] = 0;
  if (threadIdx.x == 0) *p.progress = {};
}

/// Counts by each warp on its own, where a frequent value holds fewer others up.
__global__ void __launch_bounds__(kBlock) count_kernel(BytesParams p) {
  auto& counts = block_shared<std::uint32_t[kBlockWarps][256]>();
  for (unsigned i = threadIdx.x; i < kBlockWarps * 256; i += kBlock) counts[i / 256][i % 256] = 0;
  __syncthreads();
  std::uint32_t* const mine = counts[threadIdx.x / kWarpLanes];
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const bool aligned = reinterpret_cast<std::uintptr_t>(p.data) % sizeof(uint4) == 0;
  const std::uint64_t n_vectors = aligned ? p.shape.n / sizeof(uint4) : 0;
  const auto* const vectors = reinterpret_cast<const uint4*>(p.data);
#pragma unroll 2
  for (std::uint64_t i = thread; i < n_vectors; i += step) {
    const uint4 sixteen = __ldg(&vectors[i]);
    for (const std::uint32_t four : {sixteen.x, sixteen.y, sixteen.z, sixteen.w}) {
#pragma unroll
      for (int shift = 0; shift < 32; shift += 8) atomicAdd(&mine[four >> shift & 0xFFU], 1U);
    }
  }
  for (std::uint64_t i = n_vectors * sizeof(uint4) + thread; i < p.shape.n; i += step) {
    atomicAdd(&mine[__ldg(&p.data[i])], 1U);
  }
  __syncthreads();
  if (threadIdx.x >= 256) return;
  std::uint64_t count = 0;
  for (const auto& of_warp : counts) count += of_warp[threadIdx.x];
  if (count != 0) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&p.counts[threadIdx.x]),
              static_cast<unsigned long long>(count));
  }
}

/// The table, as byte_table_for() chooses it; rank is the place of this thread's value among the
/// candidates for the escape bin, the rarest first.
struct HeadShared {
  ByteBins bins;
  std::uint64_t counts[256];
  std::uint8_t candidates[256];
};

__global__ void __launch_bounds__(kHeadBlock) head_kernel(BytesParams p) {
  auto& [bins, counts, candidates] = block_shared<HeadShared>();
  const std::uint32_t value = threadIdx.x;
  const std::uint64_t count = p.counts[value];
  counts[value] = count;
  __syncthreads();
  const auto candidate = [&](std::uint32_t v) {
    return counts[v] != 0 && counts[v] * kByteTotal < p.shape.n;
  };
  std::uint32_t rank = 0;
  for (std::uint32_t v = 0; v < 256; ++v) {
    if (candidate(v) && (counts[v] < count || (counts[v] == count && v < value))) ++rank;
  }
  if (candidate(value)) candidates[rank] = static_cast<std::uint8_t>(value);
  const std::uint64_t n_candidates = block_sum(candidate(value) ? 1 : 0);
  if (value == 0) {
    bins.n_rare =
        static_cast<std::uint32_t>(rans::choose_rare(counts, candidates, n_candidates, p.shape.n));
  }
  __syncthreads();
  const bool rare = candidate(value) && rank < bins.n_rare;
  const std::uint32_t number = rare ? bins.n_rare - rank : 0;
  if (rare) bins.rare[number - 1] = static_cast<std::uint8_t>(value);
  CountedBin mine{value, rare ? 0 : count, 0};
  CountedBin escape{256, block_sum(rare ? count : 0), 0};
  normalise(mine, escape, p.shape.n);
  const std::uint32_t freq = rare ? escape.freq : mine.freq;
  const std::uint64_t number_bits = rare ? static_cast<unsigned>(rans::gamma_bits(number)) : 0;
  const std::uint64_t cost = block_sum(
      freq == 0 ? 0
                : count * (rans::fixed_point_cost(freq, rans::kByteBits) + (number_bits << 16)));
  bins.freqs[value] = mine.freq;
  if (value == 0) bins.freqs[256] = escape.freq;
  __syncthreads();
  bins.find_starts();
  if (value == 0) {
    const std::uint32_t head_bytes = put_head(p.head, p.shape.n, bins);
    *p.work.plan = {.log2_lanes = p.log2_lanes >= 0
                                      ? static_cast<std::uint32_t>(p.log2_lanes)
                                      : rans::log2_lanes_for(cost / p.shape.n_segments),
                    .head_bytes = head_bytes,
                    .check = check_bytes(p.head, head_bytes),
                    .n_rare = bins.n_rare};
  }
  __syncthreads();
  const auto start = static_cast<std::uint16_t>(bins.starts[rare ? 256 : value]);
  p.codes->entries[value] =
      freq == 0 ? rans::EncodeEntry{}
                : rans::EncodeEntry{
                      rans::reciprocal_of(freq), static_cast<std::uint16_t>(freq - 1), start};
  p.codes->numbers[value] = static_cast<std::uint16_t>(number);
}

struct ByteSource {
  using Symbol = std::uint32_t;
  const std::uint8_t* data;
  const ByteCodes& codes;
  __device__ Symbol fetch(std::uint64_t i) const { return __ldg(&data[i]); }
  __device__ rans::EncodeEntry entry(Symbol byte, std::uint64_t) const {
    return codes.entries[byte];
  }
};

__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) code_bytes_kernel(BytesParams p) {
  const auto& codes = *reinterpret_cast<const ByteCodes*>(
      stage(reinterpret_cast<const std::byte*>(p.codes), sizeof(ByteCodes)));
  const EncodePlan plan = *p.work.plan;
  each_turn(turns_of(p.shape.n_segments, plan.log2_lanes), [&](std::uint64_t turn) {
    const Group group(plan.log2_lanes, turn);
    EscapesSeen escapes{0, plan.check};
    if (plan.n_rare != 0) {
      const auto number_of = [&](std::uint64_t i) -> std::uint64_t {
        return codes.numbers[__ldg(&p.data[i])];
      };
      const auto is_rare = [&](std::uint64_t i) { return number_of(i) != 0; };
      escapes = see_escapes(p.shape, group, plan.check, is_rare, number_of);
    }
    const std::uint32_t n = symbols_in(p.shape, group.segment);
    const std::uint8_t* const bytes =
        p.data + (n == 0 ? 0 : group.segment * p.shape.segment_symbols);
    const std::uint32_t check =
        rans::check_with_sum<std::uint8_t>(escapes.check, byte_sum(group, bytes, n));
    __syncwarp();
    code_segment(p.shape, p.work, group, rans::kByteBits, check, ByteSource{p.data, codes});
    if (group.lane == 0 && group.segment < p.shape.n_segments) {
      p.work.escape_bits[group.segment] = escapes.n_bits;
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
  p.progress->record.escapes = escapes ? 1 : 0;
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
  pack_head(p.shape, p.work, record, p.progress->record.escapes != 0);
  std::uint32_t* const body = record + rans::kRecordHeadBytes / 4 + p.shape.n_segments;
  each_turn(p.shape.n_segments, [&](std::uint64_t s) {
    const std::uint32_t begin = s == 0 ? 0 : p.work.ends[s - 1];
    pack_segment(p.shape, p.work, body + begin, p.work.ends[s] - begin, s);
    if (p.work.escape_bits[s] == 0) return;
    __syncwarp();  // the zeros that the numbers are written into
    const std::uint64_t bytes = (std::uint64_t{4} << plan.log2_lanes) + 2 * p.work.n_words[s];
    pack_escapes(p.shape, s, body + begin, 8 * bytes, [&](std::uint64_t i) -> std::uint64_t {
      return p.codes->numbers[p.data[i]];
    });
  });
}

struct EmptyParams {
  std::uint8_t* out;
  RansProgress* progress;
};
__global__ void empty_kernel(EmptyParams p) { *p.progress = {.position = put_start(p.out, 0, 0)}; }

std::size_t bytes_work_bytes(const EncodeShape& shape) {
  return encode_work_bytes(shape) + 256 * sizeof(std::uint64_t) + sizeof(ByteCodes) + kHeadRoom;
}

}  // namespace

std::size_t rans_encoded_bytes_bound(std::size_t n, std::size_t segment_bytes) {
  // what is longer is stored, and then shorter than this
  return kMostHeadBytes + rans_record_bound(n, rans::kMaxLanes, segment_bytes, false);
}

std::size_t rans_encode_bytes_workspace_bytes(std::size_t n, std::size_t segment_bytes) {
  return bytes_work_bytes(encode_shape(n, segment_bytes));
}

void rans_encode_bytes(std::span<const std::uint8_t> data,
                       std::size_t segment_bytes,
                       std::optional<int> lanes,
                       std::span<std::uint8_t> out,
                       RansProgress* progress,
                       std::span<std::byte> workspace,
                       cudaStream_t stream) {
  if (lanes) rans::check_lanes(*lanes);
  const EncodeShape shape = encode_shape(data.size(), segment_bytes);
  require_aligned(out.data(), 4, "out");
  require_room(out.size(), 2, "out");
  if (data.empty()) return launch(kOp, empty_kernel, {1, 1}, stream, {out.data(), progress});
  const std::size_t work_bytes = encode_work_bytes(shape);
  require_room(workspace.size(), bytes_work_bytes(shape), "workspace");
  std::byte* at = workspace.data() + work_bytes;
  BytesParams p{.shape = shape,
                .work = encode_work(shape, workspace),
                .log2_lanes = lanes ? std::countr_zero(static_cast<unsigned>(*lanes)) : -1,
                .counts = reinterpret_cast<std::uint64_t*>(at),
                .codes = reinterpret_cast<ByteCodes*>(at + 256 * sizeof(std::uint64_t)),
                .head = nullptr,
                .data = data.data(),
                .progress = progress,
                .out = out.data(),
                .capacity = out.size()};
  p.head = reinterpret_cast<std::uint8_t*>(p.codes + 1);
  launch(kOp, zero_kernel, {1, 256}, stream, p);
  const std::size_t n_warps = data.size() / 1024 + 1;
  launch(kOp, count_kernel, {blocks_for(kOp, count_kernel, 0, n_warps), kBlock}, stream, p);
  launch(kOp, head_kernel, {1, kHeadBlock}, stream, p);
  const std::size_t shared = sizeof(ByteCodes);
  const unsigned blocks = blocks_for(kOp, code_bytes_kernel, shared, shape.n_segments);
  launch(kOp, code_bytes_kernel, {blocks, kBlock, shared}, stream, p);
  launch(kOp, place_bytes_kernel, {1, kPlaceBlock}, stream, p);
  const unsigned n_packers = blocks_for(kOp, pack_bytes_kernel, 0, shape.n_segments);
  launch(kOp, pack_bytes_kernel, {n_packers, kBlock}, stream, p);
}

}  // namespace glc::cuda

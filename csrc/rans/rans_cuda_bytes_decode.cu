// SPDX-License-Identifier: Apache-2.0
//
// Decoding order-0 bytes: one block reads the table and makes the 4096 slots, then the segments are
// decoded as those of symbols are. A slot of the escape bin yields the first rare value, which has
// no bin of its own, until the escape numbers say which one it is.
#include "core/check.h"
#include "rans/rans_cuda_bytes.cuh"
#include "rans/rans_cuda_decode.cuh"
#include "rans/rans_cuda_escapes.cuh"
#include "rans/rans_cuda_host.h"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "rans";

/// In front of the decode table in the workspace.
struct BytesHead {
  std::uint64_t at;      ///< offset of stored data
  std::uint32_t stored;  ///< whether it is
  std::uint16_t check;   ///< of all in front of the record
  std::uint16_t n_rare;
  std::uint8_t rare[256];
};
static_assert(sizeof(BytesHead) % kRansAlign == 0);

struct ReadParams {
  DecodeParams<OneRow, std::uint8_t> run;
  std::uint64_t n_bytes;
  const std::uint64_t* size;
  BytesHead* head;
  std::uint32_t* slots;  ///< [4096]: the byte, freq - 1 in bits 8..19, slot - start in bits 20..31
};

/// Reads the rare values, of which bins.n_rare is 0, and the escape bin's frequency.
__device__ inline bool read_rare(DeviceBits& bits, ByteBins& bins) {
  const std::uint64_t n_rare = bits.gamma(rans::kByteBits + 1);
  if (n_rare == 0 || n_rare > 256 || bits.n_left() < 8 * n_rare) return false;
  for (std::uint32_t i = 0; i < n_rare; ++i) bins.rare[i] = static_cast<std::uint8_t>(bits.byte());
  bins.n_rare = static_cast<std::uint32_t>(n_rare);
  const std::uint64_t freq = bits.gamma(rans::kByteBits + 1);
  if (freq == 0 || freq > kByteTotal) return false;
  bins.freqs[256] = static_cast<std::uint32_t>(freq);
  return true;
}

/// Whether the rare values differ and have no bins of their own.
__device__ inline bool rare_values_are_good(const ByteBins& bins) {
  std::uint32_t seen[8] = {};
  for (std::uint32_t i = 0; i < bins.n_rare; ++i) {
    const std::uint32_t value = bins.rare[i];
    const std::uint32_t bit = 1U << value % 32;
    if (bins.freqs[value] != 0 || (seen[value / 32] & bit) != 0) return false;
    seen[value / 32] |= bit;
  }
  return true;
}

/// Reads a table that begins at `at`; returns where it ends, or 0 when it is not good.
__device__ inline std::uint64_t read_bins(
    const std::uint8_t* data, std::uint64_t n_bytes, std::uint64_t at, bool rare, ByteBins& bins) {
  DeviceBits bits(data + at, n_bytes - at);
  if (rare && !read_rare(bits, bins)) return 0;
  std::uint32_t sum = bins.freqs[256];
  std::uint32_t value = 0;
  while (sum < kByteTotal) {
    if (value > 255) return 0;
    const std::uint64_t freq = bits.gamma(rans::kByteBits + 1);
    if (freq == 0 || freq - 1 > kByteTotal - sum) return 0;
    bins.freqs[value] = static_cast<std::uint32_t>(freq - 1);
    sum += bins.freqs[value];
    std::uint64_t next = 1;
    if (bins.freqs[value] == 0) next = bits.gamma(rans::kByteBits + 1);
    if (next == 0 || next > 256) return 0;
    value += static_cast<std::uint32_t>(next);
  }
  return bits.skip_padding() && rare_values_are_good(bins) ? at + bits.bytes_used() : 0;
}

/// What the block that reads the head shares.
struct ReadShared {
  ByteBins bins;
  std::uint8_t front[kMostHeadBytes];  ///< the stream's first bytes, where reading them is quick
};

/// Reads all before the segments; by one thread. bins are zero.
__device__ inline void read_head(const ReadParams& p, std::uint64_t n_bytes, ReadShared& shared) {
  RansProgress& progress = *p.run.progress;
  progress = {.position = 0, .record = {.n_bytes = n_bytes}};
  *p.head = {};
  ByteBins& bins = shared.bins;
  const std::uint8_t* const data = shared.front;
  if (n_bytes == 0 || data[0] > 4) return note(&progress.error, RansError::kMethod, 0);
  if (data[0] % 2 == 1) return note(&progress.error, RansError::kOneStream, 0);
  std::uint8_t start[kMostStartBytes];
  std::uint64_t at = put_start(start, data[0], p.run.n);  // no other bytes may say this size
  for (std::uint64_t i = 0; i < at; ++i) {
    if (i >= n_bytes || data[i] != start[i]) return note(&progress.error, RansError::kSize, i);
  }
  if (data[0] == 0) {
    if (n_bytes - at != p.run.n) return note(&progress.error, RansError::kDataCut, at);
    p.head->at = at;
    p.head->stored = 1;
    progress.position = n_bytes;
    return;
  }
  const std::uint64_t n_front = n_bytes < kMostHeadBytes ? n_bytes : kMostHeadBytes;
  const std::uint64_t end = read_bins(data, n_front, at, data[0] == 4, bins);
  if (end == 0) return note(&progress.error, RansError::kFrequencies, at);
  for (at = end; at % rans::kRecordAlign != 0; ++at) {
    if (at >= n_front || data[at] != 0) return note(&progress.error, RansError::kPadding, at);
  }
  p.head->check = static_cast<std::uint16_t>(check_bytes(data, at));
  progress.position = at;
  open_record(p.run.data, p.run.n, progress);
  if (progress.error != kRansNoError) return;
  if (progress.position != n_bytes) {
    note(&progress.error, RansError::kStreamLeft, progress.position);
  }
  p.head->n_rare = static_cast<std::uint16_t>(bins.n_rare);
  for (std::uint32_t i = 0; i < bins.n_rare; ++i) p.head->rare[i] = bins.rare[i];
}

/// Writes the slots of the bins, as many to each thread of the block; those of no bin become 0.
__device__ inline void make_slots(const ByteBins& bins, std::uint32_t* slots) {
  constexpr std::uint32_t kSlots = kByteTotal / kHeadBlock;
  static_assert(kSlots % 4 == 0);
  const std::uint32_t first = threadIdx.x * kSlots;
  std::uint32_t bin = 0;  // the last that begins at the slot or before
  for (std::uint32_t step = 256; step != 0; step /= 2) {
    if (bin + step <= 256 && bins.starts[bin + step] <= first) bin += step;
  }
  for (std::uint32_t i = 0; i < kSlots; i += 4) {
    std::uint32_t four[4];
    for (std::uint32_t j = 0; j < 4; ++j) {
      const std::uint32_t slot = first + i + j;
      while (bin < 256 && bins.starts[bin + 1] <= slot) ++bin;
      const std::uint32_t from_start = slot - bins.starts[bin];
      const std::uint32_t freq = bins.freqs[bin];
      const std::uint32_t value = bin < 256 ? bin : bins.rare[0];
      four[j] = from_start < freq ? from_start << 20 | (freq - 1U) << 8 | value : 0;
    }
    reinterpret_cast<uint4*>(slots + first)[i / 4] = {four[0], four[1], four[2], four[3]};
  }
}

__global__ void __launch_bounds__(kHeadBlock) read_kernel(ReadParams p) {
  auto& shared = block_shared<ReadShared>();
  ByteBins& bins = shared.bins;
  std::uint64_t n_bytes = p.n_bytes;
  if (p.size != nullptr && *p.size < n_bytes) n_bytes = *p.size;
  for (std::uint32_t i = threadIdx.x; i < kMostHeadBytes && i < n_bytes; i += kHeadBlock) {
    shared.front[i] = p.run.data[i];
  }
  bins.freqs[threadIdx.x] = 0;
  if (threadIdx.x == 0) {
    bins.freqs[256] = 0;
    bins.n_rare = 0;
  }
  __syncthreads();
  if (threadIdx.x == 0) read_head(p, n_bytes, shared);
  __syncthreads();
  bins.find_starts();
  make_slots(bins, p.slots);
}

class ByteLookup {
 public:
  using Seen = std::uint32_t;  ///< not 0 when the marker was, if there is one
  struct Turn {
    std::uint32_t bytes;  ///< of the steps so far, step 0 lowest
  };

  /// slots is an address in shared memory; marker the first rare value, which stands for all of
  /// them, or -1 without.
  __device__ ByteLookup(std::uint32_t slots, int marker)
      : slots_(slots),
        has_marker_(marker >= 0),
        marker_(static_cast<std::uint32_t>(marker) & 0xFFU) {}

  /// Of a bin's value no more than the low byte is the byte.
  __device__ Bin find(std::uint32_t, std::uint32_t slot) const {
    const auto entry = load_shared<std::uint32_t>(slots_ + 4U * slot);
    return {entry >> 20, (entry >> 8 & 0xFFFU) + 1U, static_cast<std::int32_t>(entry)};
  }
  /// The bytes of a turn are looked at together.
  __device__ void take(Turn& turn, Seen& seen, int a, std::int32_t value) const {
    constexpr std::uint32_t kPlaces[kAhead] = {0x3214, 0x3240, 0x3410, 0x4210};
    turn.bytes = __byte_perm(turn.bytes, static_cast<std::uint32_t>(value), kPlaces[a]);
    if (a == kAhead - 1) seen |= zero_bytes(turn.bytes ^ marker_ * 0x01010101U);
  }
  __device__ void see(Seen& seen, std::uint8_t value) const { seen |= value == marker_ ? 1U : 0U; }
  [[nodiscard]] __device__ bool has_escape(Seen seen) const { return has_marker_ && seen != 0; }
  [[nodiscard]] __device__ int marker() const {
    return has_marker_ ? static_cast<int>(marker_) : -1;
  }

 private:
  /// 0 unless a byte is 0.
  __device__ static std::uint32_t zero_bytes(std::uint32_t bytes) {
    return (bytes - 0x01010101U) & ~bytes & 0x80808080U;
  }

  std::uint32_t slots_;
  bool has_marker_;
  std::uint32_t marker_;
};

/// The sum (rans/stream_check.h) of a segment, as far as a lane knows it.
class ByteSum {
 public:
  __device__ void take(const ByteLookup::Turn& turn, int a, std::int32_t) {
    if (a != kAhead - 1) return;
    whole_ = __dp4a(turn.bytes, 0x01010101U, whole_);
    by_step_ = __dp4a(turn.bytes, 0x03020100U, by_step_);
  }
  __device__ void add_at(std::uint32_t i, std::uint32_t value) {
    rest_ += rans::sum_weight(i) * (value << 8 * (i % 2));
  }
  /// In every lane of the group, which all call it.
  [[nodiscard]] __device__ std::uint32_t of(const Group& group) const {
    const auto lane = static_cast<std::uint32_t>(group.lane);
    const std::uint32_t whole = rans::sum_weight(lane) * whole_ + kWarpLanes * by_step_;
    std::uint32_t sum = rest_ + (whole << 8 * (lane % 2));
    for (int d = 1; d < group.lanes; d *= 2) sum += __shfl_xor_sync(group.mask, sum, d);
    return sum;
  }

 private:
  // of steps of 32 bytes, whose weights repeat after kAhead of them: the bytes, and those of step a
  // times a, because their weight is greater by 32 a
  static_assert(kAhead * kWarpLanes == rans::kSumPeriod);
  std::uint32_t whole_ = 0;
  std::uint32_t by_step_ = 0;
  std::uint32_t rest_ = 0;
};

__global__ void __launch_bounds__(kBlock, kBlocksPerProcessor) decode_bytes_kernel(ReadParams p) {
  if (p.head->stored != 0) {
    const std::uint8_t* const data = p.run.data + p.head->at;
    std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (; i < p.run.n; i += std::uint64_t{gridDim.x} * blockDim.x) p.run.out[i] = data[i];
    return;
  }
  stage(reinterpret_cast<const std::byte*>(p.slots), 4 * kByteTotal, kWindowsBytes);
  const ByteLookup lookup(shared_address() + kWindowsBytes,
                          p.head->n_rare == 0 ? -1 : static_cast<int>(p.head->rare[0]));
  const RansRecord record = p.run.progress->record;
  each_turn(turns_of(record.n_segments, record.log2_lanes), [&](std::uint64_t turn) {
    const Group group(record.log2_lanes, turn);
    SegmentRun<std::uint8_t> run = open_segment(p.run, record, group);
    __syncwarp();  // the window may still be read
    ByteSum sum;
    decode_segment(p.run, lookup, group, run, sum);
    const auto put = [&](std::uint64_t i, std::uint64_t number) {
      if (number > p.head->n_rare) {
        note(&p.run.progress->error, RansError::kEscapeNumber, record.body);
      } else {
        const std::uint32_t value = p.head->rare[number - 1];
        p.run.out[i] = static_cast<std::uint8_t>(value);
        const auto k = static_cast<std::uint32_t>(i - run.begin);
        sum.add_at(k, value - static_cast<std::uint32_t>(lookup.marker()));
      }
    };
    const auto escapes = [&](const std::uint8_t* bytes, std::uint64_t n_bytes) {
      DeviceBits bits(bytes, n_bytes);
      return read_escapes(p.run, record, group, run, bits, lookup.marker(), kMostRareBits, put);
    };
    close_segment(p.run, record, group, run, p.head->check, escapes, [&] { return sum.of(group); });
  });
}

}  // namespace

std::size_t rans_decode_bytes_workspace_bytes() {
  return sizeof(BytesHead) + 4 * std::size_t{kByteTotal};
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
  const std::size_t shared = kWindowsBytes + 4 * std::size_t{kByteTotal};
  const std::size_t n_warps = out.size() / rans::kMinSegment + 1;
  const unsigned blocks = blocks_for(kOp, decode_bytes_kernel, shared, n_warps);
  launch(kOp, decode_bytes_kernel, {blocks, kBlock, shared}, stream, p);
}

}  // namespace glc::cuda

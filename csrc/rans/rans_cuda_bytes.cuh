// SPDX-License-Identifier: Apache-2.0
//
// The head of order-0 bytes (rans_bytes.cpp draws it) on the device: written and read by one block
// of kHeadBlock threads, one for each byte value.
#pragma once

#include "rans/cost.h"
#include "rans/rans_cuda_encode.cuh"
#include "rans/rare_choice.h"
#include "rans/stream_check.h"

namespace glc::cuda {

inline constexpr int kHeadBlock = 256;
inline constexpr int kMostRareBits = 9;  // of the place of a rare value, counted from 1
using rans::kByteTotal;
inline constexpr int kMostStartBytes = 1 + 10;  // method, size
inline constexpr int kMostHeadBytes =
    kMostStartBytes + static_cast<int>(rans::kMaxByteTableBytes) + 4;  // and zeros up to a word

inline constexpr std::uint32_t kNoValue = 512;

/// A change of one in a frequency: its gain is weight / odd, the lower value wins a tie.
struct Change {
  std::uint64_t weight;
  std::uint64_t odd;
  std::uint32_t value;  ///< kNoValue when there is none
};
template <bool kLargest>
__device__ inline Change better(const Change& a, const Change& b) {
  if (a.value == kNoValue) return b;
  if (b.value == kNoValue) return a;
  const std::uint64_t left = a.weight * b.odd;
  const std::uint64_t right = b.weight * a.odd;
  if (left == right) return a.value < b.value ? a : b;
  return (left > right) == kLargest ? a : b;
}

/// The best change of the block.
template <bool kLargest>
__device__ inline Change block_best(Change mine) {
  auto& of_warps = block_shared<Change[kHeadBlock / kWarpLanes]>();
  for (int d = kWarpLanes / 2; d > 0; d /= 2) {
    const Change other{__shfl_xor_sync(kFullWarp, mine.weight, d),
                       __shfl_xor_sync(kFullWarp, mine.odd, d),
                       __shfl_xor_sync(kFullWarp, mine.value, d)};
    mine = better<kLargest>(mine, other);
  }
  if (Group::thread_lane() == 0) of_warps[threadIdx.x / kWarpLanes] = mine;
  __syncthreads();
  Change best = of_warps[0];
  for (int warp = 1; warp < kHeadBlock / kWarpLanes; ++warp) {
    best = better<kLargest>(best, of_warps[warp]);
  }
  __syncthreads();  // before the next call writes
  return best;
}

/// Sum over the block, in every thread.
__device__ inline std::uint64_t block_sum(std::uint64_t value) {
  auto& of_warps = block_shared<std::uint64_t[kHeadBlock / kWarpLanes]>();
  for (int d = kWarpLanes / 2; d > 0; d /= 2) value += __shfl_xor_sync(kFullWarp, value, d);
  if (Group::thread_lane() == 0) of_warps[threadIdx.x / kWarpLanes] = value;
  __syncthreads();
  std::uint64_t sum = 0;
  for (const std::uint64_t part : of_warps) sum += part;
  __syncthreads();
  return sum;
}

/// A bin, its count and its frequency.
struct CountedBin {
  std::uint32_t number;
  std::uint64_t count;
  std::uint32_t freq;

  /// One more, or one less, in the frequency.
  [[nodiscard]] __device__ Change change(bool adds) const {
    const bool possible = adds ? count != 0 : freq > 1;
    const std::uint64_t odd = 2 * std::uint64_t{freq} + (adds ? 1U : 0U) - (adds ? 0U : 1U);
    return {count, odd, possible ? number : kNoValue};
  }
  __device__ void apply(const Change& best, bool adds) {
    if (best.value == number) freq = adds ? freq + 1 : freq - 1;
  }
};

/// cdf::normalise at 12 bits, of a bin of each thread and one more, which the caller gives the same
/// in every thread; counts sum to n.
__device__ inline void normalise(CountedBin& mine, CountedBin& shared, std::uint64_t n) {
  for (CountedBin* bin : {&mine, &shared}) {
    bin->freq = static_cast<std::uint32_t>((bin->count << rans::kByteBits) / n);
    if (bin->count != 0 && bin->freq == 0) bin->freq = 1;
  }
  for (;;) {
    const auto sum = static_cast<std::uint32_t>(block_sum(mine.freq)) + shared.freq;
    if (sum == kByteTotal) return;
    const bool adds = sum < kByteTotal;
    const Change best =
        adds ? better<true>(block_best<true>(mine.change(true)), shared.change(true))
             : better<false>(block_best<false>(mine.change(false)), shared.change(false));
    mine.apply(best, adds);
    shared.apply(best, adds);
  }
}

/// Appends bits, the most significant first, to bytes.
class ByteBits {
 public:
  __device__ explicit ByteBits(std::uint8_t* bytes) : bytes_(bytes) {}
  __device__ void byte(std::uint32_t value) {
    for (int i = 8; i-- > 0;) bit((value >> i & 1U) != 0);
  }
  __device__ void gamma(std::uint32_t number) {
    const int digits = rans::digits_of(number);
    for (int i = 2 * digits - 1; i-- > 0;) bit(i < digits && (number >> i & 1U) != 0);
  }
  [[nodiscard]] __device__ std::uint32_t n_bytes() const { return (at_ + 7) / 8; }

 private:
  __device__ void bit(bool value) {
    if (at_ % 8 == 0) bytes_[at_ / 8] = 0;
    if (value) bytes_[at_ / 8] = static_cast<std::uint8_t>(bytes_[at_ / 8] | 0x80U >> at_ % 8);
    ++at_;
  }
  std::uint8_t* bytes_;
  std::uint32_t at_ = 0;
};

__device__ inline std::uint32_t rans_varint_bytes(std::uint64_t n) {
  std::uint32_t bytes = 1;
  for (; n >= 0x80; n >>= 7) ++bytes;
  return bytes;
}

/// Method and size; returns how many bytes.
__device__ inline std::uint32_t put_start(std::uint8_t* out, std::uint8_t method, std::uint64_t n) {
  out[0] = method;
  std::uint32_t at = 1;
  for (; n >= 0x80; n >>= 7) out[at++] = static_cast<std::uint8_t>(n | 0x80U);
  out[at++] = static_cast<std::uint8_t>(n);
  return at;
}

__device__ inline std::uint32_t check_bytes(const std::uint8_t* bytes, std::uint64_t n) {
  std::uint32_t check = 0;
  for (std::uint64_t i = 0; i < n; ++i) check = rans::check_byte(check, bytes[i]);
  return check;
}

/// The sum (rans/stream_check.h) of n bytes, in every lane of the group that calls it.
__device__ inline std::uint32_t byte_sum(const Group& group,
                                         const std::uint8_t* bytes,
                                         std::uint32_t n) {
  const auto lane = static_cast<std::uint32_t>(group.lane);
  const auto lanes = static_cast<std::uint32_t>(group.lanes);
  const std::uint32_t n_fours = reinterpret_cast<std::uintptr_t>(bytes) % 4 == 0 ? n / 4 : 0;
  const auto* const fours = reinterpret_cast<const std::uint32_t*>(bytes);
  std::uint32_t sum = 0;
#pragma unroll 4
  for (std::uint32_t k = lane; k < n_fours; k += lanes) {
    const std::uint32_t weight = rans::sum_weight(4 * std::uint64_t{k});
    sum += weight * (fours[k] & 0xFFFFU) + (weight + 2) * (fours[k] >> 16);
  }
  for (std::uint32_t i = 4 * n_fours + lane; i < n; i += lanes) {
    sum += rans::sum_weight(i) * (std::uint32_t{bytes[i]} << 8 * (i % 2));
  }
  for (int d = 1; d < group.lanes; d *= 2) sum += __shfl_xor_sync(group.mask, sum, d);
  return sum;
}

/// The table of order-0 bytes (byte_tables.h) as a block holds it.
struct ByteBins {
  std::uint32_t freqs[257];  ///< the last is the escape bin's
  std::uint32_t starts[257];
  std::uint32_t n_rare;
  std::uint8_t rare[256];  ///< the most frequent first

  /// By all threads of the block, a barrier behind what wrote the frequencies.
  __device__ void find_starts() {
    auto& of_warps = block_shared<std::uint32_t[kHeadBlock / kWarpLanes]>();
    const auto lane = static_cast<unsigned>(Group::thread_lane());
    const std::uint32_t freq = freqs[threadIdx.x];
    std::uint32_t end = freq;
    for (unsigned d = 1; d < kWarpLanes; d *= 2) {
      const std::uint32_t before = __shfl_up_sync(kFullWarp, end, d);
      if (lane >= d) end += before;
    }
    if (lane == kWarpLanes - 1) of_warps[threadIdx.x / kWarpLanes] = end;
    __syncthreads();
    for (unsigned warp = 0; warp < threadIdx.x / kWarpLanes; ++warp) end += of_warps[warp];
    starts[threadIdx.x] = end - freq;
    if (threadIdx.x == kHeadBlock - 1) starts[kHeadBlock] = end;
    __syncthreads();
  }
};

/// The whole head in front of a record, zeros up to a multiple of 4 included. By one thread.
__device__ inline std::uint32_t put_head(std::uint8_t* out, std::uint64_t n, const ByteBins& bins) {
  std::uint32_t at = put_start(out, bins.n_rare == 0 ? 2 : 4, n);
  ByteBits bits(out + at);
  if (bins.n_rare != 0) {
    bits.gamma(bins.n_rare);
    for (std::uint32_t i = 0; i < bins.n_rare; ++i) bits.byte(bins.rare[i]);
    bits.gamma(bins.freqs[256]);
  }
  std::uint32_t sum = bins.freqs[256];
  for (std::uint32_t value = 0; sum < kByteTotal; ++value) {
    bits.gamma(bins.freqs[value] + 1);
    sum += bins.freqs[value];
    if (bins.freqs[value] != 0) continue;
    std::uint32_t last = value;
    while (bins.freqs[last + 1] == 0) ++last;
    bits.gamma(last - value + 1);
    value = last;
  }
  at += bits.n_bytes();
  while (at % rans::kRecordAlign != 0) out[at++] = 0;
  return at;
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// The head of order-0 bytes (rans_bytes.cpp draws it) on the device: written and read by one block
// of kHeadBlock threads, one for each byte value.
#pragma once

#include "rans/cost.h"
#include "rans/rans_cuda_encode.cuh"

namespace glc::cuda {

inline constexpr int kHeadBlock = 256;
inline constexpr std::uint32_t kByteTotal = 1U << rans::kByteBits;
inline constexpr int kMostStartBytes = 1 + 10;  // method, size
inline constexpr int kMostHeadBytes = kMostStartBytes + 256 * 25 / 8 + 4;  // and zeros up to a word

/// A change of one in a frequency: its gain is weight / odd, the lower value wins a tie.
struct Change {
  std::uint64_t weight;
  std::uint64_t odd;
  std::uint32_t value;  ///< 256 when there is none
};
template <bool kLargest>
__device__ inline Change better(const Change& a, const Change& b) {
  if (a.value > 255) return b;
  if (b.value > 255) return a;
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

/// Frequency of this thread's byte value: cdf::normalise of the counts at 12 bits.
__device__ inline std::uint32_t normalised(std::uint64_t count, std::uint64_t n) {
  auto freq = static_cast<std::uint32_t>((count << rans::kByteBits) / n);
  if (count != 0 && freq == 0) freq = 1;
  for (;;) {
    const auto sum = static_cast<std::uint32_t>(block_sum(freq));
    if (sum == kByteTotal) return freq;
    const bool adds = sum < kByteTotal;
    const bool candidate = adds ? count != 0 : freq > 1;
    const Change mine{count,
                      2 * std::uint64_t{freq} + (adds ? 1U : 0U) - (adds ? 0U : 1U),
                      candidate ? threadIdx.x : 256U};
    const Change best = adds ? block_best<true>(mine) : block_best<false>(mine);
    if (best.value == threadIdx.x) freq = adds ? freq + 1 : freq - 1;
  }
}

/// Appends bits, the most significant first, to bytes.
class ByteBits {
 public:
  __device__ explicit ByteBits(std::uint8_t* bytes) : bytes_(bytes) {}
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

/// The whole head in front of a record, zeros up to a multiple of 4 included. By one thread.
__device__ inline std::uint32_t put_head(std::uint8_t* out,
                                         std::uint64_t n,
                                         const std::uint32_t* freqs) {
  std::uint32_t at = put_start(out, 2, n);
  ByteBits bits(out + at);
  std::uint32_t sum = 0;
  for (std::uint32_t value = 0; sum < kByteTotal; ++value) {
    bits.gamma(freqs[value] + 1);
    sum += freqs[value];
    if (freqs[value] != 0) continue;
    std::uint32_t last = value;
    while (freqs[last + 1] == 0) ++last;
    bits.gamma(last - value + 1);
    value = last;
  }
  at += bits.n_bytes();
  while (at % rans::kRecordAlign != 0) out[at++] = 0;
  return at;
}

}  // namespace glc::cuda

// SPDX-License-Identifier: Apache-2.0
//
// The emulation runs correct kernels correctly, whatever the order of blocks and lanes.
// planted_bugs.cu is the other half: it must not run incorrect ones.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "check.h"
#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "cuda_on_cpu/sample_kernels.h"

namespace {

using glc::cuda::kFullWarp;
using glc::test::check;
using glc::test::check_equal;
using glc::test::check_throws;

void compacts() {
  for (const int n : {0, 1, 127, 128, 129, 1000}) {
    std::vector<std::int32_t> in(static_cast<std::size_t>(n));
    std::mt19937 random(7);
    for (auto& value : in) value = static_cast<std::int32_t>(random() % 3);
    const std::size_t n_tiles = (in.size() + 127) / 128;
    std::vector<std::int32_t> out(in.size());
    std::vector<std::int32_t> counts(n_tiles);
    glc::cuda::samples::compact(in.data(), n, out.data(), counts.data(), nullptr);
    for (std::size_t tile = 0; tile < n_tiles; ++tile) {
      std::vector<std::int32_t> expected;
      for (std::size_t i = tile * 128; i < std::min(in.size(), tile * 128 + 128); ++i) {
        if (in[i] != 0) expected.push_back(in[i]);
      }
      check_equal(static_cast<std::size_t>(counts[tile]), expected.size(), "count");
      check(std::equal(expected.begin(), expected.end(), out.data() + tile * 128), "order");
    }
  }
}

void counts() {
  std::vector<std::uint8_t> in(5000);
  std::mt19937 random(8);
  for (auto& value : in) value = static_cast<std::uint8_t>(random() % 50);
  std::vector<std::uint32_t> expected(256);
  for (const auto value : in) ++expected[value];
  std::vector<std::uint32_t> histogram(256);
  glc::cuda::samples::histogram(in.data(), 5000, histogram.data(), nullptr);
  check(histogram == expected, "histogram");
}

void sums() {
  std::vector<float> in(1000);
  std::iota(in.begin(), in.end(), 1.0F);
  std::vector<float> partial(5);
  std::uint32_t counter = 0;
  float sum = 0;
  glc::cuda::samples::sum(in.data(), 1000, &sum, partial.data(), &counter, 5, nullptr);
  check_equal(sum, 500500.0F, "sum");
}

// Every collective against what the device's documentation says it does; a warp and a half.
struct CollectiveParams {
  unsigned* out;  // [kResults][48]
};
constexpr unsigned kResults = 18;

__global__ void collective_kernel(CollectiveParams p) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = threadIdx.x < 32 ? kFullWarp : 0x0000FFFFU;
  unsigned result[kResults] = {};
  const int odd = static_cast<int>(lane % 2);
  result[0] = __ballot_sync(mask, odd);
  result[1] = static_cast<unsigned>(__any_sync(mask, lane == 3 ? 1 : 0));
  result[2] = static_cast<unsigned>(__all_sync(mask, lane == 3 ? 1 : 0));
  result[3] = __shfl_sync(mask, lane, 5);
  result[4] = __shfl_sync(mask, lane, 2, 8);
  result[5] = __shfl_up_sync(mask, lane, 3U);
  result[6] = __shfl_down_sync(mask, lane, 1U, 4);
  result[7] = __shfl_xor_sync(mask, lane, 1);
  result[8] = __match_any_sync(mask, lane / 4);
  result[9] = __reduce_add_sync(mask, lane);
  result[10] = __reduce_min_sync(mask, lane + 1);
  result[11] = static_cast<unsigned>(__reduce_max_sync(mask, -static_cast<int>(lane)));
  result[12] = __reduce_or_sync(mask, 1U << lane);
  result[13] = static_cast<unsigned>(__syncthreads_count(odd));
  result[14] = static_cast<unsigned>(__syncthreads_or(threadIdx.x == 40 ? 1 : 0));
  result[15] = static_cast<unsigned>(__syncthreads_and(threadIdx.x == 40 ? 0 : 1));
  // two groups of one warp meet on their own
  const unsigned half = mask & (lane < 8 ? 0x000000FFU : 0xFFFFFF00U);
  result[16] = __ballot_sync(half, 1);
  if (threadIdx.x < 32 && lane >= 16) {
    result[17] = 17;  // leaves early: the others' mask still names it
  } else {
    result[17] = __ballot_sync(threadIdx.x < 32 ? 0x0000FFFFU : mask, 1);
  }
  for (unsigned r = 0; r < kResults; ++r) p.out[r * 48 + threadIdx.x] = result[r];
}

void meets() {
  std::vector<unsigned> out(std::size_t{kResults} * 48);
  glc::cuda::launch("meets", collective_kernel, {1, 48}, nullptr, {out.data()});
  for (unsigned thread = 0; thread < 48; ++thread) {
    const unsigned lane = thread % 32;
    const unsigned mask = thread < 32 ? 0xFFFFFFFFU : 0xFFFFU;
    const unsigned n = thread < 32 ? 32 : 16;
    const unsigned half = mask & (lane < 8 ? 0xFFU : 0xFFFFFF00U);
    const unsigned expected[kResults] = {
        mask & 0xAAAAAAAAU,
        1,
        0,
        5,
        lane / 8 * 8 + 2,
        lane < 3 ? lane : lane - 3,
        lane % 4 == 3 ? lane : lane + 1,
        lane ^ 1U,
        0xFU << lane / 4 * 4,
        n * (n - 1) / 2,
        1,
        0,
        mask,
        24,
        1,
        0,
        half,
        thread < 32 && lane >= 16 ? 17 : 0xFFFFU,
    };
    for (unsigned r = 0; r < kResults; ++r) {
      check_equal(out[r * 48 + thread], expected[r], ("result " + std::to_string(r)).c_str());
    }
  }
}

struct AtomicParams {
  int* i;
  unsigned long long* u;
};
__global__ void atomic_kernel(AtomicParams p) {
  const int id = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&p.i[0], id);
  atomicMax(&p.i[1], id);
  atomicMin(&p.i[2], -id);
  atomicOr(&p.i[3], 1 << id % 8);
  atomicCAS(&p.i[4], 0, id + 1);
  atomicExch(&p.i[5], 9);
  atomicAdd(&p.u[0], 1ULL << 33);
  atomicMin(&p.u[1], static_cast<unsigned long long>(id) << 40);
}

void atomics() {
  std::vector<int> i(6);
  std::vector<unsigned long long> u = {0, ~0ULL};
  glc::cuda::launch("atomics", atomic_kernel, {4, 32}, nullptr, {i.data(), u.data()});
  check_equal(i[0], 127 * 64, "add");
  check_equal(i[1], 127, "max");
  check_equal(i[2], -127, "min");
  check_equal(i[3], 255, "or");
  check(i[4] >= 1 && i[4] <= 128, "cas");
  check_equal(i[5], 9, "exch");
  check_equal(u[0], 128ULL << 33, "64-bit add");
  check_equal(u[1], 0ULL, "64-bit min");
}

__global__ void shared_kernel(unsigned* out) {
  auto& words = glc::cuda::block_shared<unsigned[4]>();
  out[blockIdx.x] = words[3];  // of the block before, were it not poisoned again
  words[3] = 1;
}
__global__ void big_kernel(int*) {}

void shared_memory_is_poisoned() {
  std::vector<unsigned> out(3);
  glc::cuda::launch("shared", shared_kernel, {3, 1}, nullptr, out.data());
  check(out == std::vector<unsigned>(3, 0xCBCBCBCBU), "poison");
}

void launches_are_checked() {
  using glc::cuda::launch;
  check_throws<glc::CudaError>([] { launch("n", big_kernel, {1, 1025}, nullptr, nullptr); });
  check_throws<glc::CudaError>([] { launch("n", big_kernel, {0, 32}, nullptr, nullptr); });
  const auto big = [] { launch("n", big_kernel, {1, 32, 64 << 10}, nullptr, nullptr); };
  check_throws<glc::CudaError>(big, "more shared memory than was allowed");
  glc::cuda::allow_shared_bytes("n", big_kernel, 64 << 10);
  big();
  check_throws<glc::CudaError>([] { glc::cuda::allow_shared_bytes("n", big_kernel, 1 << 20); });
  check_throws<glc::CudaError>([] { glc::cuda::allow_shared_bytes("n", big_kernel, 60 << 10); });
  big();  // an error that was thrown is not reported again
}

void intrinsics() {
  check_equal(__clz(1), 31);
  check_equal(__clz(0), 32);
  check_equal(__ffs(8), 4);
  check_equal(__brev(1U), 0x80000000U);
  check_equal(__umulhi(0xFFFFFFFFU, 0xFFFFFFFFU), 0xFFFFFFFEU);
  check_equal(__byte_perm(0x03020100U, 0x07060504U, 0x7531U), 0x07050301U);
  check_equal(__funnelshift_r(0x11112222U, 0x33334444U, 16), 0x44441111U);
  check_equal(__dp4a(0x01FF02FE, 0x01010101, 5), 5);
  check_equal(__float2int_rn(2.5F), 2);
  check_equal(__float2int_rn(std::numeric_limits<float>::quiet_NaN()), 0);
  check_equal(
      __fmaf_rn(1.0F + 0x1p-12F, 1.0F + 0x1p-12F, -1.0F - 0x1p-11F), 0x1p-24F, "one rounding");
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half and bfloat16 survives
    const __half h{static_cast<std::uint16_t>(bits)};
    const float x = __half2float(h);
    if (!std::isnan(x)) check_equal(__float2half_rn(x).bits, h.bits, "half");
    const __nv_bfloat16 b{static_cast<std::uint16_t>(bits)};
    const float y = __bfloat162float(b);
    if (!std::isnan(y)) check_equal(__float2bfloat16_rn(y).bits, b.bits, "bfloat16");
  }
  check_equal(__float2half_rn(1.0F + 0x1p-11F).bits, __float2half_rn(1.0F).bits, "to even");
  check_equal(__float2half_rn(65520.0F).bits, std::uint16_t{0x7C00}, "to infinity");
  check_equal(__float2half_rn(0x1p-25F).bits, std::uint16_t{0}, "to zero");
}

void divides() {
  using glc::cuda::Divisor;
  constexpr std::uint32_t kLimit = 0x80000000U;
  std::vector<std::uint32_t> values = {1, 2, 3, 5, 7, 16, 641, 65535, 65536, 65537};
  std::mt19937 random(11);
  for (int i = 0; i < 200; ++i) {
    values.push_back(static_cast<std::uint32_t>((random() >> (i % 31)) / 2 + 1));
  }
  for (std::uint32_t near = 0; near < 3; ++near) values.push_back(kLimit - near);
  for (const std::uint32_t value : values) {
    const Divisor divisor("test", value, kLimit);
    const std::uint32_t last = (kLimit - 1) / value * value;
    for (const std::uint32_t n : {0U,
                                  value - 1,
                                  value,
                                  last - 1,
                                  last,
                                  kLimit - 1,
                                  static_cast<std::uint32_t>(random() / 2)}) {
      if (n >= kLimit) continue;
      std::uint32_t rest = 0;
      check_equal(divisor.divided(n, &rest), n / value, "quotient");
      check_equal(rest, n % value, "rest");
    }
  }
  check_throws<glc::InvalidArgument>([] { Divisor("test", 3, Divisor::kLimit + 1); }, "units");
}

}  // namespace

int main() {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    cuda_on_cpu::set_seed(seed);
    compacts();
    counts();
    sums();
    meets();
    atomics();
    shared_memory_is_poisoned();
  }
  launches_are_checked();
  intrinsics();
  divides();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The most multiply-adds per second that one core of this machine does: fused operations on vectors
// that stay in registers. Compiled with -march=native by whoever asks; prints one number.
#include <cstdio>
#include <ctime>

#ifdef __AVX512F__
constexpr int kWidth = 16;
#elif defined(__AVX__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
using Vector = float __attribute__((vector_size(kWidth * sizeof(float))));

int main() {
  constexpr int kSums = 12;  // latency of 4 cycles, two a cycle, and some
  constexpr long kSteps = 4'000'000;
  double best = 0.0;
  for (int round = 0; round < 9; ++round) {
    Vector sums[kSums] = {};
    Vector a = sums[0] + 0.999F;
    const Vector b = sums[0] + 1e-3F;
    asm volatile("" : "+m"(a));
    const std::clock_t begin = std::clock();  // of this process: other work does not count
    for (long i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
      for (int s = 0; s < kSums; ++s) sums[s] = sums[s] * a + b;
    }
    const double took = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    asm volatile("" ::"m"(sums));
    const double rate = 1.0 * kSteps * kSums * kWidth / took;
    best = rate > best ? rate : best;
  }
  std::printf("%.4g\n", best);
  return 0;
}

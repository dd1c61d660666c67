// SPDX-License-Identifier: Apache-2.0
// The launcher, and the float way: a tile of latents against a tile of codes, every score one chain
// of fused operations in the order of vq.h. Blocks that share latents meet in a 64-bit maximum of
// score and complemented code, so that the smallest code wins a tie whatever their order, and the
// last of them writes the codes.
#include <algorithm>
#include <limits>
#include <string>

#include "core/check.h"
#include "glc/cuda/vq.h"
#include "vq/vq_check.h"
#include "vq/vq_cuda.cuh"

namespace glc::cuda {
namespace {

constexpr const char* kOp = "vq_nearest";
constexpr int kTile = kVqFloatTile;  // latents, and codes
constexpr int kSide = 16;            // threads along each, of 4 x 4 scores: 16 sums for 8 loads
constexpr int kEach = kTile / kSide;
constexpr int kDepth = 16;  // dimensions in shared memory at a time,
constexpr int kSteps = 8;   // and multiplied at a time
constexpr int kThreads = kSide * kSide;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct ExactParams {
  VqProblem problem;
  std::int64_t slice;  // codes of a block
  bool lost_only;
};

struct alignas(16) Tiles {
  float latents[kDepth][kTile + 4];  // 4 floats on: rows begin in different banks
  float codes[kDepth][kTile + 4];
};

/// Rows first .. first + 63 of a matrix, dimensions t .. t + 15, zeros outside it, transposed.
__device__ __forceinline__ void load_tile(float (&tile)[kDepth][kTile + 4],
                                          const float* rows,
                                          std::int64_t n,
                                          std::int64_t d,
                                          std::int64_t first,
                                          std::int64_t t) {
  constexpr int kRowsAtOnce = kThreads / kDepth;
  const int column = static_cast<int>(threadIdx.x) % kDepth;
  const int row = static_cast<int>(threadIdx.x) / kDepth;
  const int n_rows = t + column < d ? static_cast<int>(vq_least(n - first, kTile)) : 0;
  const float* from = rows + (first + row) * d + t + column;
#pragma unroll
  for (int at = row; at < row + kTile; at += kRowsAtOnce, from += kRowsAtOnce * d) {
    tile[column][at] = at < n_rows ? *from : 0.0F;
  }
}

/// 256 threads: 64 sums of registers at most, so several blocks fit a processor.
__global__ void __launch_bounds__(kThreads) exact_kernel(ExactParams p) {
  auto& tiles = block_shared<Tiles>();
  const VqProblem& q = p.problem;
  const int column = static_cast<int>(threadIdx.x) % kSide;
  const int row = static_cast<int>(threadIdx.x) / kSide;
  const std::int64_t first_latent = std::int64_t{blockIdx.x} * kTile;
  if (p.lost_only) {
    const std::int64_t i = first_latent + threadIdx.x % kTile;
    if (__syncthreads_or(i < q.n && vq_lost(q.scratch, i) ? 1 : 0) == 0) return;
  }
  float best[kEach];
  std::uint32_t index[kEach] = {};
  for (float& score : best) score = -kInfinity;
  const std::int64_t last = vq_least(q.k, (std::int64_t{blockIdx.y} + 1) * p.slice);
  const std::int64_t begin = std::int64_t{blockIdx.y} * p.slice;
  for (std::int64_t j = begin; j < last; j += kTile) {
    float sum[kEach][kEach];
#pragma unroll
    for (int c = 0; c < kEach; ++c) {
      const std::int64_t code = j + column * kEach + c;
      const float half = code < last ? q.scratch.half_norms[code] : -kInfinity;  // never the best
#pragma unroll
      for (int l = 0; l < kEach; ++l) sum[l][c] = half;
    }
    for (std::int64_t t = 0; t < q.d; t += kDepth) {
      __syncthreads();
      if (j == begin || q.d > kDepth) {
        load_tile(tiles.latents, q.latents, q.n, q.d, first_latent, t);
      }
      load_tile(tiles.codes, q.codebook, last, q.d, j, t);
      __syncthreads();
      // past the last dimension both factors are 0, which changes no sum but the sign of a zero
      for (int from = 0; from < kDepth && t + from < q.d; from += kSteps) {
#pragma unroll
        for (int s = from; s < from + kSteps; ++s) {
          const VqFour latent = vq_four(&tiles.latents[s][row * kEach]);
          const VqFour code = vq_four(&tiles.codes[s][column * kEach]);
          for (int l = 0; l < kEach; ++l) {
            for (int c = 0; c < kEach; ++c) {
              sum[l][c] = __fmaf_rn(latent.values[l], code.values[c], sum[l][c]);
            }
          }
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kEach; ++c) {
      const auto code = static_cast<std::uint32_t>(j + column * kEach + c);
#pragma unroll
      for (int l = 0; l < kEach; ++l) {
        if (sum[l][c] > best[l]) {  // false for NaN
          best[l] = sum[l][c];
          index[l] = code;
        }
      }
    }
  }
  for (int l = 0; l < kEach; ++l) {
    const bool found = best[l] > -kInfinity;
    unsigned long long key =
        found ? static_cast<unsigned long long>(vq_ordered(best[l])) << 32 | ~index[l] : 0ULL;
    for (int step = kSide / 2; step > 0; step /= 2) {
      const unsigned long long other = __shfl_xor_sync(kFullWarp, key, step);
      key = other > key ? other : key;
    }
    const std::int64_t i = first_latent + row * kEach + l;
    if (column == 0 && i < q.n && key != 0) atomicMax(&q.scratch.keys[i], key);
  }
  __threadfence();
  __syncthreads();
  bool last_here = false;  // of the blocks that share these latents
  if (threadIdx.x == 0) {
    last_here = atomicAdd(&q.scratch.arrived[blockIdx.x], 1U) == gridDim.y - 1;
  }
  if (__syncthreads_or(last_here ? 1 : 0) == 0) return;
  __threadfence();
  const std::int64_t i = first_latent + threadIdx.x;
  if (threadIdx.x >= kTile || i >= q.n || (p.lost_only && !vq_lost(q.scratch, i))) return;
  const unsigned long long key = atomicMax(&q.scratch.keys[i], 0ULL);
  q.indices[i] = key == 0 ? 0 : static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
}

/// Hands out 256-byte aligned pieces; with no memory, counts.
class Pieces {
 public:
  explicit Pieces(std::byte* memory) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t n) {
    T* piece = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += (static_cast<std::size_t>(n) * sizeof(T) + 255) / 256 * 256;
    return piece;
  }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  std::byte* memory_;
  std::size_t used_ = 0;
};

VqScratch scratch_of(Pieces& pieces, const VqPlan& plan, std::int64_t n, std::int64_t k) {
  VqScratch s = {};
  s.half_norms = pieces.take<float>(k);
  s.keys = pieces.take<unsigned long long>(n);
  s.arrived = pieces.take<std::uint32_t>(vq_blocks(n, kTile));
  if (plan.n_slices == 0) return s;
  const std::int64_t lists = plan.n_slices * plan.n;
  s.reach = pieces.take<std::uint32_t>(1);
  s.lost = pieces.take<std::int32_t>(plan.n);
  s.threshold = pieces.take<std::uint32_t>(plan.n);
  s.counts = pieces.take<std::int32_t>(lists);
  s.candidates = pieces.take<VqCandidate>(lists * kVqRoom);
  s.latents = pieces.take<__nv_bfloat16>(plan.n * plan.d);
  s.codes = pieces.take<__nv_bfloat16>(plan.k * plan.d);
  s.latent_sizes = pieces.take<VqSize>(plan.n);
  s.code_sizes = pieces.take<VqSize>(plan.k);
  return s;
}

void exact(const VqProblem& problem, int n_processors, bool lost_only, cudaStream_t stream) {
  const std::int64_t n_tiles = vq_blocks(problem.n, kTile);
  const std::int64_t code_tiles = vq_blocks(problem.k, kTile);
  constexpr std::int64_t kBlocksPerProcessor = 5;  // by registers, on Ampere and Hopper
  const std::int64_t wanted =
      std::clamp<std::int64_t>(kBlocksPerProcessor * n_processors / n_tiles, 1, code_tiles);
  const std::int64_t slice = (code_tiles + wanted - 1) / wanted * kTile;
  const LaunchShape shape{dim3(static_cast<unsigned>(n_tiles), vq_blocks(problem.k, slice)),
                          kThreads};
  launch(kOp, exact_kernel, shape, stream, {problem, slice, lost_only});
}

}  // namespace

std::size_t vq_nearest_workspace_bytes(std::int64_t n, std::int64_t k, std::int64_t d) {
  Pieces pieces(nullptr);
  scratch_of(pieces, vq_plan(n, k, d), n, k);
  return pieces.used();
}

void vq_nearest(MatrixView<const float> latents,
                MatrixView<const float> codebook,
                std::span<std::int32_t> indices,
                std::span<std::byte> workspace,
                cudaStream_t stream) {
  check_vq_nearest(latents, codebook, indices);
  const std::int64_t n = latents.rows;
  if (!latents.contiguous() || !codebook.contiguous()) {
    fail_argument(kOp, "latents and codebook", "contiguous rows", "strides");
  }
  const std::size_t n_bytes = vq_nearest_workspace_bytes(n, codebook.rows, codebook.cols);
  if (workspace.size() < n_bytes) {
    fail_argument(
        kOp, "workspace", "at least " + std::to_string(n_bytes) + " bytes", workspace.size());
  }
  if (n == 0) return;
  int device = 0;
  int n_processors = 0;
  check(cudaGetDevice(&device), kOp);
  check(cudaDeviceGetAttribute(&n_processors, cudaDevAttrMultiProcessorCount, device), kOp);
  Pieces pieces(workspace.data());
  const VqPlan plan = vq_plan(n, codebook.rows, codebook.cols);
  const VqProblem problem = {latents.data,
                             codebook.data,
                             indices.data(),
                             n,
                             codebook.rows,
                             codebook.cols,
                             plan,
                             scratch_of(pieces, plan, n, codebook.rows)};
  const bool screened = plan.n_slices != 0;
  vq_rows(problem, stream);
  if (screened) {
    vq_screen(problem, stream);
    vq_rescore(problem, stream);
  }
  exact(problem, n_processors, screened, stream);
}

}  // namespace glc::cuda

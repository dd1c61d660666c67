// SPDX-License-Identifier: Apache-2.0
// Matrices in quads, four adjacent elements of a row: one access of 16 bytes where they are floats
// and lie aligned.
#pragma once

#include <cstdint>

#include "core/cuda_divisor.h"
#include "core/cuda_launch.h"
#include "glc/views.h"

namespace glc::entropy {
namespace {

constexpr int kQuad = 4;

template <class T>
struct alignas(kQuad * sizeof(T)) Packed {
  T values[kQuad];
};

/// How threads go over a matrix.
struct Quads {
  std::int64_t cols = 0;
  std::int64_t all = 0;  // quads; each row's last one may be short
  cuda::Divisor of_row;
  bool aligned = true;  // all matrices of the call

  Quads(const char* op, std::int64_t rows, std::int64_t cols_in)
      : cols(cols_in), all(rows * ((cols_in + kQuad - 1) / kQuad)) {
    of_row = cuda::Divisor(op, (cols + kQuad - 1) / kQuad, all);
  }

  /// Says that m is one of them.
  template <class T>
  Quads& with(const MatrixView<T>& m) {
    aligned = aligned && aligned_for(m);
    return *this;
  }

  /// Whether quads from a row's first element on may be read as Packed.
  template <class T>
  static bool aligned_for(const MatrixView<T>& m) {
    const bool strided = m.rows > 1 && m.row_stride % kQuad != 0;
    return reinterpret_cast<std::uintptr_t>(m.data) % sizeof(Packed<T>) == 0 && !strided;
  }
};

struct Quad {
  std::uint32_t row;
  std::int64_t col;
  int n;
  bool packed;
};

__device__ inline Quad quad_at(const Quads& quads, std::int64_t i) {
  Quad quad{};
  std::uint32_t in_row;
  quad.row = quads.of_row.divided(static_cast<std::uint32_t>(i), &in_row);
  quad.col = std::int64_t{in_row} * kQuad;
  const std::int64_t left = quads.cols - quad.col;
  quad.n = left < kQuad ? static_cast<int>(left) : kQuad;
  quad.packed = quads.aligned && quad.n == kQuad;
  return quad;
}

/// What lies beyond the row is set to `beyond`.
template <class T>
__device__ Packed<T> load(const MatrixView<const T>& m, const Quad& quad, T beyond) {
  const T* const from = m.data + quad.row * m.row_stride + quad.col;
  if (quad.packed) return *reinterpret_cast<const Packed<T>*>(from);
  Packed<T> out;
#pragma unroll
  for (int i = 0; i < kQuad; ++i) out.values[i] = i < quad.n ? from[i] : beyond;
  return out;
}

template <class T>
__device__ void store(const MatrixView<T>& m, const Quad& quad, const Packed<T>& from) {
  T* const to = m.data + quad.row * m.row_stride + quad.col;
  if (quad.packed) {
    *reinterpret_cast<Packed<T>*>(to) = from;
    return;
  }
#pragma unroll
  for (int i = 0; i < kQuad; ++i) {
    if (i < quad.n) to[i] = from.values[i];
  }
}

}  // namespace
}  // namespace glc::entropy

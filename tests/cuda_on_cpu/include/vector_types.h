// SPDX-License-Identifier: Apache-2.0
//
// Stand-in for CUDA's header of the same name. Alignments are the device's, so that UBSan reports
// a vector load from a misaligned address.
#pragma once

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x_in, unsigned y_in = 1, unsigned z_in = 1) : x(x_in), y(y_in), z(z_in) {}
};
struct uint3 {
  unsigned x, y, z;
};

template <class T, int kAlign>
struct alignas(kAlign) CudaVector2 {
  T x, y;
};
template <class T, int kAlign>
struct alignas(kAlign) CudaVector4 {
  T x, y, z, w;
};

using char2 = CudaVector2<signed char, 2>;
using char4 = CudaVector4<signed char, 4>;
using uchar2 = CudaVector2<unsigned char, 2>;
using uchar4 = CudaVector4<unsigned char, 4>;
using short2 = CudaVector2<short, 4>;
using short4 = CudaVector4<short, 8>;
using ushort2 = CudaVector2<unsigned short, 4>;
using ushort4 = CudaVector4<unsigned short, 8>;
using int2 = CudaVector2<int, 8>;
using int4 = CudaVector4<int, 16>;
using uint2 = CudaVector2<unsigned, 8>;
using uint4 = CudaVector4<unsigned, 16>;
using float2 = CudaVector2<float, 8>;
using float4 = CudaVector4<float, 16>;
using double2 = CudaVector2<double, 16>;
using longlong2 = CudaVector2<long long, 16>;
using ulonglong2 = CudaVector2<unsigned long long, 16>;

constexpr int2 make_int2(int x, int y) { return {x, y}; }
constexpr int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
constexpr uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
constexpr uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
constexpr float2 make_float2(float x, float y) { return {x, y}; }
constexpr float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

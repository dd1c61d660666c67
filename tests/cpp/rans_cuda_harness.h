// SPDX-License-Identifier: Apache-2.0
//
// The CUDA coder as a function of host memory, for tests and the fuzzer. Everything that a kernel
// sees is memory of its exact size (on_device.h), so that a sanitizer guards its ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <cuda_runtime_api.h>

#include "glc/cuda/rans.h"
#include "glc/rans.h"
#include "on_device.h"

namespace glc::test {

/// Rows on the host, as rans::Rows, and the same on the device.
class DeviceRows {
 public:
  explicit DeviceRows(const rans::Rows& rows) : rows_(rows) {
    using Type = rans::Rows::Type;
    if (rows.type() == Type::kUint8) copy<std::uint8_t>(rows);
    if (rows.type() == Type::kUint16) copy<std::uint16_t>(rows);
    if (rows.type() == Type::kInt32) copy<std::int32_t>(rows);
  }
  [[nodiscard]] const rans::Rows& rows() const { return rows_; }

 private:
  template <class T>
  void copy(const rans::Rows& rows) {
    const auto* const bytes = static_cast<const std::uint8_t*>(rows.data());
    memory_.emplace(std::span(bytes, rows.size() * sizeof(T)));
    rows_ = rans::Rows(std::span(reinterpret_cast<const T*>(memory_->data()), rows.size()));
  }
  rans::Rows rows_;
  std::optional<OnDevice<std::uint8_t>> memory_;
};

struct CudaPush {
  std::span<const std::int32_t> symbols;
  rans::Rows rows;
  rans::TableSet tables;
};

inline cuda::RansProgress checked(const OnDevice<cuda::RansProgress>& progress) {
  must(cudaDeviceSynchronize());
  const cuda::RansProgress host = progress.host()[0];
  cuda::rans_check(host);
  return host;
}

/// The stream of these pushes; capacity 0 stands for the bound.
inline std::vector<std::uint8_t> cuda_encode(const std::vector<CudaPush>& pushes,
                                             int lanes,
                                             std::size_t segment_symbols,
                                             std::size_t capacity = 0) {
  std::size_t bound = 4;
  for (const CudaPush& push : pushes) {
    bound +=
        cuda::rans_record_bound(push.symbols.size(), lanes, segment_symbols, push.tables.escape());
  }
  const OnDevice<std::uint8_t> out(capacity == 0 ? bound : capacity);
  const OnDevice<cuda::RansProgress> progress(1);
  cuda::rans_encode_begin(out.span(), progress.data(), nullptr);
  for (const CudaPush& push : pushes) {
    const cuda::RansTables tables(push.tables);
    const OnDevice<std::byte> blob(tables.blob());
    const OnDevice<std::int32_t> symbols(push.symbols);
    const DeviceRows rows(push.rows);
    const OnDevice<std::byte> workspace(
        cuda::rans_encode_workspace_bytes(push.symbols.size(), lanes, segment_symbols));
    cuda::rans_encode(symbols.span(),
                      rows.rows(),
                      tables,
                      blob.data(),
                      lanes,
                      segment_symbols,
                      out.span(),
                      progress.data(),
                      workspace.span(),
                      nullptr);
    must(cudaDeviceSynchronize());
  }
  return out.host(checked(progress).position);
}

/// The symbols of each push; only the sizes of push.symbols are read. `made`, if given, are the
/// tables of every push, made before.
inline std::vector<std::vector<std::int32_t>> cuda_decode(std::span<const std::uint8_t> data,
                                                          const std::vector<CudaPush>& pushes,
                                                          const cuda::RansTables* made = nullptr) {
  const OnDevice<std::uint8_t> stream(data);
  const OnDevice<cuda::RansProgress> progress(1);
  cuda::rans_decode_begin(stream.span(), nullptr, progress.data(), nullptr);
  std::vector<std::vector<std::int32_t>> symbols;
  for (const CudaPush& push : pushes) {
    const cuda::RansTables tables = made == nullptr ? cuda::RansTables(push.tables) : *made;
    const OnDevice<std::byte> blob(tables.blob());
    const DeviceRows rows(push.rows);
    const OnDevice<std::int32_t> out(push.symbols.size());
    cuda::rans_decode(
        stream.span(), rows.rows(), tables, blob.data(), out.span(), progress.data(), nullptr);
    must(cudaDeviceSynchronize());
    symbols.push_back(out.host());
  }
  cuda::rans_decode_end(progress.data(), nullptr);
  checked(progress);
  return symbols;
}

/// The same of a stream that is one push, by the call for those. `size`, if given, is what the
/// device is told of data's length.
inline std::vector<std::vector<std::int32_t>> cuda_decode_only(
    std::span<const std::uint8_t> data,
    const CudaPush& push,
    const cuda::RansTables* made = nullptr,
    std::optional<std::uint64_t> size = std::nullopt) {
  const OnDevice<std::uint8_t> stream(data);
  const OnDevice<std::uint64_t> told(std::vector<std::uint64_t>{size.value_or(0)});
  const OnDevice<cuda::RansProgress> progress(1);
  const cuda::RansTables tables = made == nullptr ? cuda::RansTables(push.tables) : *made;
  const OnDevice<std::byte> blob(tables.blob());
  const DeviceRows rows(push.rows);
  const OnDevice<std::int32_t> out(push.symbols.size());
  cuda::rans_decode_only(stream.span(),
                         size ? told.data() : nullptr,
                         rows.rows(),
                         tables,
                         blob.data(),
                         out.span(),
                         progress.data(),
                         nullptr);
  checked(progress);
  return {out.host()};
}

inline std::vector<std::uint8_t> cuda_encode_bytes(std::span<const std::uint8_t> data,
                                                   std::size_t segment_bytes,
                                                   std::optional<int> lanes = std::nullopt) {
  const OnDevice<std::uint8_t> bytes(data);
  const OnDevice<std::uint8_t> out(cuda::rans_encoded_bytes_bound(data.size(), segment_bytes));
  const OnDevice<cuda::RansProgress> progress(1);
  const OnDevice<std::byte> workspace(
      cuda::rans_encode_bytes_workspace_bytes(data.size(), segment_bytes));
  cuda::rans_encode_bytes(
      bytes.span(), segment_bytes, lanes, out.span(), progress.data(), workspace.span(), nullptr);
  return out.host(checked(progress).position);
}

/// data decodes to n bytes.
inline std::vector<std::uint8_t> cuda_decode_bytes(std::span<const std::uint8_t> data,
                                                   std::size_t n) {
  const OnDevice<std::uint8_t> coded(data);
  const OnDevice<std::uint8_t> out(n);
  const OnDevice<cuda::RansProgress> progress(1);
  const OnDevice<std::byte> workspace(cuda::rans_decode_bytes_workspace_bytes());
  cuda::rans_decode_bytes(
      coded.span(), nullptr, out.span(), progress.data(), workspace.span(), nullptr);
  checked(progress);
  return out.host();
}

}  // namespace glc::test

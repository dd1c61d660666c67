// SPDX-License-Identifier: Apache-2.0
//
// Arguments that the bindings of the CUDA coder share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <pybind11/pybind11.h>

#include "glc/cuda/rans.h"
#include "glc/error.h"
#include "python/cuda_device.h"

namespace glc::python {

/// Rows as Python passes them: a number, or a tensor of uint8, uint16 or int32.
class DeviceRows {
 public:
  explicit DeviceRows(const pybind11::object& rows) {
    if (pybind11::isinstance<pybind11::int_>(rows)) {
      rows_ = rans::Rows(rows.cast<std::int32_t>());
      return;
    }
    tensor_.emplace(rows, "rans", "rows");
    switch (tensor_->item_bytes()) {
      case 1:
        rows_ = rans::Rows(tensor_->span<const std::uint8_t>());
        break;
      case 2:
        rows_ = rans::Rows(tensor_->span<const std::uint16_t>());
        break;
      default:
        rows_ = rans::Rows(tensor_->span<const std::int32_t>());
    }
  }
  [[nodiscard]] const rans::Rows& rows() const { return rows_; }

 private:
  rans::Rows rows_{0};
  std::optional<DeviceTensor> tensor_;
};

/// The tensor that holds a cuda::RansProgress.
class Progress {
 public:
  explicit Progress(const pybind11::object& tensor) : tensor_(tensor, "rans", "progress") {
    if (tensor_.span<std::int64_t>().size_bytes() < sizeof(cuda::RansProgress)) {
      throw InvalidArgument("rans: progress: expected int64 [" +
                            std::to_string(sizeof(cuda::RansProgress) / 8) + "]");
    }
  }
  [[nodiscard]] cuda::RansProgress* get() const {
    return reinterpret_cast<cuda::RansProgress*>(tensor_.span<std::int64_t>().data());
  }
  [[nodiscard]] const DeviceTensor& tensor() const { return tensor_; }

 private:
  DeviceTensor tensor_;
};

/// The number of bytes of a stream, where only the device knows it yet.
inline const std::uint64_t* size_of(const std::optional<Progress>& written) {
  return written ? &written->get()->position : nullptr;
}
inline std::optional<Progress> written_by(const pybind11::object& progress) {
  if (progress.is_none()) return std::nullopt;
  return std::optional<Progress>(std::in_place, progress);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include <pybind11/pybind11.h>

#include "glc/rans.h"
#include "python/buffer.h"

namespace glc::python {

/// Rows as Python passes them: a number, or a buffer of uint8, uint16 or int32.
class RowsArgument {
 public:
  explicit RowsArgument(const pybind11::object& rows) {
    if (pybind11::isinstance<pybind11::int_>(rows)) {
      rows_ = rans::Rows(rows.cast<std::int32_t>());
      return;
    }
    const auto buffer = rows.cast<pybind11::buffer>();
    const auto itemsize = buffer.request().itemsize;
    if (itemsize == 1) {
      u8_.emplace(buffer, "rans", "rows");
      rows_ = rans::Rows(u8_->span());
    } else if (itemsize == 2) {
      u16_.emplace(buffer, "rans", "rows");
      rows_ = rans::Rows(u16_->span());
    } else {
      i32_.emplace(buffer, "rans", "rows");
      rows_ = rans::Rows(i32_->span());
    }
  }
  [[nodiscard]] rans::Rows rows() const { return rows_; }

 private:
  rans::Rows rows_{0};
  std::optional<Buffer<const std::uint8_t>> u8_;
  std::optional<Buffer<const std::uint16_t>> u16_;
  std::optional<Buffer<const std::int32_t>> i32_;
};

}  // namespace glc::python

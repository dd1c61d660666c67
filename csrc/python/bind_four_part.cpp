// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <pybind11/pybind11.h>

#include "glc/four_part.h"
#include "python/bindings.h"
#include "python/dlpack.h"
#include "python/four_part_shape.h"

namespace py = pybind11;

// A shape is (batch, channels, height, width, channels_last); maps are matrices with any row
// stride.

namespace glc::python {
namespace {

/// A map that may be None.
class Map {
 public:
  Map(const py::object& tensor, const char* op, const char* name) {
    if (!tensor.is_none()) {
      borrowed_.emplace(tensor, op, name, Dlpack::Layout::kRows);
    }
  }
  template <class T>
  [[nodiscard]] MatrixView<T> view() const {
    return borrowed_ ? borrowed_->matrix<T>() : MatrixView<T>();
  }

 private:
  std::optional<Dlpack> borrowed_;
};

void step(const py::tuple& shape,
          int part,
          const py::object& y,
          const py::object& mean,
          const py::object& scale,
          const py::object& y_q,
          const py::object& y_hat,
          const py::object& mean_out,
          const py::object& scale_out) {
  constexpr const char* kOp = "four_part_step";
  const Map y_in(y, kOp, "y");
  const Map mean_in(mean, kOp, "mean");
  const Map scale_in(scale, kOp, "scale");
  const Map y_q_to(y_q, kOp, "y_q");
  const Map y_hat_to(y_hat, kOp, "y_hat");
  const Map mean_to(mean_out, kOp, "mean_out");
  const Map scale_to(scale_out, kOp, "scale_out");
  const entropy::FourPartMaps maps = {.y = y_in.view<const float>(),
                                      .mean = mean_in.view<const float>(),
                                      .scale = scale_in.view<const float>(),
                                      .y_q = y_q_to.view<float>(),
                                      .y_hat = y_hat_to.view<float>(),
                                      .mean_out = mean_to.view<float>(),
                                      .scale_out = scale_to.view<float>()};
  const auto s = shape_of(shape);
  const py::gil_scoped_release release;
  entropy::four_part_step(s, part, maps);
}

class FourMaps {
 public:
  FourMaps(const py::list& tensors, const char* op, const char* name) {
    for (std::size_t part = 0; part < entropy::kParts; ++part) {
      maps_.emplace_back(py::object(tensors[part]), op, name);
    }
  }
  [[nodiscard]] std::array<MatrixView<const float>, entropy::kParts> views() const {
    return {maps_[0].view<const float>(),
            maps_[1].view<const float>(),
            maps_[2].view<const float>(),
            maps_[3].view<const float>()};
  }

 private:
  std::vector<Map> maps_;
};

void merge(const py::tuple& shape,
           const py::object& y,
           const py::list& means,
           const py::list& scales,
           const py::object& y_q,
           const py::object& mean,
           const py::object& scale) {
  constexpr const char* kOp = "four_part_merge";
  const Map y_in(y, kOp, "y");
  const FourMaps means_in(means, kOp, "means");
  const FourMaps scales_in(scales, kOp, "scales");
  const Map y_q_out(y_q, kOp, "y_q");
  const Map mean_out(mean, kOp, "mean");
  const Map scale_out(scale, kOp, "scale");
  const entropy::FourPartMergeMaps maps = {.y = y_in.view<const float>(),
                                           .means = means_in.views(),
                                           .scales = scales_in.views(),
                                           .y_q = y_q_out.view<float>(),
                                           .mean = mean_out.view<float>(),
                                           .scale = scale_out.view<float>()};
  const auto s = shape_of(shape);
  const py::gil_scoped_release release;
  entropy::four_part_merge(s, maps);
}

}  // namespace

void bind_four_part(py::module_& m) {
  m.def("four_part_step",
        &step,
        py::arg("shape"),
        py::arg("part"),
        py::arg("y"),
        py::arg("mean"),
        py::arg("scale"),
        py::arg("y_q"),
        py::arg("y_hat"),
        py::arg("mean_out"),
        py::arg("scale_out"));
  m.def("four_part_merge",
        &merge,
        py::arg("shape"),
        py::arg("y"),
        py::arg("means"),
        py::arg("scales"),
        py::arg("y_q"),
        py::arg("mean"),
        py::arg("scale"));
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/four_part.h"
#include "glc/views.h"
#include "python/optional_rows.h"

namespace glc::python {

/// (batch, channels, height, width, channels_last)
inline entropy::FourPartShape shape_of(const pybind11::tuple& shape) {
  return {shape[0].cast<std::int64_t>(),
          shape[1].cast<std::int64_t>(),
          shape[2].cast<std::int64_t>(),
          shape[3].cast<std::int64_t>(),
          shape[4].cast<bool>()};
}

/// The bindings of glc/four_part.h for tensors on one device; maps are matrices with any row
/// stride. On is OnCpu or OnCuda with the ops as members, and Stream what its constructor takes
/// beside a tensor.
template <class On, class... Stream>
struct FourPartBindings {
  using Object = pybind11::object;
  using Tensor = typename On::Tensor;

  using FourMaps = OptionalRows<Tensor, entropy::kParts>;

  static void step(const pybind11::tuple& shape,
                   int part,
                   const Object& y,
                   const Object& mean,
                   const Object& before,
                   const Object& y_hat,
                   Stream... stream) {
    constexpr const char* kOp = "four_part_step";
    constexpr auto kRows = Tensor::Layout::kRows;
    const Tensor y_in(y, kOp, "y", kRows);
    const Tensor mean_in(mean, kOp, "mean", kRows);
    const auto before_in = optional_rows<Tensor>(before, kOp, "before");
    const Tensor y_hat_out(y_hat, kOp, "y_hat", kRows);
    const entropy::FourPartStepMaps maps = {.y = y_in.template matrix<const float>(),
                                            .mean = mean_in.template matrix<const float>(),
                                            .before = optional_view<const float>(before_in),
                                            .y_hat = y_hat_out.template matrix<float>()};
    const auto s = shape_of(shape);
    On(y_hat_out, stream...).step(s, part, maps);
  }

  /// `written` is y_q, y_hat, mean, scale.
  static void merge(const pybind11::tuple& shape,
                    const Object& y,
                    const std::array<Object, entropy::kParts>& means,
                    const std::array<Object, entropy::kParts>& scales,
                    const std::array<Object, 4>& written,
                    Stream... stream) {
    constexpr const char* kOp = "four_part_merge";
    constexpr auto kRows = Tensor::Layout::kRows;
    const Tensor y_in(y, kOp, "y", kRows);
    const FourMaps means_in(means, kOp, "means");
    const FourMaps scales_in(scales, kOp, "scales");
    const Tensor y_q_out(written[0], kOp, "y_q", kRows);
    const Tensor y_hat_out(written[1], kOp, "y_hat", kRows);
    const Tensor mean_out(written[2], kOp, "mean", kRows);
    const Tensor scale_out(written[3], kOp, "scale", kRows);
    const entropy::FourPartMergeMaps maps = {.y = y_in.template matrix<const float>(),
                                             .means = means_in.template views<const float>(),
                                             .scales = scales_in.template views<const float>(),
                                             .y_q = y_q_out.template matrix<float>(),
                                             .y_hat = y_hat_out.template matrix<float>(),
                                             .mean = mean_out.template matrix<float>(),
                                             .scale = scale_out.template matrix<float>()};
    const auto s = shape_of(shape);
    On(y_in, stream...).merge(s, maps);
  }

  /// The targets' sets of parts, bit i for part i, lie in `parts`; a target may be None.
  static void spread(const pybind11::tuple& shape,
                     const Object& x,
                     const Object& minus,
                     const std::array<Object, entropy::kParts>& targets,
                     const std::array<unsigned, entropy::kParts>& parts,
                     Stream... stream) {
    constexpr const char* kOp = "four_part_spread";
    const Tensor x_in(x, kOp, "x", Tensor::Layout::kRows);
    const auto minus_in = optional_rows<Tensor>(minus, kOp, "minus");
    const FourMaps to(targets, kOp, "targets");
    entropy::FourPartSpreadMaps maps = {.x = x_in.template matrix<const float>(),
                                        .minus = optional_view<const float>(minus_in)};
    const auto views = to.template views<float>();
    for (std::size_t k = 0; k < views.size(); ++k) maps.targets[k] = {views[k], parts[k]};
    const auto s = shape_of(shape);
    On(x_in, stream...).spread(s, maps);
  }

  static void pick(const pybind11::tuple& shape,
                   int part,
                   const Object& map,
                   const Object& picked,
                   Stream... stream) {
    constexpr const char* kOp = "four_part_pick";
    const Tensor map_in(map, kOp, "map", Tensor::Layout::kRows);
    const Tensor picked_out(picked, kOp, "picked");
    const auto m = map_in.template matrix<const float>();
    const auto p = picked_out.template span<float>();
    const auto s = shape_of(shape);
    On(map_in, stream...).pick(s, part, m, p);
  }

  static void put(const pybind11::tuple& shape,
                  int part,
                  const Object& symbols,
                  const Object& mean,
                  const Object& y_hat,
                  Stream... stream) {
    constexpr const char* kOp = "four_part_put";
    const Tensor symbols_in(symbols, kOp, "symbols");
    const Tensor mean_in(mean, kOp, "mean");
    const Tensor y_hat_out(y_hat, kOp, "y_hat", Tensor::Layout::kRows);
    const auto q = symbols_in.template span<const std::int32_t>();
    const auto m = mean_in.template span<const float>();
    const auto to = y_hat_out.template matrix<float>();
    const auto s = shape_of(shape);
    On(y_hat_out, stream...).put(s, part, q, m, to);
  }

  static void bind(pybind11::module_& m) {
    m.def("four_part_step", &step);
    m.def("four_part_merge", &merge);
    m.def("four_part_spread", &spread);
    m.def("four_part_pick", &pick);
    m.def("four_part_put", &put);
  }
};

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/vq.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace py = pybind11;

namespace glc::python {
namespace {

constexpr const char* kNearest = "vq_nearest";
constexpr const char* kSums = "vq_segment_sums";

void nearest(const py::object& latents, const py::object& codebook, const py::object& indices) {
  const Dlpack latents_in(latents, kNearest, "latents");
  const Dlpack codebook_in(codebook, kNearest, "codebook");
  const Dlpack indices_out(indices, kNearest, "indices");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_out.span<std::int32_t>();
  const py::gil_scoped_release release;
  vq_nearest(l, c, i);
}

VqCodebook prepare(const py::object& codebook) {
  const Dlpack codebook_in(codebook, kNearest, "codebook");
  const auto c = codebook_in.matrix<const float>();
  const py::gil_scoped_release release;
  return VqCodebook(c);
}

void prepared_nearest(const VqCodebook& prepared,
                      const py::object& latents,
                      const py::object& codebook,
                      const py::object& indices,
                      VqSearch search) {
  const Dlpack latents_in(latents, kNearest, "latents");
  const Dlpack codebook_in(codebook, kNearest, "codebook");
  const Dlpack indices_out(indices, kNearest, "indices");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_out.span<std::int32_t>();
  const py::gil_scoped_release release;
  prepared.nearest(l, c, i, search);
}

bool plausible(const VqCodebook& prepared, const py::object& codebook) {
  const Dlpack codebook_in(codebook, kNearest, "codebook");
  const auto c = codebook_in.matrix<const float>();
  const py::gil_scoped_release release;
  return prepared.plausible(c);
}

double lookup(const py::object& latents,
              const py::object& codebook,
              const py::object& indices,
              const py::object& quantised) {
  constexpr const char* kOp = "vq_lookup";
  const Dlpack latents_in(latents, kOp, "latents");
  const Dlpack codebook_in(codebook, kOp, "codebook");
  const Dlpack indices_in(indices, kOp, "indices");
  const Dlpack quantised_out(quantised, kOp, "quantised");
  const auto l = latents_in.matrix<const float>();
  const auto c = codebook_in.matrix<const float>();
  const auto i = indices_in.span<const std::int32_t>();
  const auto q = quantised_out.matrix<float>();
  const py::gil_scoped_release release;
  return vq_lookup(l, c, i, q);
}

void usage(const py::object& indices, const py::object& counts) {
  const Dlpack indices_in(indices, "vq_usage", "indices");
  const Dlpack counts_out(counts, "vq_usage", "counts");
  const auto i = indices_in.span<const std::int32_t>();
  const auto c = counts_out.span<std::int64_t>();
  const py::gil_scoped_release release;
  vq_usage(i, c);
}

void segment_sums(const py::object& latents,
                  const py::object& indices,
                  const py::object& counts,
                  const py::object& sums) {
  const Dlpack latents_in(latents, kSums, "latents");
  const Dlpack indices_in(indices, kSums, "indices");
  const Dlpack counts_in(counts, kSums, "counts");
  const Dlpack sums_out(sums, kSums, "sums");
  const auto l = latents_in.matrix<const float>();
  const auto i = indices_in.span<const std::int32_t>();
  const auto c = counts_in.span<const std::int64_t>();
  const auto s = sums_out.matrix<float>();
  const py::gil_scoped_release release;
  vq_segment_sums(l, i, c, s);
}

}  // namespace

void bind_vq(py::module_& m) {
  py::enum_<VqSearch>(m, "VqSearch")
      .value("AUTO", VqSearch::kAuto)
      .value("EXACT", VqSearch::kExact)
      .value("SCREEN", VqSearch::kScreen);
  py::class_<VqCodebook>(m, "VqCodebook")
      .def(py::init(&prepare), py::arg("codebook"))
      .def("nearest",
           &prepared_nearest,
           py::arg("latents"),
           py::arg("codebook"),
           py::arg("indices"),
           py::arg("search") = VqSearch::kAuto)
      .def("plausible", &plausible, py::arg("codebook"))
      .def_property_readonly("packed", &VqCodebook::packed)
      .def_property_readonly("screen_lost", &VqCodebook::screen_lost)
      .def_property_readonly("nbytes", &VqCodebook::nbytes);
  m.def("vq_nearest", &nearest, py::arg("latents"), py::arg("codebook"), py::arg("indices"));
  m.def("vq_lookup",
        &lookup,
        py::arg("latents"),
        py::arg("codebook"),
        py::arg("indices"),
        py::arg("quantised"));
  m.def("vq_usage", &usage, py::arg("indices"), py::arg("counts"));
  m.def("vq_segment_sums",
        &segment_sums,
        py::arg("latents"),
        py::arg("indices"),
        py::arg("counts"),
        py::arg("sums"));
}

}  // namespace glc::python

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
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/float_mode.h"
#include "glc/error.h"
#include "networks/analysis_networks.h"
#include "networks/entropy_networks.h"
#include "networks/layout.h"
#include "networks/synthesis_networks.h"
#include "networks/tensors.h"
#include "python/bindings.h"
#include "python/buffer.h"
#include "python/dlpack.h"
#include "python/feature_maps.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using networks::AnalysisNetworks;
using networks::EntropyNetworks;
using networks::Map;
using networks::Scratch;
using networks::SynthesisNetworks;

constexpr const char* kOp = "networks";

/// A model's arrays by name, borrowed.
class Weights {
 public:
  explicit Weights(const py::dict& arrays) {
    for (const auto& [name, array] : arrays) {
      const auto& buffer = buffers_.emplace_back(
          array.cast<py::buffer>(), "model", py::str(name).cast<std::string>().c_str());
      networks::Shape shape;
      for (std::int64_t d = 0; d < buffer.ndim(); ++d) {
        shape.push_back(buffer.shape(static_cast<std::size_t>(d)));
      }
      tensors_.emplace(name.cast<std::string>(), networks::Tensor{shape, buffer.span()});
    }
  }

  [[nodiscard]] const networks::Tensors& tensors() const { return tensors_; }

 private:
  std::deque<Buffer<const float>> buffers_;
  networks::Tensors tensors_;
};

/// The networks of a model that draws by exact layers.
struct LightNetworks : EntropyNetworks {
  LightNetworks(const networks::LightLayout& layout,
                networks::Reader& reader,
                std::int64_t strip_pixels)
      : EntropyNetworks(layout, reader, strip_pixels),
        analysis(layout, reader, strip_pixels),
        synthesis(layout, reader, strip_pixels) {}

  AnalysisNetworks analysis;
  SynthesisNetworks synthesis;
};

EntropyNetworks make_entropy(const networks::Layout& layout,
                             const py::dict& arrays,
                             std::int64_t strip_pixels) {
  const Weights weights(arrays);
  networks::Reader reader(weights.tensors());
  return {layout, reader, strip_pixels};
}

LightNetworks make_light(const networks::LightLayout& layout,
                         const py::dict& arrays,
                         std::int64_t strip_pixels) {
  const Weights weights(arrays);
  networks::Reader reader(weights.tensors());
  LightNetworks out(layout, reader, strip_pixels);
  reader.require_all_read();
  return out;
}

/// Without the GIL: network(scratch), whose result goes to out [1, c, h, w].
template <class Network>
void write(const py::object& out, Network network) {
  const Dlpack out_in(out, kOp, "out");
  const auto to = map<float>(out_in);
  const py::gil_scoped_release no_gil;
  const IeeeFloats mode;
  Scratch scratch;
  const Map computed = network(scratch);
  if (to.n != 1 || to.c != computed.c() || to.h != computed.h() || to.w != computed.w()) {
    throw InvalidArgument("networks: out: expected another shape");
  }
  std::copy_n(computed.channel(0), computed.size(), to.data);
}

void params(const EntropyNetworks& networks, const py::buffer& z_index, const py::object& out) {
  const Buffer<const std::int32_t> index(z_index, kOp, "z_index");
  if (index.ndim() != 2) throw InvalidArgument("networks: z_index: expected 2 dimensions");
  write(out, [&](Scratch& scratch) {
    return networks.params(index.span(), index.shape(0), index.shape(1), scratch);
  });
}

void part_params(const EntropyNetworks& networks,
                 int part,
                 const py::object& seen,
                 const py::object& out) {
  const Dlpack seen_in(seen, kOp, "seen");
  const auto from = map<const float>(seen_in);
  write(out, [&](Scratch& scratch) { return networks.part_params(part, from, scratch); });
}

/// What to call with the fraction done; null is nobody.
networks::Report report_to(const py::object& progress) {
  if (progress.is_none()) return {};
  return [&progress](double done) {
    const py::gil_scoped_acquire gil;
    progress(done);
  };
}

void features(const LightNetworks& networks,
              const py::buffer& pixels,
              const py::object& out,
              const py::object& progress) {
  const Buffer<const std::uint8_t> in(pixels, kOp, "pixels");
  if (in.ndim() != 3 || in.shape(2) != 3 || in.span().empty()) {
    throw InvalidArgument("networks: pixels: expected [h, w, 3]");
  }
  write(out, [&](Scratch& scratch) {
    return networks.analysis.features(
        {.data = in.span().data(), .height = in.shape(0), .width = in.shape(1)},
        scratch,
        report_to(progress));
  });
}

void analysis(const LightNetworks& networks,
              const py::object& features,
              double quality,
              const py::object& out) {
  const Dlpack features_in(features, kOp, "features");
  const auto from = map<const float>(features_in);
  write(out, [&](Scratch& scratch) { return networks.analysis.analysis(from, quality, scratch); });
}

void hyper_index(const LightNetworks& networks, const py::object& y, const py::object& out) {
  const Dlpack y_in(y, kOp, "y");
  const Dlpack out_in(out, kOp, "out");
  const auto from = map<const float>(y_in);
  const auto to = out_in.span<std::int32_t>();
  const py::gil_scoped_release no_gil;
  const IeeeFloats mode;
  Scratch scratch;
  const std::vector<std::int32_t> index = networks.analysis.hyper_index(from, scratch);
  if (index.size() != to.size()) throw InvalidArgument("networks: out: expected another shape");
  std::ranges::copy(index, to.begin());
}

void synthesis(const LightNetworks& networks,
               const py::object& y_hat,
               double quality,
               const py::object& out) {
  const Dlpack y_hat_in(y_hat, kOp, "y_hat");
  const auto from = map<const float>(y_hat_in);
  write(out,
        [&](Scratch& scratch) { return networks.synthesis.synthesis(from, quality, scratch); });
}

void draw(const LightNetworks& networks,
          const py::object& y_hat,
          double quality,
          const py::buffer& pixels,
          const py::object& progress) {
  const Dlpack y_hat_in(y_hat, kOp, "y_hat");
  const Buffer<std::uint8_t> out(pixels, kOp, "pixels");
  if (out.ndim() != 3 || out.shape(2) != 3) {
    throw InvalidArgument("networks: pixels: expected [h, w, 3]");
  }
  const auto from = map<const float>(y_hat_in);
  const py::gil_scoped_release no_gil;
  const IeeeFloats mode;
  Scratch scratch;
  networks.synthesis.draw(
      from,
      quality,
      {.data = out.span().data(), .height = out.shape(0), .width = out.shape(1)},
      scratch,
      report_to(progress));
}

}  // namespace

void bind_networks(py::module_& m) {
  py::class_<networks::Layout>(m, "Layout").def(py::init(&networks::Layout::from));
  py::class_<networks::LightLayout, networks::Layout>(m, "LightLayout")
      .def(py::init(&networks::LightLayout::from));
  py::class_<EntropyNetworks>(m, "EntropyNetworks")
      .def(py::init(&make_entropy))
      .def("params", &params)
      .def("part_params", &part_params);
  py::class_<LightNetworks, EntropyNetworks>(m, "LightNetworks")
      .def(py::init(&make_light))
      .def("features", &features)
      .def("analysis", &analysis)
      .def("hyper_index", &hyper_index)
      .def("synthesis", &synthesis)
      .def("draw", &draw);
  m.add_object("STRIP_PIXELS", py::int_(networks::kStripPixels));
}

}  // namespace glc::python

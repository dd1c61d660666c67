// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include <pybind11/pybind11.h>

#include "glc/cdf.h"
#include "glc/entropy.h"
#include "glc/rans.h"
#include "python/bindings.h"
#include "python/buffer.h"
#include "python/rows_argument.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using rans::TableSet;
using Symbols = Buffer<const std::int32_t>;
using NoGil = py::gil_scoped_release;

TableSet table_from_freqs(const py::buffer& freqs,
                          const py::buffer& n_bins,
                          const py::buffer& offsets,
                          int bits,
                          bool escape) {
  const Buffer<const std::uint32_t> f(freqs, "rans", "freqs");
  const Symbols n(n_bins, "rans", "n_bins");
  const Symbols o(offsets, "rans", "offsets");
  const NoGil no_gil;
  return TableSet::from_freqs(f.span(), n.span(), o.span(), bits, escape);
}

TableSet table_from_cdfs(const py::buffer& cdfs,
                         std::size_t width,
                         const py::buffer& sizes,
                         const py::buffer& offsets,
                         int bits) {
  const Symbols c(cdfs, "rans", "cdfs");
  const Symbols s(sizes, "rans", "sizes");
  const Symbols o(offsets, "rans", "offsets");
  const NoGil no_gil;
  return TableSet::from_cdfs(c.span(), width, s.span(), o.span(), bits);
}

TableSet table_from_gaussian(const py::buffer& scales, int bits) {
  const Buffer<const double> s(scales, "cdf", "scales");
  const NoGil no_gil;
  return cdf::gaussian_tables(s.span(), bits);
}

std::uint64_t table_cost(const TableSet& tables,
                         const py::buffer& symbols,
                         const py::object& rows) {
  const Symbols buffer(symbols, "rans", "symbols");
  const RowsArgument row_argument(rows);
  const NoGil no_gil;
  return tables.cost(buffer.span(), row_argument.rows());
}

py::tuple table_arrays(const TableSet& tables) {
  const std::vector<std::uint32_t> freqs = tables.freqs();
  const auto bytes = [](const auto* data, std::size_t n) {
    return py::bytes(reinterpret_cast<const char*>(data), n * sizeof(*data));
  };
  return py::make_tuple(bytes(freqs.data(), freqs.size()),
                        bytes(tables.n_bins().data(), tables.rows()),
                        bytes(tables.offsets().data(), tables.rows()));
}

template <class T>
void normalise(const py::buffer& weights, int bits, const py::buffer& out) {
  const Buffer<const T> w(weights, "cdf", "weights");
  const Buffer<std::uint32_t> freqs(out, "cdf", "freqs");
  const NoGil no_gil;
  cdf::normalise(w.span(), bits, freqs.span());
}

void histogram(const py::buffer& values, const py::buffer& out) {
  const Symbols v(values, "cdf", "values");
  const Buffer<std::uint64_t> counts(out, "cdf", "counts");
  const NoGil no_gil;
  cdf::histogram(v.span(), counts.span());
}

void softmax_weights(const py::buffer& logits, const py::buffer& out) {
  const Buffer<const float> in(logits, "cdf", "logits");
  const Buffer<std::int32_t> weights(out, "cdf", "weights");
  const NoGil no_gil;
  entropy::categorical_weights(in.span(), weights.span());
}

}  // namespace

void bind_tables(py::module_& m) {
  py::class_<TableSet>(m, "RansTableSet")
      .def_static("from_freqs", &table_from_freqs)
      .def_static("from_cdfs", &table_from_cdfs)
      .def_static("from_gaussian", &table_from_gaussian)
      .def_property_readonly("rows", &TableSet::rows)
      .def_property_readonly("bits", &TableSet::bits)
      .def_property_readonly("escape", &TableSet::escape)
      .def_property_readonly("nbytes", &TableSet::nbytes)
      .def("arrays", &table_arrays)
      .def("cost", &table_cost);
  m.def("cdf_normalise_counts", &normalise<std::uint64_t>);
  m.def("cdf_normalise_pmf", &normalise<double>);
  m.def("cdf_histogram", &histogram);
  m.def("cdf_softmax_weights", &softmax_weights);
}

}  // namespace glc::python

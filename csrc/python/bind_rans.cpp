// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cdf.h"
#include "glc/error.h"
#include "glc/rans.h"
#include "python/bindings.h"
#include "python/buffer.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using rans::Rows;
using rans::TableSet;
using NoGil = py::gil_scoped_release;

/// Rows as Python passes them: a number, or a buffer of uint8, uint16 or int32.
class RowsArgument {
 public:
  explicit RowsArgument(const py::object& rows) {
    if (py::isinstance<py::int_>(rows)) {
      rows_ = Rows(rows.cast<std::int32_t>());
      return;
    }
    const auto buffer = rows.cast<py::buffer>();
    const auto itemsize = buffer.request().itemsize;
    if (itemsize == 1) {
      u8_.emplace(buffer, "rans", "rows");
      rows_ = Rows(u8_->span());
    } else if (itemsize == 2) {
      u16_.emplace(buffer, "rans", "rows");
      rows_ = Rows(u16_->span());
    } else {
      i32_.emplace(buffer, "rans", "rows");
      rows_ = Rows(i32_->span());
    }
  }
  [[nodiscard]] Rows rows() const { return rows_; }

 private:
  Rows rows_{0};
  std::optional<Buffer<const std::uint8_t>> u8_;
  std::optional<Buffer<const std::uint16_t>> u16_;
  std::optional<Buffer<const std::int32_t>> i32_;
};

using Symbols = Buffer<const std::int32_t>;
using Bytes = Buffer<const std::uint8_t>;

py::bytes to_bytes(std::span<const std::uint8_t> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// The lock makes calls from several Python threads take turns: the GIL is released while they run.
struct PyEncoder {
  explicit PyEncoder(std::optional<int> lanes) : encoder(lanes) {}

  void push(const py::buffer& symbols, const py::object& rows, const TableSet& tables) {
    const Symbols buffer(symbols, "rans", "symbols");
    const RowsArgument row_argument(rows);
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    encoder.push(buffer.span(), row_argument.rows(), tables);
  }
  py::bytes finish() {
    std::vector<std::uint8_t> stream;
    {
      const NoGil no_gil;
      const std::lock_guard lock(mutex);
      stream = encoder.finish();
    }
    return to_bytes(stream);
  }

  std::mutex mutex;
  rans::Encoder encoder;
};

struct PyDecoder {
  PyDecoder(const py::buffer& bytes, std::optional<std::uint8_t> descriptor)
      : data(bytes, "rans", "data"),
        decoder(descriptor ? rans::Decoder(*descriptor, data.span()) : rans::Decoder(data.span())) {
  }

  void pull(const py::object& rows, const TableSet& tables, const py::buffer& out) {
    const Buffer<std::int32_t> buffer(out, "rans", "out");
    const RowsArgument row_argument(rows);
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    decoder.pull(row_argument.rows(), tables, buffer.span());
  }
  void finish() {
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    decoder.finish();
  }

  std::mutex mutex;
  Bytes data;
  rans::Decoder decoder;
};

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

py::bytes encode_bytes(const py::buffer& data) {
  const Bytes buffer(data, "bytes", "data");
  std::vector<std::uint8_t> out;
  {
    const NoGil no_gil;
    out = rans::encode_bytes(buffer.span());
  }
  return to_bytes(out);
}

py::bytes decode_bytes(const py::buffer& data, std::size_t max_size) {
  const Bytes buffer(data, "bytes", "data");
  const std::size_t n = rans::decoded_bytes_size(buffer.span(), max_size);
  auto out = py::reinterpret_steal<py::bytes>(
      PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(n)));
  if (!out) throw py::error_already_set();
  const std::span<std::uint8_t> span(reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(out.ptr())),
                                     n);
  const NoGil no_gil;
  rans::decode_bytes(buffer.span(), span);
  return out;
}

}  // namespace

void bind_rans(py::module_& m) {
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
  py::class_<PyEncoder>(m, "RansEncoder")
      .def(py::init<std::optional<int>>())
      .def("push", &PyEncoder::push)
      .def("finish", &PyEncoder::finish);
  py::class_<PyDecoder>(m, "RansDecoder")
      .def(py::init<const py::buffer&, std::optional<std::uint8_t>>())
      .def_property_readonly("lanes", [](const PyDecoder& d) { return d.decoder.lanes(); })
      .def("pull", &PyDecoder::pull)
      .def("finish", &PyDecoder::finish);
  m.def("rans_encode_bytes", &encode_bytes);
  m.def("rans_decode_bytes", &decode_bytes);
  m.def("cdf_normalise_counts", &normalise<std::uint64_t>);
  m.def("cdf_normalise_pmf", &normalise<double>);
  m.def("cdf_histogram", &histogram);
}

}  // namespace glc::python

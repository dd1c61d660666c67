// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/big_array.h"
#include "glc/rans.h"
#include "glc/threads.h"
#include "python/bindings.h"
#include "python/buffer.h"
#include "python/rows_argument.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using rans::TableSet;
using NoGil = py::gil_scoped_release;
using Symbols = Buffer<const std::int32_t>;

/// Bytes of which write(span) fills the front and says how far. Without copies: what is not
/// written to takes no memory, and shrinking stays in place.
template <class Write>
py::bytes fill_bytes(std::size_t bound, Write write) {
  PyObject* object = PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(bound));
  if (object == nullptr) throw py::error_already_set();
  auto bytes = py::reinterpret_steal<py::bytes>(object);
  prefer_large_pages(PyBytes_AS_STRING(object), bound);
  std::size_t size = 0;
  {
    const NoGil no_gil;
    size = write(std::span(reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(object)), bound));
  }
  if (size == bound) return bytes;
  object = bytes.release().ptr();
  if (_PyBytes_Resize(&object, static_cast<py::ssize_t>(size)) != 0) {
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::bytes>(object);
}

// The lock makes calls from several Python threads take turns: the GIL is released while they run.
struct PyEncoder {
  PyEncoder(std::optional<int> lanes, std::optional<std::size_t> segment_symbols)
      : encoder(lanes, segment_symbols) {}

  void push(const py::buffer& symbols, const py::object& rows, const TableSet& tables) {
    const Symbols buffer(symbols, "rans", "symbols");
    const RowsArgument row_argument(rows);
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    encoder.push(buffer.span(), row_argument.rows(), tables);
  }
  py::bytes finish() {
    std::size_t bound = 0;
    {
      const NoGil no_gil;
      const std::lock_guard lock(mutex);
      bound = encoder.encoded_bound();
    }
    return fill_bytes(bound, [this](std::span<std::uint8_t> out) {
      const std::lock_guard lock(mutex);
      return encoder.finish(out);
    });
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

py::bytes encode_bytes(const py::buffer& data,
                       std::optional<std::size_t> segment_bytes,
                       std::optional<int> lanes) {
  const Bytes buffer(data, "bytes", "data");
  return fill_bytes(rans::encoded_bytes_bound(buffer.span().size(), segment_bytes),
                    [&](std::span<std::uint8_t> out) {
                      return rans::encode_bytes(buffer.span(), out, segment_bytes, lanes);
                    });
}

py::bytes decode_bytes(const py::buffer& data, std::size_t max_size) {
  const Bytes buffer(data, "bytes", "data");
  constexpr std::size_t kMost = PY_SSIZE_T_MAX - 64;  // beside the head of an object
  return fill_bytes(rans::decoded_bytes_size(buffer.span(), std::min(max_size, kMost), true),
                    [&](std::span<std::uint8_t> out) {
                      rans::decode_bytes(buffer.span(), out);
                      return out.size();
                    });
}

std::size_t decoded_bytes_size(const py::buffer& data, std::size_t max_size) {
  return rans::decoded_bytes_size(Bytes(data, "bytes", "data").span(), max_size);
}

}  // namespace

void bind_rans(py::module_& m) {
  py::class_<PyEncoder>(m, "RansEncoder")
      .def(py::init<std::optional<int>, std::optional<std::size_t>>())
      .def("push", &PyEncoder::push)
      .def("finish", &PyEncoder::finish);
  py::class_<PyDecoder>(m, "RansDecoder")
      .def(py::init<const py::buffer&, std::optional<std::uint8_t>>())
      .def_property_readonly("lanes", [](const PyDecoder& d) { return d.decoder.lanes(); })
      .def("pull", &PyDecoder::pull)
      .def("finish", &PyDecoder::finish);
  m.def("rans_encode_bytes", &encode_bytes);
  m.def("rans_decode_bytes", &decode_bytes);
  m.def("rans_decoded_bytes_size", &decoded_bytes_size);
  m.def("threads", &threads);
  m.def("set_threads", &set_threads);
}

}  // namespace glc::python

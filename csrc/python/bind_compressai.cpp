// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <vector>

#include <pybind11/pybind11.h>

#include "compat/stream_pieces.h"
#include "glc/compressai_ans.h"
#include "glc/error.h"
#include "python/bindings.h"
#include "python/buffer.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using compressai::AnsTables;
using NoGil = py::gil_scoped_release;
using Ints = Buffer<const std::int32_t>;

constexpr const char* kCodec = "compressai";

AnsTables make_tables(const py::buffer& cdfs, const py::buffer& sizes, const py::buffer& offsets) {
  const Ints c(cdfs, kCodec, "cdfs");
  const Ints s(sizes, kCodec, "cdfs_sizes");
  const Ints o(offsets, kCodec, "offsets");
  if (c.ndim() != 2) throw InvalidArgument("compressai: cdfs: expected [rows, width]");
  const auto width = static_cast<std::size_t>(c.shape(1));
  const NoGil no_gil;
  return {c.span(), width, s.span(), o.span()};
}

// The locks make calls from several Python threads take turns: the GIL is released while they run.
struct PyAnsEncoder {
  void push(const py::buffer& symbols, const py::buffer& rows, const AnsTables& tables) {
    const Ints s(symbols, kCodec, "symbols");
    const Ints r(rows, kCodec, "indexes");
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    encoder.push(s.span(), r.span(), tables);
  }
  py::bytes finish() {
    std::vector<std::uint8_t> stream;
    {
      const NoGil no_gil;
      const std::lock_guard lock(mutex);
      stream = encoder.finish();
    }
    return {reinterpret_cast<const char*>(stream.data()), stream.size()};
  }

  std::mutex mutex;
  compressai::AnsEncoder encoder;
};

template <class D>
struct PyPieces {
  explicit PyPieces(const py::buffer& bytes)
      : data(bytes, kCodec, "encoded"), decoder(data.span()) {}

  template <class... Bits>
  void pull(const py::buffer& rows, const AnsTables& tables, Bits... bits, const py::buffer& out) {
    const Ints r(rows, kCodec, "indexes");
    const Buffer<std::int32_t> o(out, kCodec, "out");
    const NoGil no_gil;
    const std::lock_guard lock(mutex);
    decoder.pull(r.span(), tables, bits..., o.span());
  }

  std::mutex mutex;
  Bytes data;
  D decoder;
};
using PyAnsDecoder = PyPieces<compressai::AnsDecoder>;
using PyPieceDecoder = PyPieces<compressai::PieceDecoder>;

/// Reads a list of integers into out, and tells whether all of them are int32 numbers. CompressAI
/// hands its symbols over as lists; this is several times faster than numpy's conversion.
bool read_ints(const py::list& list, const py::buffer& out) {
  const Buffer<std::int32_t> buffer(out, kCodec, "out");
  const std::span<std::int32_t> values = buffer.span();
  if (values.size() != list.size()) throw InvalidArgument("compressai: out: expected its length");
  for (std::size_t i = 0; i < values.size(); ++i) {
    PyObject* const item = PyList_GET_ITEM(list.ptr(), static_cast<py::ssize_t>(i));
    if (!PyLong_Check(item)) return false;
    int overflow = 0;
    const long value = PyLong_AsLongAndOverflow(item, &overflow);
    if (overflow != 0 || value < std::numeric_limits<std::int32_t>::min() ||
        value > std::numeric_limits<std::int32_t>::max()) {
      return false;
    }
    values[i] = static_cast<std::int32_t>(value);
  }
  return true;
}

}  // namespace

void bind_compressai(py::module_& m) {
  py::class_<AnsTables>(m, "AnsTables")
      .def(py::init(&make_tables))
      .def_property_readonly("rows", &AnsTables::rows);
  py::class_<PyAnsEncoder>(m, "AnsEncoder")
      .def(py::init<>())
      .def("push", &PyAnsEncoder::push)
      .def("finish", &PyAnsEncoder::finish);
  py::class_<PyAnsDecoder>(m, "AnsDecoder")
      .def(py::init<const py::buffer&>())
      .def("pull", &PyAnsDecoder::pull<>);
  py::class_<PyPieceDecoder>(m, "PieceDecoder")
      .def(py::init<const py::buffer&>())
      .def("pull", &PyPieceDecoder::pull<int>);
  m.def("ans_read_ints", &read_ints);
}

}  // namespace glc::python

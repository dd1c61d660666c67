// SPDX-License-Identifier: Apache-2.0
//
// The CUDA coder for tensors: memory is borrowed through DLPack, the stream is its address as an
// integer, and nothing waits but `check`. Only in builds with CUDA.
#include <cstdint>

#include <pybind11/pybind11.h>

#include "glc/cuda/rans.h"
#include "glc/error.h"
#include "python/bindings.h"
#include "python/cuda_device.h"
#include "python/rans_cuda_arguments.h"

namespace py = pybind11;

namespace glc::python {
namespace {

using cuda::RansProgress;
using cuda::RansTables;

void encode_begin(const py::object& out, const py::object& progress, std::uintptr_t stream) {
  const DeviceTensor out_tensor(out, "rans", "out");
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_encode_begin(out_tensor.span<std::uint8_t>(), state.get(), on.stream());
}

void encode(const py::object& symbols,
            const py::object& rows,
            const RansTables& tables,
            const py::object& blob,
            int lanes,
            std::size_t segment_symbols,
            const py::object& out,
            const py::object& progress,
            const py::object& workspace,
            std::uintptr_t stream) {
  const DeviceTensor symbol_tensor(symbols, "rans", "symbols");
  const DeviceRows device_rows(rows);
  const DeviceTensor blob_tensor(blob, "rans", "blob");
  const DeviceTensor out_tensor(out, "rans", "out");
  const DeviceTensor work_tensor(workspace, "rans", "workspace");
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_encode(symbol_tensor.span<const std::int32_t>(),
                    device_rows.rows(),
                    tables,
                    blob_tensor.bytes().data(),
                    lanes,
                    segment_symbols,
                    out_tensor.span<std::uint8_t>(),
                    state.get(),
                    work_tensor.bytes(),
                    on.stream());
}

void decode_begin(const py::object& data,
                  const py::object& written,
                  const py::object& progress,
                  std::uintptr_t stream) {
  const DeviceTensor data_tensor(data, "rans", "data");
  const auto size = written_by(written);
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_decode_begin(
      data_tensor.span<const std::uint8_t>(), size_of(size), state.get(), on.stream());
}

/// One push. `whole` is for the only push of a stream: then this is decode_begin and decode_end
/// too, `written` as decode_begin's.
void decode(const py::object& data,
            const py::object& rows,
            const RansTables& tables,
            const py::object& blob,
            const py::object& out,
            const py::object& progress,
            bool whole,
            const py::object& written,
            std::uintptr_t stream) {
  const DeviceTensor data_tensor(data, "rans", "data");
  const DeviceRows device_rows(rows);
  const DeviceTensor blob_tensor(blob, "rans", "blob");
  const DeviceTensor out_tensor(out, "rans", "out");
  const Progress state(progress);
  const auto size = written_by(written);
  const OnCuda on(state.tensor(), stream);
  const auto bytes = data_tensor.span<const std::uint8_t>();
  const void* const blob_bytes = blob_tensor.bytes().data();
  const auto symbols = out_tensor.span<std::int32_t>();
  if (whole) {
    cuda::rans_decode_only(bytes,
                           size_of(size),
                           device_rows.rows(),
                           tables,
                           blob_bytes,
                           symbols,
                           state.get(),
                           on.stream());
  } else {
    cuda::rans_decode(
        bytes, device_rows.rows(), tables, blob_bytes, symbols, state.get(), on.stream());
  }
}

void decode_end(const py::object& progress, std::uintptr_t stream) {
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_decode_end(state.get(), on.stream());
}

/// Waits for the stream; raises what a progress says went wrong, or returns the position.
std::uint64_t check(const py::object& progress, std::uintptr_t stream) {
  const Progress state(progress);
  RansProgress host;
  {
    const OnCuda on(state.tensor(), stream);
    on.read(&host, state.get());
  }
  cuda::rans_check(host);
  return host.position;
}

}  // namespace

void bind_rans_cuda(py::module_& m) {
  py::class_<RansTables>(m, "RansCudaTables")
      .def(py::init<const rans::TableSet&>())
      .def("blob", [](const RansTables& tables) {
        const auto blob = tables.blob();
        return py::bytes(reinterpret_cast<const char*>(blob.data()), blob.size());
      });
  m.attr("RANS_PROGRESS_WORDS") = sizeof(RansProgress) / sizeof(std::int64_t);
  m.attr("RANS_WARPS_PER_PROCESSOR") = cuda::kRansWarpsPerProcessor;
  m.def("rans_cuda_record_bound", &cuda::rans_record_bound);
  m.def("rans_cuda_encode_workspace_bytes", &cuda::rans_encode_workspace_bytes);
  m.def("rans_cuda_encode_begin", &encode_begin);
  m.def("rans_cuda_encode", &encode);
  m.def("rans_cuda_decode_begin", &decode_begin);
  m.def("rans_cuda_decode", &decode);
  m.def("rans_cuda_decode_end", &decode_end);
  m.def("rans_cuda_check", &check);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
//
// Order-0 bytes on a CUDA device. Only in builds with CUDA.
#include <cstdint>
#include <optional>

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "glc/cuda/rans.h"
#include "python/bindings.h"
#include "python/cuda_device.h"
#include "python/rans_cuda_arguments.h"

namespace py = pybind11;

namespace glc::python {
namespace {

void encode_bytes(const py::object& data,
                  std::size_t segment_bytes,
                  std::optional<int> lanes,
                  const py::object& out,
                  const py::object& progress,
                  const py::object& workspace,
                  std::uintptr_t stream) {
  const DeviceTensor data_tensor(data, "rans", "data");
  const DeviceTensor out_tensor(out, "rans", "out");
  const DeviceTensor work_tensor(workspace, "rans", "workspace");
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_encode_bytes(data_tensor.span<const std::uint8_t>(),
                          segment_bytes,
                          lanes,
                          out_tensor.span<std::uint8_t>(),
                          state.get(),
                          work_tensor.bytes(),
                          on.stream());
}

void decode_bytes(const py::object& data,
                  const py::object& written,
                  const py::object& out,
                  const py::object& progress,
                  const py::object& workspace,
                  std::uintptr_t stream) {
  const DeviceTensor data_tensor(data, "rans", "data");
  const auto size = written_by(written);
  const DeviceTensor out_tensor(out, "rans", "out");
  const DeviceTensor work_tensor(workspace, "rans", "workspace");
  const Progress state(progress);
  const OnCuda on(state.tensor(), stream);
  cuda::rans_decode_bytes(data_tensor.span<const std::uint8_t>(),
                          size_of(size),
                          out_tensor.span<std::uint8_t>(),
                          state.get(),
                          work_tensor.bytes(),
                          on.stream());
}

}  // namespace

void bind_rans_cuda_bytes(py::module_& m) {
  m.def("rans_cuda_encoded_bytes_bound", &cuda::rans_encoded_bytes_bound);
  m.def("rans_cuda_encode_bytes_workspace_bytes", &cuda::rans_encode_bytes_workspace_bytes);
  m.def("rans_cuda_decode_bytes_workspace_bytes", &cuda::rans_decode_bytes_workspace_bytes);
  m.def("rans_cuda_encode_bytes", &encode_bytes);
  m.def("rans_cuda_decode_bytes", &decode_bytes);
}

}  // namespace glc::python

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

namespace glc::python {

// One function per binding file; module.cpp calls them. Bindings convert, release the GIL and call:
// what may be passed is decided by the C++ entry points.
void bind_rans(pybind11::module_& m);
void bind_tables(pybind11::module_& m);
void bind_vq(pybind11::module_& m);
void bind_vq_train(pybind11::module_& m);
void bind_categorical(pybind11::module_& m);
void bind_exact(pybind11::module_& m);
void bind_four_part(pybind11::module_& m);
void bind_gaussian(pybind11::module_& m);
void bind_networks(pybind11::module_& m);
void bind_bitstream(pybind11::module_& m);
void bind_compressai(pybind11::module_& m);
// with GLC_WITH_CUDA: what takes tensors on a device has a stream as its last argument
void bind_categorical_cuda(pybind11::module_& m);
void bind_exact_cuda(pybind11::module_& m);
void bind_four_part_cuda(pybind11::module_& m);
void bind_gaussian_cuda(pybind11::module_& m);
void bind_generator_cuda(pybind11::module_& m);
void bind_rans_cuda(pybind11::module_& m);
void bind_rans_cuda_bytes(pybind11::module_& m);
void bind_vq_cuda(pybind11::module_& m);

}  // namespace glc::python

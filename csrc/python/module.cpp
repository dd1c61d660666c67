// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <string>

#include <pybind11/pybind11.h>
#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

#include "core/cpu_features.h"
#include "core/thread_pool.h"
#include "glc/error.h"
#include "glc/threads.h"
#include "glc/version.h"
#include "python/bindings.h"

namespace py = pybind11;

namespace glc::python {
namespace {

// The exception classes are defined in Python (glc/errors.py), where their bases and docstrings
// are readable; they are looked up when one is needed.
void raise(const char* name, const std::exception& error) {
  const py::object type = py::module_::import("glc.errors").attr(name);
  py::set_error(type, error.what());
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 fixes the signature
void translate(std::exception_ptr pointer) {
  try {
    if (pointer) {
      std::rethrow_exception(pointer);
    }
  } catch (const InvalidArgument& error) {
    raise("InvalidArgumentError", error);
  } catch (const BitstreamError& error) {
    raise("BitstreamError", error);
  } catch (const Unsupported& error) {
    raise("UnsupportedError", error);
  } catch (const CudaError& error) {
    raise("CudaError", error);
  } catch (const Error& error) {
    raise("GlcError", error);
  }
}

py::dict build_info() {
  py::dict info;
  info["version"] = std::string(kVersion);
#if defined(__clang__)
  info["compiler"] = std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = std::string("gcc ") + __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
#ifdef NDEBUG
  info["assertions"] = false;
#else
  info["assertions"] = true;
#endif
#ifdef GLC_WITH_CUDA
  info["cuda"] = true;
#else
  info["cuda"] = false;
#endif
  const CpuFeatures& cpu = cpu_features();
  py::list features;
  if (cpu.neon) {
    features.append("neon");
  }
  if (cpu.neon_dotprod) {
    features.append("neon_dotprod");
  }
  if (cpu.avx2) {
    features.append("avx2");
  }
  if (cpu.avx512) {
    features.append("avx512");
  }
  if (cpu.avx512_vnni) {
    features.append("avx512_vnni");
  }
  info["cpu_features"] = features;
  info["simd"] = std::string(simd_name(simd_in_force()));
  info["threads"] = threads();
  return info;
}

/// Works on the threads of the OpenMP runtime that the process shows to all, as torch does with its
/// own. False where there is none.
bool join_openmp() {
#if defined(__unix__) || defined(__APPLE__)
  const auto team = reinterpret_cast<Team>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  use_team(team);
  return team != nullptr;
#else
  return false;
#endif
}

}  // namespace
}  // namespace glc::python

PYBIND11_MODULE(_core, m) {
  using namespace glc::python;
  m.doc() = "Native core of glc: coder, container and op kernels. Private; use glc.*";
  m.attr("__version__") = std::string(glc::kVersion);
  py::register_local_exception_translator(&translate);
  m.def("build_info", &build_info, "Compiler, CPU features and backends of this build.");
  m.def("join_openmp", &join_openmp, "Work on the OpenMP threads in this process, if any.");
  m.def("force_simd", [](const std::string& name) { glc::force_simd(name); });
  bind_tables(m);
  bind_rans(m);
  bind_vq(m);
  bind_vq_train(m);
  bind_categorical(m);
  bind_exact(m);
  bind_four_part(m);
  bind_gaussian(m);
  bind_networks(m);
  bind_bitstream(m);
  bind_compressai(m);
#ifdef GLC_WITH_CUDA
#ifdef GLC_CUDA_EMULATED
  m.attr("CUDA_DEVICE") = "cpu";
#else
  m.attr("CUDA_DEVICE") = "cuda";
#endif
  bind_categorical_cuda(m);
  bind_exact_cuda(m);
  bind_four_part_cuda(m);
  bind_gaussian_cuda(m);
  bind_generator_cuda(m);
  bind_rans_cuda(m);
  bind_rans_cuda_bytes(m);
  bind_vq_cuda(m);
#endif
}

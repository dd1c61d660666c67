// SPDX-License-Identifier: Apache-2.0
//
// What the functions of the C interface share: each checks what C cannot express (NULL, counts that
// no array has), calls the C++ of the same name, and turns exceptions into a status and a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>

#include "glc/error.h"
#include "glc/rans.h"
#include "glc/rans_c.h"

struct glc_rans_tables {
  glc::rans::TableSet set;
};
struct glc_rans_encoder {
  glc::rans::Encoder encoder;
};
struct glc_rans_decoder {
  glc::rans::Decoder decoder;
};

namespace glc::rans::c {

/// Keeps what for glc_rans_last_error and returns status.
glc_rans_status failed(glc_rans_status status, const char* what) noexcept;

/// The rows of n symbols. Throws InvalidArgument.
Rows rows_of(const glc_rans_rows& rows, std::size_t n);

/// Runs body; no exception leaves.
template <class Body>
glc_rans_status guarded(Body body) noexcept {
  try {
    body();
    return GLC_RANS_OK;
  } catch (const InvalidArgument& error) {
    return failed(GLC_RANS_INVALID_ARGUMENT, error.what());
  } catch (const glc::BitstreamError& error) {
    return failed(GLC_RANS_BITSTREAM_ERROR, error.what());
  } catch (const glc::Unsupported& error) {
    return failed(GLC_RANS_UNSUPPORTED, error.what());
  } catch (const glc::CudaError& error) {
    return failed(GLC_RANS_CUDA_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return failed(GLC_RANS_OUT_OF_MEMORY, "rans: out of memory");
  } catch (const std::length_error& error) {  // more than a container can hold
    return failed(GLC_RANS_OUT_OF_MEMORY, error.what());
  } catch (const std::exception& error) {
    return failed(GLC_RANS_INTERNAL_ERROR, error.what());
  } catch (...) {
    return failed(GLC_RANS_INTERNAL_ERROR, "rans: unknown exception");
  }
}

/// The object behind a pointer that must not be NULL.
template <class T>
T& object(T* pointer, const char* name) {
  if (pointer == nullptr) {
    throw InvalidArgument("rans: " + std::string(name) + ": expected a pointer, got NULL");
  }
  return *pointer;
}

template <class T>
std::span<T> array(T* data, std::size_t n, const char* name) {
  if (n == 0) return {};
  object(data, name);
  if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
    throw InvalidArgument("rans: " + std::string(name) + ": expected a count that memory can hold");
  }
  return {data, n};
}

/// Creates a Handle around what make() returns and hands it to the caller.
template <class Handle, class Make>
glc_rans_status create(Handle** out, const char* name, Make make) noexcept {
  return guarded([&] {
    Handle*& slot = object(out, name);
    slot = std::make_unique<Handle>(Handle{make()}).release();
  });
}

template <class Handle>
void destroy(Handle* handle) noexcept {
  const std::unique_ptr<Handle> owned(handle);
}

/// a + b * c, or SIZE_MAX where that does not fit.
inline std::size_t saturating(std::size_t a, std::size_t b, std::size_t c) {
  if (c != 0 && b > (SIZE_MAX - a) / c) return SIZE_MAX;
  return a + b * c;
}

}  // namespace glc::rans::c

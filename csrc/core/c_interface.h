// SPDX-License-Identifier: Apache-2.0
//
// What the functions of the C interfaces share: each checks what C cannot express (NULL, counts
// that no array has), calls C++, and turns exceptions into a status and a text.
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

namespace glc::c {

/// The numbers of glc_rans_status and glc_codec_status.
using Status = std::int32_t;
inline constexpr Status kOk = 0;
inline constexpr Status kInvalidArgument = 1;
inline constexpr Status kBitstreamError = 2;
inline constexpr Status kUnsupported = 3;
inline constexpr Status kCudaError = 4;
inline constexpr Status kOutOfMemory = 5;
inline constexpr Status kInternalError = 6;
inline constexpr Status kCancelled = 7;  // of glc_codec_status alone

/// The caller's own function asked for the end of the call.
class Cancelled : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "glc: the call was cancelled"; }
};

/// Keeps what for last_error and returns status.
Status failed(Status status, const char* what) noexcept;
/// What went wrong in this thread's last call that returned an error; "" before the first.
const char* last_error() noexcept;

/// Runs body; no exception leaves.
template <class Body>
Status guarded(Body body) noexcept {
  try {
    body();
    return kOk;
  } catch (const InvalidArgument& error) {
    return failed(kInvalidArgument, error.what());
  } catch (const BitstreamError& error) {
    return failed(kBitstreamError, error.what());
  } catch (const Unsupported& error) {
    return failed(kUnsupported, error.what());
  } catch (const CudaError& error) {
    return failed(kCudaError, error.what());
  } catch (const Cancelled& error) {
    return failed(kCancelled, error.what());
  } catch (const std::bad_alloc&) {
    return failed(kOutOfMemory, "glc: out of memory");
  } catch (const std::length_error& error) {  // more than a container can hold
    return failed(kOutOfMemory, error.what());
  } catch (const std::exception& error) {
    return failed(kInternalError, error.what());
  } catch (...) {
    return failed(kInternalError, "glc: unknown exception");
  }
}

/// The object behind a pointer that must not be NULL; name is `op: argument`.
template <class T>
T& object(T* pointer, const char* name) {
  if (pointer == nullptr) {
    throw InvalidArgument(std::string(name) + ": expected a pointer, got NULL");
  }
  return *pointer;
}

template <class T>
std::span<T> array(T* data, std::size_t n, const char* name) {
  if (n == 0) return {};
  object(data, name);
  if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
    throw InvalidArgument(std::string(name) + ": expected a count that memory can hold");
  }
  return {data, n};
}

/// Creates a Handle around what make() returns and hands it to the caller.
template <class Handle, class Make>
Status create(Handle** out, const char* name, Make make) noexcept {
  return guarded([&] {
    Handle*& slot = object(out, name);
    slot = std::make_unique<Handle>(Handle{make()}).release();
  });
}

template <class Handle>
void destroy(Handle* handle) noexcept {
  const std::unique_ptr<Handle> owned(handle);
}

}  // namespace glc::c

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace glc {

/// Base of everything glc throws on purpose. A message reads `op: argument: expected X, got Y`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller's mistake: shapes that disagree, a value out of range.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// Bytes that are malformed, truncated or fail their checksum; names the field and byte offset.
class BitstreamError : public Error {
 public:
  using Error::Error;
};

/// Valid, but not here: a newer format version, a backend this build lacks.
class Unsupported : public Error {
 public:
  using Error::Error;
};

/// A CUDA driver call or kernel launch reported an error.
class CudaError : public Error {
 public:
  using Error::Error;
};

}  // namespace glc

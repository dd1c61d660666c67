// SPDX-License-Identifier: Apache-2.0
#include "core/c_interface.h"

#include <cstdio>

namespace glc::c {
namespace {

constexpr std::size_t kMaxErrorText = 256;

char* buffer() noexcept {
  thread_local char text[kMaxErrorText] = "";
  return text;
}

}  // namespace

Status failed(Status status, const char* what) noexcept {
  std::snprintf(buffer(), kMaxErrorText, "%s", what);
  return status;
}

const char* last_error() noexcept { return buffer(); }

}  // namespace glc::c

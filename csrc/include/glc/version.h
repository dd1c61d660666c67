// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace glc {

/// Library version. The build reads it from this line; it stands nowhere else.
inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace glc

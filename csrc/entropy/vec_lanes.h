// SPDX-License-Identifier: Apache-2.0
//
// The first n lanes of a vector one by one, for Vec traits without masks. In an anonymous namespace
// as those are.
#pragma once

#include <cstdint>

namespace glc::entropy {
namespace {

template <class F>
F load_lanes(const float* p, std::int64_t n) {
  F v{};
  for (std::int64_t lane = 0; lane < n; ++lane) v[lane] = p[lane];
  return v;
}

template <class F>
void store_lanes(float* p, F v, std::int64_t n) {
  for (std::int64_t lane = 0; lane < n; ++lane) p[lane] = v[lane];
}

}  // namespace
}  // namespace glc::entropy

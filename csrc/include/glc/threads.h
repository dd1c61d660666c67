// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace glc {

/// Threads that one call may use, the calling one included. At first GLC_NUM_THREADS, or the CPUs
/// that this process may run on.
[[nodiscard]] int threads();

/// Sets it, from 1 to 256. Threads are started when first needed, and stay.
/// Throws InvalidArgument.
void set_threads(int n);

}  // namespace glc

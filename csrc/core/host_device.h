// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Before a function that CPU and device share.
#ifndef GLC_HOST_DEVICE
#ifdef __CUDACC__
#define GLC_HOST_DEVICE __host__ __device__
#else
#define GLC_HOST_DEVICE
#endif
#endif

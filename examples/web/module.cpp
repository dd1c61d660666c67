// SPDX-License-Identifier: Apache-2.0
//
// Nothing but what is linked to it: glc.mjs calls the functions of glc/codec_c.h.

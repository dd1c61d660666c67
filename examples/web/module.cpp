// SPDX-License-Identifier: Apache-2.0
//
// glc.mjs calls the functions of glc/codec_c.h, which are linked to this. Their progress functions
// are called by pointers, which JavaScript cannot make; so there is one, to a function of its own.
#include "glc/codec_c.h"

extern "C" {

/// What glc.mjs gives the module.
__attribute__((import_module("glc"), import_name("progress"))) int glc_web_progress(void* user,
                                                                                    double done);

__attribute__((export_name("glc_web_progress_pointer"))) glc_codec_progress
glc_web_progress_pointer() {
  return glc_web_progress;
}

}  // extern "C"

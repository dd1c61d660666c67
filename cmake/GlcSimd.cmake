# SPDX-License-Identifier: Apache-2.0
# Instruction-set flags are given per file, never per target: the linker keeps one copy of an inline
# function, and must not be able to keep one compiled for a CPU the reader does not have.
function(glc_simd_source isa)  # glc_simd_source(avx2 csrc/vq/vq_avx2.cpp ...)
  if(isa STREQUAL "avx2")
    set(flags -mavx2 -mfma -mbmi2)
  elseif(isa MATCHES "^avx512(vnni)?$")
    set(flags -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mbmi2)
    if(isa STREQUAL "avx512vnni")
      list(APPEND flags -mavx512vnni)
    endif()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC 12's own header makes undefined vectors of a variable that it then warns about
      # (GCC bug 105593)
      list(APPEND flags -Wno-maybe-uninitialized -Wno-uninitialized)
    endif()
  elseif(isa STREQUAL "neon")
    set(flags "")  # part of the AArch64 baseline
  elseif(isa STREQUAL "neondot")
    set(flags -march=armv8.2-a+dotprod)
  elseif(isa STREQUAL "relaxed")
    set(flags -mrelaxed-simd)
  else()
    message(FATAL_ERROR "glc_simd_source: unknown instruction set '${isa}'")
  endif()
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${flags})
endfunction()

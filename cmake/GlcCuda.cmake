# SPDX-License-Identifier: Apache-2.0
# CUDA is optional: AUTO never fails, ON insists. The architectures are set before the language is
# probed, because a recent toolkit no longer accepts CMake's own default.
function(glc_detect_cuda out)
  set(${out} OFF PARENT_SCOPE)
  if(GLC_CUDA STREQUAL "OFF")
    message(STATUS "glc: CUDA off (GLC_CUDA=OFF)")
    return()
  endif()
  if(NOT GLC_CUDA_SOURCES)
    if(GLC_CUDA STREQUAL "ON")
      message(FATAL_ERROR "glc: GLC_CUDA=ON, but this version has no CUDA sources")
    endif()
    find_program(GLC_NVCC nvcc)
    mark_as_advanced(GLC_NVCC)
    if(GLC_NVCC)
      message(STATUS "glc: CUDA toolkit found (${GLC_NVCC}); no CUDA sources to build yet")
    else()
      message(STATUS "glc: no CUDA toolkit; C++ only")
    endif()
    return()
  endif()
  if(CMAKE_VERSION VERSION_LESS 3.26)  # earlier ones do not know nvcc's C++20
    if(GLC_CUDA STREQUAL "ON")
      message(FATAL_ERROR "glc: GLC_CUDA=ON: expected CMake 3.26 or newer, got ${CMAKE_VERSION}")
    endif()
    message(STATUS "glc: CMake ${CMAKE_VERSION} is too old for CUDA, which takes 3.26; C++ only")
    return()
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    # real code for Ampere and Hopper, PTX for what comes after
    set(CMAKE_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "CUDA architectures")
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    message(STATUS "glc: CUDA on (${CMAKE_CUDA_COMPILER}, ${CMAKE_CUDA_ARCHITECTURES})")
    set(${out} ON PARENT_SCOPE)
  elseif(GLC_CUDA STREQUAL "ON")
    message(FATAL_ERROR "glc: GLC_CUDA=ON, but no working CUDA compiler was found")
  else()
    message(STATUS "glc: no working CUDA compiler; C++ only")
  endif()
endfunction()

function(glc_cuda_defaults target)
  set_target_properties(${target} PROPERTIES
    CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON
    POSITION_INDEPENDENT_CODE ON
    UNITY_BUILD OFF
    CUDA_VISIBILITY_PRESET hidden)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --fmad=false -ftz=false -prec-div=true -prec-sqrt=true -Xcompiler=-Wall,-Wextra>)
  if(GLC_WERROR)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Werror>)
  endif()
endfunction()

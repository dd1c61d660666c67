# SPDX-License-Identifier: Apache-2.0
# Every option, its default, one line of help.
include(GNUInstallDirs)

if(CMAKE_SOURCE_DIR STREQUAL PROJECT_SOURCE_DIR)
  set(GLC_TOP_LEVEL ON)
else()
  set(GLC_TOP_LEVEL OFF)
endif()

option(GLC_PYTHON "Build the Python module glc._core" OFF)
option(GLC_SHARED "Build the C library, libglc_rans" ON)
option(GLC_TESTS "Build the native tests" ${GLC_TOP_LEVEL})
option(GLC_BENCHMARKS "Build the native benchmarks" OFF)
option(GLC_CUDA_EMULATION "Build the CUDA kernels for the CPU and test them there" OFF)
option(GLC_FUZZ "Build the fuzz targets and instrument the core for them (clang)" OFF)
option(GLC_INSTALL "Install libraries, headers and CMake package" ${GLC_TOP_LEVEL})
option(GLC_WERROR "Treat warnings in our code as errors" OFF)
if(GLC_TOP_LEVEL)
  set(GLC_CUDA_DEFAULT AUTO)
else()
  set(GLC_CUDA_DEFAULT OFF)
endif()
set(GLC_CUDA ${GLC_CUDA_DEFAULT} CACHE STRING "CUDA kernels: AUTO (when a toolkit is found), ON (required), OFF")
set_property(CACHE GLC_CUDA PROPERTY STRINGS AUTO ON OFF)
set(GLC_SANITIZE "" CACHE STRING "Comma list for -fsanitize=, e.g. address,undefined")
set(GLC_PYTHON_OUTPUT_DIR "" CACHE PATH "Folder that receives the built _core module")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND GLC_TOP_LEVEL)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
if(GLC_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)  # for clang-tidy
endif()

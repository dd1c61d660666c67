# SPDX-License-Identifier: Apache-2.0
# The C library exports what its header declares, and nothing else.
#   cmake -DNM=nm -DLIBRARY=libglc_rans.so -DHEADER=rans_c.h -P test_rans_c_exports.cmake
cmake_minimum_required(VERSION 3.20)
if(APPLE)
  set(options -gU)
else()
  set(options -D --defined-only)
endif()
execute_process(COMMAND "${NM}" ${options} "${LIBRARY}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" exported "${symbols}")
list(TRANSFORM exported STRIP)
if(APPLE)
  list(TRANSFORM exported REPLACE "^_" "")
endif()

file(READ "${HEADER}" text)
string(REGEX REPLACE "//[^\n]*" "" code "${text}")  # comments name functions too
string(REGEX MATCHALL "GLC_RANS_API[^#(]*glc_rans_[a-z0-9_]+\\(" declared "${code}")
list(TRANSFORM declared REPLACE ".*(glc_rans_[a-z0-9_]+)\\($" "\\1")

list(LENGTH declared n_declared)
if(n_declared LESS 20)
  message(FATAL_ERROR "${HEADER}: expected over 20 declarations, found ${n_declared}: ${declared}")
endif()
set(missing ${declared})
list(REMOVE_ITEM missing ${exported})
set(extra ${exported})
list(REMOVE_ITEM extra ${declared})
if(missing OR extra)
  message(FATAL_ERROR "${LIBRARY}: not exported: [${missing}]; exported without being declared: [${extra}]")
endif()
message(STATUS "${n_declared} functions, all exported, nothing else")

# SPDX-License-Identifier: Apache-2.0
# Cross-compiles to WebAssembly with what `pip install ziglang==0.17.1` brings: Clang, a C
# library, the sources of a C++ library; ctest runs the tests with Node.js. It is for machines that
# have Python's packages and no Emscripten, whose emcmake needs none of this.
# Usage: cmake -DCMAKE_TOOLCHAIN_FILE=cmake/wasm32-wasi.cmake ...
# GLC_ZIG: the folder of the package, else where python3 finds it
if(NOT GLC_ZIG)
  execute_process(COMMAND python3 -c "import ziglang; print(*ziglang.__path__)"
                  OUTPUT_VARIABLE GLC_ZIG OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
set(GLC_ZIG "${GLC_ZIG}" CACHE PATH "Folder of the Python package ziglang")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES GLC_ZIG)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # programs need wasm32-wasi-runtime.cmake
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_HAVE_LIBC_PTHREAD ON)  # what compiling alone cannot tell
set(CMAKE_C_COMPILER "${GLC_ZIG}/zig" cc)
set(CMAKE_CXX_COMPILER "${GLC_ZIG}/zig" c++)
set(CMAKE_AR "${GLC_ZIG}/zig")
set(CMAKE_RANLIB "${GLC_ZIG}/zig")
# Node.js 20 crashes now and then when it collects garbage beside a program of its WASI
set(CMAKE_CROSSCOMPILING_EMULATOR node --no-warnings --single-threaded-gc
    "${CMAKE_CURRENT_LIST_DIR}/wasm32-wasi-run.mjs")
# -fwasm-exceptions alone does not reach all of the compiler through zig's driver
set(flags "-target wasm32-wasi -msimd128 -fwasm-exceptions -mexception-handling -mllvm -wasm-enable-eh")
set(CMAKE_C_FLAGS_INIT "${flags}")
# against what the driver defines first: starting a thread fails there, but locks are needed
string(CONCAT CMAKE_CXX_FLAGS_INIT "${flags} -U_LIBCPP_HAS_THREADS -D_LIBCPP_HAS_THREADS=1"
       " -U_LIBCPP_HAS_FILESYSTEM -D_LIBCPP_HAS_FILESYSTEM=1")
foreach(language C CXX)
  set(CMAKE_${language}_ARCHIVE_CREATE "<CMAKE_AR> ar qc <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "<CMAKE_AR> ar q <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "<CMAKE_RANLIB> ranlib <TARGET>")
endforeach()
set(CMAKE_PROJECT_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/wasm32-wasi-runtime.cmake")

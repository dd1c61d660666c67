# SPDX-License-Identifier: Apache-2.0
# Of wasm32-wasi.cmake, after project(): the C++ library from the package's sources. The one that it
# would link is compiled without exceptions.
get_property(trying GLOBAL PROPERTY IN_TRY_COMPILE)
if(trying OR TARGET glc_wasm_runtime)
  return()
endif()
enable_language(C)
set(CMAKE_EXECUTABLE_SUFFIX_C .wasm)
set(CMAKE_EXECUTABLE_SUFFIX_CXX .wasm)
set(lib "${GLC_ZIG}/lib")
file(GLOB sources "${lib}/libcxx/src/*.cpp" "${lib}/libcxx/src/filesystem/path.cpp"
     "${lib}/libcxx/src/ryu/*.cpp" "${lib}/libcxxabi/src/*.cpp")
list(FILTER sources EXCLUDE REGEX "/cxa_(noexception|thread_atexit)\\.cpp$")
# the tag that all C++ exceptions carry, which no source there defines
file(CONFIGURE OUTPUT cpp_exception.c CONTENT [[
__asm__(".tagtype __cpp_exception i32\n.globl __cpp_exception\n__cpp_exception:\n");
]] @ONLY)
add_library(glc_wasm_runtime STATIC EXCLUDE_FROM_ALL ${sources} "${lib}/libunwind/src/Unwind-wasm.c"
            "${CMAKE_CURRENT_BINARY_DIR}/cpp_exception.c")
target_compile_features(glc_wasm_runtime PRIVATE cxx_std_23)
target_compile_options(glc_wasm_runtime PRIVATE -w)
target_compile_definitions(glc_wasm_runtime PRIVATE
  _LIBCPP_BUILDING_LIBRARY _LIBCXXABI_BUILDING_LIBRARY LIBCXX_BUILDING_LIBCXXABI
  _LIBUNWIND_HIDE_SYMBOLS __USING_WASM_EXCEPTIONS__)
target_include_directories(glc_wasm_runtime PRIVATE "${lib}/libcxx/src" "${lib}/libcxx/libc"
                           "${lib}/libcxxabi/src" "${lib}/libunwind/include")
add_link_options(-nostdlib++)
link_libraries($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:glc_wasm_runtime>)

# SPDX-License-Identifier: Apache-2.0
# Compile settings shared by every target of ours. Never fast-math, never contraction: what the
# decoder recomputes has to be the same bits on every machine. Nobody reads exception flags or
# errno; saying so changes no value and lets loops with a comparison become vectors. What the
# project around us asks of its own code stands before these on the command line: fast math and
# code without exceptions are taken back for ours. Other compilers have neither these flags nor the
# vectors and 128-bit integers of the kernels; the latter 32-bit machines lack too, but not WebAssembly.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles("__int128 wide; int main() { return static_cast<int>(wide); }" GLC_HAVE_INT128)
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang" OR MSVC OR NOT GLC_HAVE_INT128)
  message(FATAL_ERROR "glc: expected GCC or Clang for a machine with 128-bit integers, got "
                      "${CMAKE_CXX_COMPILER_ID}, pointers of ${CMAKE_SIZEOF_VOID_P} bytes")
endif()

function(glc_target_defaults target)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    UNITY_BUILD OFF  # whatever the project around us does: files share names, instruction sets do not mix
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE
    -fno-fast-math -fno-unsafe-math-optimizations -fno-finite-math-only -fexceptions
    -ffp-contract=off -fno-trapping-math -fno-math-errno -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    $<$<BOOL:${GLC_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # up to 16, -fno-fast-math asks for trapping math, and a warning says that it is taken back
    target_compile_options(${target} PRIVATE -Wno-unknown-warning-option -Wno-overriding-t-option)
  endif()
  if(GLC_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${GLC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
      $<$<NOT:$<CONFIG:Debug>>:-g1>)  # lines, for the reports
    target_link_options(${target} PUBLIC -fsanitize=${GLC_SANITIZE})
  endif()
endfunction()

# Code that the fuzz targets look into.
function(glc_fuzzed target)
  if(GLC_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# A test program: optimising it takes longer than it runs. What it tests is in libraries.
function(glc_test_defaults target)
  glc_target_defaults(${target})
  if(GLC_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()

# A shared library whose dynamic symbols all begin with prefix: not even templates of the standard
# library that the compiler instantiated for us leave it.
function(glc_export_only target prefix)
  if(APPLE)
    target_link_options(${target} PRIVATE "LINKER:-exported_symbol,_${prefix}*")
  elseif(UNIX)
    set(script "${CMAKE_CURRENT_BINARY_DIR}/${target}.map")
    file(WRITE "${script}" "{ global: ${prefix}*; local: *; };\n")
    target_link_options(${target} PRIVATE "LINKER:--version-script=${script}")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${script}")
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# Compile settings shared by every target of ours. Never fast-math, never contraction: what the
# decoder recomputes has to be the same bits on every machine. Nobody reads exception flags or
# errno; saying so changes no value and lets loops with a comparison become vectors.
function(glc_target_defaults target)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE
      -ffp-contract=off -fno-trapping-math -fno-math-errno -Wall -Wextra -Wpedantic -Wconversion -Wshadow
      $<$<BOOL:${GLC_WERROR}>:-Werror>)
    if(GLC_FUZZ)
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    if(GLC_SANITIZE)
      target_compile_options(${target} PRIVATE
        -fsanitize=${GLC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
      target_link_options(${target} PUBLIC -fsanitize=${GLC_SANITIZE})
    endif()
  elseif(MSVC)
    target_compile_options(${target} PRIVATE /W4 /fp:precise /utf-8 $<$<BOOL:${GLC_WERROR}>:/WX>)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` takes: component dev is also what a wheel holds.
install(TARGETS glc_core EXPORT glcTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
set(GLC_C_LIBRARIES rans codec)
if(GLC_SHARED)  # the links, such as libglc_rans.so for `cc -lglc_rans`, are a component of their own
  foreach(name IN LISTS GLC_C_LIBRARIES)
    install(TARGETS glc_${name} EXPORT glcTargets
            RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT dev
            ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev
            LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev NAMELINK_COMPONENT namelink)
  endforeach()
endif()
if(TARGET glc_cuda)
  install(TARGETS glc_cuda EXPORT glcTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          COMPONENT dev)
endif()
install(DIRECTORY csrc/include/glc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
include(CMakePackageConfigHelpers)
set(GLC_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/glc")
configure_package_config_file(cmake/glcConfig.cmake.in glcConfig.cmake
                              INSTALL_DESTINATION ${GLC_CMAKE_DIR})
write_basic_package_version_file(glcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT glcTargets NAMESPACE glc:: DESTINATION ${GLC_CMAKE_DIR} COMPONENT dev)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/glcConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/glcConfigVersion.cmake"
        DESTINATION ${GLC_CMAKE_DIR} COMPONENT dev)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/glc" COMPONENT doc)
if(GLC_SHARED AND UNIX)  # of use with the links beside them
  file(RELATIVE_PATH GLC_PC_INCLUDEDIR "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig"
       "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
  set(GLC_PC_rans "rANS entropy coder with static tables")
  set(GLC_PC_codec "Codec of .glc pictures")
  foreach(name IN LISTS GLC_C_LIBRARIES)
    set(GLC_PC_NAME "glc_${name}")
    set(GLC_PC_DESCRIPTION "${GLC_PC_${name}}, C interface")
    configure_file(cmake/glc_c_library.pc.in glc_${name}.pc @ONLY)
    install(FILES "${CMAKE_CURRENT_BINARY_DIR}/glc_${name}.pc"
            DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT namelink)
  endforeach()
endif()

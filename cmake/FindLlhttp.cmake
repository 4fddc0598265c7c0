# SPDX-License-Identifier: Apache-2.0
# Gives llhttp::llhttp: the system's library when it is 9.2 or newer, else the generated C sources
# that Debian 12 ships (node-llhttp 8.1), compiled here. The sources' header defaults to loose
# parsing, which takes request smuggling for good manners; LLHTTP_STRICT_MODE changes the layout of
# the enums, so it is PUBLIC.

include(FindPackageHandleStandardArgs)

function(_llhttp_version header out)
    set(version "")
    foreach(part MAJOR MINOR PATCH)
        file(STRINGS "${header}" line REGEX "define LLHTTP_VERSION_${part} [0-9]+")
        string(REGEX MATCH "[0-9]+$" number "${line}")
        list(APPEND version "${number}")
    endforeach()
    list(JOIN version "." version)
    set(${out} "${version}" PARENT_SCOPE)
endfunction()

if(TARGET llhttp::llhttp)
    set(Llhttp_ORIGIN "found before") # a second room asks
else()
    find_path(LLHTTP_INCLUDE_DIR llhttp.h)
    find_library(LLHTTP_LIBRARY llhttp)
    mark_as_advanced(LLHTTP_INCLUDE_DIR LLHTTP_LIBRARY)
    if(LLHTTP_INCLUDE_DIR AND LLHTTP_LIBRARY)
        _llhttp_version("${LLHTTP_INCLUDE_DIR}/llhttp.h" Llhttp_VERSION)
        if(Llhttp_VERSION VERSION_GREATER_EQUAL 9.2)
            set(Llhttp_ORIGIN "${LLHTTP_LIBRARY}")
            add_library(llhttp::llhttp UNKNOWN IMPORTED GLOBAL)
            set_target_properties(llhttp::llhttp PROPERTIES
                IMPORTED_LOCATION "${LLHTTP_LIBRARY}"
                INTERFACE_INCLUDE_DIRECTORIES "${LLHTTP_INCLUDE_DIR}")
        endif()
    endif()
endif()

if(NOT TARGET llhttp::llhttp)
    find_path(LLHTTP_SOURCE_DIR llhttp.c PATH_SUFFIXES share/llhttp share/nodejs/llhttp/src)
    find_path(LLHTTP_SOURCE_INCLUDE_DIR llhttp.h
              PATH_SUFFIXES share/include/llhttp share/llhttp include/llhttp)
    mark_as_advanced(LLHTTP_SOURCE_DIR LLHTTP_SOURCE_INCLUDE_DIR)
    if(LLHTTP_SOURCE_DIR AND LLHTTP_SOURCE_INCLUDE_DIR)
        _llhttp_version("${LLHTTP_SOURCE_INCLUDE_DIR}/llhttp.h" Llhttp_VERSION)
        set(Llhttp_ORIGIN "${LLHTTP_SOURCE_DIR}")
        file(GLOB _llhttp_sources "${LLHTTP_SOURCE_DIR}/*.c")
        add_library(llhttp STATIC ${_llhttp_sources})
        add_library(llhttp::llhttp ALIAS llhttp)
        target_include_directories(llhttp SYSTEM PUBLIC "${LLHTTP_SOURCE_INCLUDE_DIR}")
        target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
        target_compile_options(llhttp PRIVATE -w)
        target_link_libraries(llhttp PRIVATE penstock_sanitize)
    endif()
endif()

find_package_handle_standard_args(Llhttp REQUIRED_VARS Llhttp_ORIGIN VERSION_VAR Llhttp_VERSION
    REASON_FAILURE_MESSAGE "neither libllhttp >= 9.2 nor the node-llhttp sources (scripts/setup)")

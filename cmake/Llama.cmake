# SPDX-License-Identifier: Apache-2.0
# llama.cpp, pinned: the target penstock_llama, which the engine room links as "llama".
#
# An installed llama.cpp of the very version is taken when there is one; else the library is built
# from the pinned sources, once per compiler, into the user's cache, where every build tree finds it
# (cmake/llama/CMakeLists.txt says how). Structs of its interface change between releases although
# its soname does not, so no other version will do.
#
# PENSTOCK_LLAMA=OFF, or AUTO without sources or under ThreadSanitizer: penstock_llama is empty and
# PENSTOCK_HAVE_LLAMA is 0; all else is built and tested with the test double. ON under
# ThreadSanitizer: the library is built under it, too, since it has threads of its own.

set(PENSTOCK_LLAMA AUTO CACHE STRING "The llama.cpp engine: ON, OFF, or AUTO (when it can be had)")
set(PENSTOCK_LLAMA_SOURCE "" CACHE PATH "A llama.cpp source tree of the pinned version; empty: scripts/get-llama")
set(PENSTOCK_LLAMA_VERSION 0.5.0)

add_library(penstock_llama INTERFACE)

set(llama_wanted ${PENSTOCK_LLAMA})
if(PENSTOCK_LLAMA STREQUAL "AUTO")
    # The fuzz targets have no use for it; ThreadSanitizer would not see into it.
    set(llama_wanted ON)
    if(PENSTOCK_FUZZER OR PENSTOCK_SANITIZE MATCHES "thread")
        set(llama_wanted OFF)
    endif()
endif()

function(penstock_llama_missing why)
    if(PENSTOCK_LLAMA STREQUAL "AUTO")
        message(WARNING "Building without the llama.cpp engine: ${why}")
    else()
        message(FATAL_ERROR "PENSTOCK_LLAMA is ON, but ${why}")
    endif()
endfunction()

if(llama_wanted)
    include(CheckLanguage)
    check_language(CXX)
    if(CMAKE_CXX_COMPILER)
        enable_language(CXX ASM)
        set(CMAKE_CXX_STANDARD 17)
        set(CMAKE_CXX_STANDARD_REQUIRED ON)
        set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")
    else()
        penstock_llama_missing("there is no C++ compiler.")
        set(llama_wanted OFF)
    endif()
endif()

set(llama_libraries "")
set(llama_sanitize "")
if(PENSTOCK_SANITIZE MATCHES "thread")
    set(llama_sanitize thread)
endif()

if(llama_wanted AND NOT llama_sanitize)
    find_package(llama CONFIG QUIET)
    if(llama_FOUND AND LLAMA_VERSION MATCHES "^${PENSTOCK_LLAMA_VERSION}(-|$)")
        message(STATUS "llama.cpp ${LLAMA_VERSION}: the installed one")
        set(llama_libraries llama)
    endif()
endif()

if(llama_wanted AND NOT llama_libraries)
    set(llama_source "${PENSTOCK_LLAMA_SOURCE}")
    if(NOT llama_source)
        execute_process(COMMAND "${PROJECT_SOURCE_DIR}/scripts/get-llama"
            OUTPUT_VARIABLE llama_source OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE llama_rc)
        if(NOT llama_rc EQUAL 0)
            penstock_llama_missing("its sources could not be fetched (scripts/get-llama).")
            set(llama_wanted OFF)
        endif()
    endif()
endif()

if(llama_wanted AND NOT llama_libraries)
    # What the library's bytes depend on.
    file(SHA256 "${PROJECT_SOURCE_DIR}/cmake/llama/CMakeLists.txt" llama_recipe)
    string(SHA256 llama_key "${llama_recipe};${llama_source};${CMAKE_SYSTEM_NAME};${CMAKE_SYSTEM_PROCESSOR};${CMAKE_C_COMPILER_ID};${CMAKE_C_COMPILER_VERSION};${CMAKE_CXX_COMPILER_ID};${CMAKE_CXX_COMPILER_VERSION};${CMAKE_LINKER}")
    if(llama_sanitize)
        string(SHA256 llama_key "${llama_key};${llama_sanitize}")
    endif()
    string(SUBSTRING "${llama_key}" 0 12 llama_key)
    cmake_path(GET llama_source PARENT_PATH llama_prefix)
    if(PENSTOCK_LLAMA_SOURCE)
        set(llama_prefix "${PROJECT_BINARY_DIR}")
    endif()
    string(APPEND llama_prefix "/library-${llama_key}")

    set(llama_names llama ggml ggml-cpu ggml-base)
    set(llama_variants OFF)
    # The same question as in cmake/llama/CMakeLists.txt.
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$" AND CMAKE_SYSTEM_NAME STREQUAL "Linux"
       AND NOT llama_sanitize)
        execute_process(COMMAND "${CMAKE_LINKER}" -r --help OUTPUT_VARIABLE help ERROR_QUIET)
        if(help MATCHES "force-group-allocation" AND CMAKE_OBJCOPY)
            set(llama_variants ON)
            set(llama_names llama ggml ggml-cpu-variants ggml-base)
        endif()
    endif()
    foreach(name IN LISTS llama_names)
        list(APPEND llama_libraries "${llama_prefix}/lib/lib${name}.a")
    endforeach()

    set(llama_rule "")
    if(EXISTS "${llama_prefix}/complete")
        message(STATUS "llama.cpp ${PENSTOCK_LLAMA_VERSION}: ${llama_prefix}")
    else()
        message(STATUS "llama.cpp ${PENSTOCK_LLAMA_VERSION}: will be built into ${llama_prefix} (minutes, once)")
        find_program(NICE nice)
        set(nice "")
        if(NICE)
            set(nice "${NICE}" -n 10)
        endif()
        add_custom_command(OUTPUT "${llama_prefix}/complete"
            BYPRODUCTS ${llama_libraries}
            COMMAND ${nice} "${CMAKE_COMMAND}"
                "-DPROJECT=${PROJECT_SOURCE_DIR}/cmake/llama" "-DSOURCE=${llama_source}"
                "-DPREFIX=${llama_prefix}" "-DC_COMPILER=${CMAKE_C_COMPILER}"
                "-DCXX_COMPILER=${CMAKE_CXX_COMPILER}" "-DGENERATOR=${CMAKE_GENERATOR}"
                "-DSANITIZE=${llama_sanitize}"
                -P "${PROJECT_SOURCE_DIR}/cmake/BuildLlama.cmake"
            COMMENT "Building llama.cpp ${PENSTOCK_LLAMA_VERSION}, once for every build tree of this user"
            VERBATIM)
        add_custom_target(penstock_llama_build DEPENDS "${llama_prefix}/complete")
        set(llama_rule penstock_llama_build)
    endif()
endif()

if(llama_wanted)
    # The shim, and the built-in model. Its warnings are C++'s, not penstock_options'.
    set(PENSTOCK_BUILTIN_MODEL "${PROJECT_SOURCE_DIR}/models/tiny-story.gguf")
    configure_file(cmake/builtin.S.in "${PROJECT_BINARY_DIR}/generated/builtin.S" @ONLY)
    set_source_files_properties("${PROJECT_BINARY_DIR}/generated/builtin.S" PROPERTIES
        OBJECT_DEPENDS "${PENSTOCK_BUILTIN_MODEL}")
    add_library(penstock_llama_shim STATIC
        src/engine/llama_shim.cpp "${PROJECT_BINARY_DIR}/generated/builtin.S")
    target_compile_options(penstock_llama_shim PRIVATE
        $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -fstack-protector-strong
        $<$<BOOL:${PENSTOCK_WERROR}>:-Werror>>)
    target_compile_definitions(penstock_llama_shim PRIVATE
        "PENSTOCK_LLAMA_VERSION=\"${PENSTOCK_LLAMA_VERSION}\""
        $<$<BOOL:${llama_variants}>:PENSTOCK_LLAMA_VARIANTS>)
    if(llama_prefix)
        target_include_directories(penstock_llama_shim SYSTEM PRIVATE "${llama_prefix}/include")
    endif()
    if(llama_rule)
        add_dependencies(penstock_llama_shim ${llama_rule})
    endif()
    target_link_libraries(penstock_llama_shim
        PRIVATE penstock_sanitize PUBLIC ${llama_libraries} Threads::Threads ${CMAKE_DL_LIBS} m)
    target_link_libraries(penstock_llama INTERFACE penstock_llama_shim)
endif()
target_compile_definitions(penstock_llama INTERFACE
    PENSTOCK_HAVE_LLAMA=$<BOOL:${llama_wanted}>)

# SPDX-License-Identifier: Apache-2.0
# Compiler and linker flags. They reach our own code through penstock_options and nothing else;
# penstock_sanitize is apart because the llhttp sources want the sanitizers but not our warnings.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)

# Not CMake's "-O3 -DNDEBUG": asserts stay on in production, where a stopped process is better than
# an answer that went to the wrong client, and -g makes its core file readable.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(PENSTOCK_LTO)
    include(CheckIPOSupported)
    check_ipo_supported(RESULT ipo_supported OUTPUT ipo_output LANGUAGES C)
    if(ipo_supported)
        set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    else()
        message(STATUS "Link-time optimisation is not available: ${ipo_output}")
    endif()
endif()

add_library(penstock_sanitize INTERFACE)
if(PENSTOCK_FUZZER)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "PENSTOCK_FUZZER needs clang (cmake --preset fuzz)")
    endif()
    target_compile_options(penstock_sanitize INTERFACE
        -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    target_link_options(penstock_sanitize INTERFACE -fsanitize=address,undefined)
elseif(PENSTOCK_SANITIZE)
    target_compile_options(penstock_sanitize INTERFACE
        -fsanitize=${PENSTOCK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(penstock_sanitize INTERFACE -fsanitize=${PENSTOCK_SANITIZE})
endif()

add_library(penstock_options INTERFACE)
target_link_libraries(penstock_options INTERFACE penstock_sanitize)
target_compile_definitions(penstock_options INTERFACE _GNU_SOURCE)
target_compile_options(penstock_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2
    -Wnull-dereference -Wimplicit-fallthrough -Wswitch-enum
    $<$<BOOL:${PENSTOCK_WERROR}>:-Werror>
    -fstack-protector-strong
    $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-fcf-protection>)
target_link_options(penstock_options INTERFACE -Wl,-z,relro -Wl,-z,now)

# Fortify needs an optimiser, and would hide what the sanitizers look for.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT PENSTOCK_SANITIZE AND NOT PENSTOCK_FUZZER)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 12)
        set(fortify_level 2)
    else()
        set(fortify_level 3)
    endif()
    target_compile_options(penstock_options INTERFACE
        -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${fortify_level} -fstack-clash-protection)
endif()

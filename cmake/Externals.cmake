# SPDX-License-Identifier: Apache-2.0
# penstock_external(<name> <out>): from a library's name in scripts/floors.txt to CMake targets.
# A library is looked for when the first room that uses it has code, so that a half-built house
# asks for nothing it does not need yet.

find_package(PkgConfig REQUIRED)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

function(penstock_external name out)
    if(name STREQUAL "libc")
        set(targets m)
    elseif(name STREQUAL "posix")
        set(targets Threads::Threads)
    elseif(name STREQUAL "cjson")
        pkg_check_modules(CJSON REQUIRED QUIET IMPORTED_TARGET GLOBAL libcjson)
        # Debian's .pc file adds include/cjson to the path; <cjson/cJSON.h> needs its parent,
        # which is the compiler's own unless cJSON is installed elsewhere.
        set(targets PkgConfig::CJSON)
    elseif(name STREQUAL "yaml")
        pkg_check_modules(YAML REQUIRED QUIET IMPORTED_TARGET GLOBAL yaml-0.1)
        set(targets PkgConfig::YAML)
    elseif(name STREQUAL "uv")
        pkg_check_modules(UV REQUIRED QUIET IMPORTED_TARGET GLOBAL libuv>=1.44)
        set(targets PkgConfig::UV)
    elseif(name STREQUAL "sqlite")
        pkg_check_modules(SQLITE REQUIRED QUIET IMPORTED_TARGET GLOBAL sqlite3)
        set(targets PkgConfig::SQLITE)
    elseif(name STREQUAL "curl")
        pkg_check_modules(CURL REQUIRED QUIET IMPORTED_TARGET GLOBAL libcurl>=7.88)
        set(targets PkgConfig::CURL)
    elseif(name STREQUAL "openssl")
        pkg_check_modules(OPENSSL REQUIRED QUIET IMPORTED_TARGET GLOBAL openssl>=3.0)
        set(targets PkgConfig::OPENSSL)
    elseif(name STREQUAL "llhttp")
        if(NOT TARGET llhttp::llhttp) # the second room that names it
            find_package(Llhttp REQUIRED)
        endif()
        set(targets llhttp::llhttp)
    elseif(name STREQUAL "llama")
        set(targets penstock_llama) # cmake/Llama.cmake
    else()
        message(FATAL_ERROR "scripts/floors.txt names a library that cmake/Externals.cmake does "
                            "not know: ${name}")
    endif()
    set(${out} ${targets} PARENT_SCOPE)
endfunction()

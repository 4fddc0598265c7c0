# SPDX-License-Identifier: Apache-2.0
# tests/bench/<name>.c becomes bench_<name>: a tool run by hand, not a test.
file(GLOB files CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/bench/*.c")
foreach(file IN LISTS files)
    cmake_path(GET file STEM name)
    string(REGEX REPLACE "^bench_" "" name "${name}")
    add_executable(bench_${name} "${file}")
    target_link_libraries(bench_${name} PRIVATE penstock_core)
endforeach()

# SPDX-License-Identifier: Apache-2.0
# Run with cmake -P: VERSION, SOURCE_DIR, OUTPUT.
string(REPLACE "." ";" parts "${VERSION}")
list(GET parts 0 VERSION_MAJOR)
list(GET parts 1 VERSION_MINOR)
list(GET parts 2 VERSION_PATCH)
set(GIT_DESCRIBE "")
find_program(GIT git)
if(GIT AND EXISTS "${SOURCE_DIR}/.git")
    execute_process(COMMAND "${GIT}" -C "${SOURCE_DIR}" describe --always --tags --dirty
        OUTPUT_VARIABLE GIT_DESCRIBE OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(GIT_DESCRIBE STREQUAL "")
    set(GIT_DESCRIBE "unknown")
endif()
configure_file("${SOURCE_DIR}/cmake/version.h.in" "${OUTPUT}" @ONLY)

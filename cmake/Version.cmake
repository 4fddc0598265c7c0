# SPDX-License-Identifier: Apache-2.0
# generated/penstock/version.h, made anew at every build but written only when it changed: a commit
# recompiles the one file that prints the version, not the house.

set(PENSTOCK_GENERATED "${PROJECT_BINARY_DIR}/generated")
set(version_command
    "${CMAKE_COMMAND}"
    "-DVERSION=${PROJECT_VERSION}"
    "-DSOURCE_DIR=${PROJECT_SOURCE_DIR}"
    "-DOUTPUT=${PENSTOCK_GENERATED}/penstock/version.h"
    -P "${PROJECT_SOURCE_DIR}/cmake/WriteVersion.cmake")
# Once now, so that editors and clang-tidy find it before the first build.
execute_process(COMMAND ${version_command} COMMAND_ERROR_IS_FATAL ANY)
add_custom_target(penstock_version COMMAND ${version_command}
    BYPRODUCTS "${PENSTOCK_GENERATED}/penstock/version.h" VERBATIM)

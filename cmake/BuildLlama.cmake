# SPDX-License-Identifier: Apache-2.0
# Run with cmake -P: PROJECT, SOURCE, PREFIX, C_COMPILER, CXX_COMPILER, GENERATOR, SANITIZE. Builds
# the library into PREFIX; two builds that want the same one wait for each other, and the second finds it done.
file(MAKE_DIRECTORY "${PREFIX}")
file(LOCK "${PREFIX}/lock" GUARD PROCESS)
if(EXISTS "${PREFIX}/complete")
    return()
endif()
set(build "${PREFIX}/build")
file(REMOVE_RECURSE "${build}")
set(sanitize "")
if(SANITIZE)
    # Without objcopy there is one set of kernels, for AVX2: enough, and half the time.
    set(flags "-fsanitize=${SANITIZE} -fno-omit-frame-pointer -g1")
    set(sanitize "-DCMAKE_C_FLAGS=${flags}" "-DCMAKE_CXX_FLAGS=${flags}" -DCMAKE_OBJCOPY=NO)
endif()
foreach(step configure build)
    if(step STREQUAL "configure")
        set(command "${CMAKE_COMMAND}" -G "${GENERATOR}" -S "${PROJECT}" -B "${build}"
            "-DLLAMA_SOURCE=${SOURCE}" "-DCMAKE_INSTALL_PREFIX=${PREFIX}" -DCMAKE_BUILD_TYPE=Release
            "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
            ${sanitize})
    else()
        set(command "${CMAKE_COMMAND}" --build "${build}" --target package --parallel)
    endif()
    execute_process(COMMAND ${command} RESULT_VARIABLE rc
        OUTPUT_FILE "${PREFIX}/${step}.log" ERROR_FILE "${PREFIX}/${step}.log")
    if(NOT rc EQUAL 0)
        file(READ "${PREFIX}/${step}.log" log)
        message(FATAL_ERROR "${log}\nllama.cpp could not be built; the above is ${PREFIX}/${step}.log")
    endif()
endforeach()
file(REMOVE_RECURSE "${build}")
file(TOUCH "${PREFIX}/complete")

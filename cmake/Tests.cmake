# SPDX-License-Identifier: Apache-2.0
# One executable and one ctest test per test file. A test links its own room, what that room may use,
# and the support code of those rooms; so tests obey scripts/floors.txt too.
#
# A test file may say in a comment near its top
#     ctest-labels: threads long
#     ctest-timeout: 300
# Labels with a meaning: threads (also run under tsan), servers (needs other people's servers),
# long (minutes). The last two run only when scripts/test is asked for them.

set(tests_dir "${PROJECT_SOURCE_DIR}/tests")

set(sanitizer_environment
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1"
    "UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1")

# Reads the two comments above. Sets <out>_labels (the defaults given, and the file's) and
# <out>_timeout; <out>_wanted is false when PENSTOCK_TEST_LABELS excludes the test.
function(read_test_header file default_labels default_timeout out)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    set(labels ${default_labels})
    set(timeout ${default_timeout})
    file(STRINGS "${file}" lines REGEX "ctest-(labels|timeout):")
    foreach(line IN LISTS lines)
        if(line MATCHES "ctest-labels:([a-z ]+)")
            string(REGEX MATCHALL "[a-z]+" more "${CMAKE_MATCH_1}")
            list(APPEND labels ${more})
        elseif(line MATCHES "ctest-timeout: *([0-9]+)")
            set(timeout ${CMAKE_MATCH_1})
        endif()
    endforeach()
    set(wanted TRUE)
    if(PENSTOCK_TEST_LABELS)
        set(wanted FALSE)
        foreach(label IN LISTS PENSTOCK_TEST_LABELS)
            if(label IN_LIST labels)
                set(wanted TRUE)
            endif()
        endforeach()
    endif()
    set(${out}_labels ${labels} PARENT_SCOPE)
    set(${out}_timeout ${timeout} PARENT_SCOPE)
    set(${out}_wanted ${wanted} PARENT_SCOPE)
endfunction()

function(register_test name labels timeout)
    add_test(NAME "${PENSTOCK_TEST_PREFIX}${name}" ${ARGN})
    set_tests_properties("${PENSTOCK_TEST_PREFIX}${name}" PROPERTIES
        LABELS "${labels}" TIMEOUT ${timeout} ENVIRONMENT "${sanitizer_environment}")
endfunction()

# tests/fuzz/fuzz_<room>_<name>.c: on libFuzzer under the fuzz preset; elsewhere on a small driver
# that replays the corpus and some mutations of it, so that every build keeps what fuzzing found.
file(GLOB fuzz_files CONFIGURE_DEPENDS "${tests_dir}/fuzz/fuzz_*.c")
foreach(file IN LISTS fuzz_files)
    cmake_path(GET file STEM name)
    string(REGEX MATCH "^fuzz_([a-z]+)_(.+)$" matched "${name}")
    set(room "${CMAKE_MATCH_1}")
    set(corpus "${tests_dir}/fuzz/corpus/${room}_${CMAKE_MATCH_2}")
    if(NOT room IN_LIST PENSTOCK_ROOMS)
        message(FATAL_ERROR "${file}: expected fuzz_<room>_<name>.c, found no room '${room}'")
    endif()
    read_test_header("${file}" "fuzz;${room}" 180 test)
    if(NOT test_wanted)
        continue()
    endif()
    add_executable(${name} "${file}")
    target_link_libraries(${name} PRIVATE penstock_${room})
    target_include_directories(${name} PRIVATE "${tests_dir}/support"
        "${PROJECT_SOURCE_DIR}/src/${room}")
    # Its one function is called by name from the fuzzing engine; no header declares it.
    set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS -Wno-missing-prototypes)
    if(PENSTOCK_FUZZER)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        # What it finds goes to the build folder; the corpus in the tree grows by hand.
        set(found "${PROJECT_BINARY_DIR}/found/${name}")
        file(MAKE_DIRECTORY "${found}")
        set(seeds "")
        if(EXISTS "${corpus}")
            set(seeds "${corpus}")
        endif()
        register_test(${name} "${test_labels}" ${test_timeout}
            COMMAND ${name} -max_total_time=30 -timeout=10 -rss_limit_mb=2048
                "-artifact_prefix=${found}-" "${found}" ${seeds})
    else()
        target_sources(${name} PRIVATE "${tests_dir}/fuzz/driver.c")
        register_test(${name} "${test_labels}" ${test_timeout} COMMAND ${name} "${corpus}")
    endif()
    list(APPEND room_tests_${room} ${name})
endforeach()

if(NOT PENSTOCK_FUZZER)
    pkg_check_modules(CMOCKA REQUIRED QUIET IMPORTED_TARGET cmocka)

    # tests/support/*.c may use the base room; tests/support/<room>/*.c may use that room and the
    # support of those below it, and is linked to the tests of that room and of those that may use
    # it.
    file(GLOB support_sources CONFIGURE_DEPENDS "${tests_dir}/support/*.c")
    if(support_sources)
        set(scope PUBLIC)
        add_library(penstock_test_support STATIC ${support_sources})
    else()
        set(scope INTERFACE)
        add_library(penstock_test_support INTERFACE)
    endif()
    target_include_directories(penstock_test_support ${scope} "${tests_dir}/support")
    target_link_libraries(penstock_test_support ${scope} penstock_base PkgConfig::CMOCKA)
    set(support_rooms "")
    file(GLOB_RECURSE support_sources CONFIGURE_DEPENDS "${tests_dir}/support/*/*.c")
    foreach(room IN LISTS PENSTOCK_ROOMS)
        set(sources ${support_sources})
        list(FILTER sources INCLUDE REGEX "^${tests_dir}/support/${room}/")
        list(FILTER support_sources EXCLUDE REGEX "^${tests_dir}/support/${room}/")
        if(sources)
            add_library(penstock_test_support_${room} STATIC ${sources})
            target_include_directories(penstock_test_support_${room} PRIVATE
                "${PROJECT_SOURCE_DIR}/src/${room}")
            target_include_directories(penstock_test_support_${room} PRIVATE
                "${PROJECT_SOURCE_DIR}/src/${room}")
            target_link_libraries(penstock_test_support_${room} PUBLIC
                penstock_test_support penstock_${room})
            foreach(lower IN LISTS ROOM_${room}_USES)
                if(lower IN_LIST support_rooms)
                    target_link_libraries(penstock_test_support_${room} PUBLIC
                        penstock_test_support_${lower})
                endif()
            endforeach()
            list(APPEND support_rooms ${room})
        endif()
    endforeach()
    list(FILTER support_sources EXCLUDE REGEX "^${tests_dir}/support/faultfs/")
    list(FILTER support_sources INCLUDE REGEX "^${tests_dir}/support/[^/]+/")
    if(support_sources)
        message(FATAL_ERROR "tests/support/<room>/ only, found: ${support_sources}")
    endif()

    foreach(room IN LISTS PENSTOCK_ROOMS)
        foreach(kind IN ITEMS unit loop)
            file(GLOB files CONFIGURE_DEPENDS "${tests_dir}/${kind}/${room}/test_*.c")
            if(kind STREQUAL "unit")
                set(timeout 60)
            else()
                set(timeout 120)
            endif()
            foreach(file IN LISTS files)
                cmake_path(GET file STEM name)
                string(REGEX REPLACE "^test_" "${kind}_${room}_" name "${name}")
                read_test_header("${file}" "${kind};${room}" ${timeout} test)
                if(NOT test_wanted)
                    continue()
                endif()
                add_executable(${name} "${file}")
                target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src/${room}")
                foreach(support IN LISTS ROOM_${room}_USES ITEMS ${room})
                    if(support IN_LIST support_rooms)
                        target_link_libraries(${name} PRIVATE penstock_test_support_${support})
                    endif()
                endforeach()
                target_link_libraries(${name} PRIVATE penstock_test_support penstock_${room})
                # Tests read their samples by paths relative to the tree.
                register_test(${name} "${test_labels}" ${test_timeout} COMMAND ${name}
                    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
                list(APPEND room_tests_${room} ${name})
            endforeach()
        endforeach()
    endforeach()

    # tests/support/faultfs: a library for LD_PRELOAD. It runs inside of sanitized programs, before
    # their runtime is up, so it is not sanitized itself.
    if(NOT PENSTOCK_TEST_LABELS)
        add_library(faultfs MODULE "${tests_dir}/support/faultfs/faultfs.c")
        set_target_properties(faultfs PROPERTIES PREFIX "")
        target_compile_definitions(faultfs PRIVATE _GNU_SOURCE)
        target_compile_options(faultfs PRIVATE
            $<TARGET_PROPERTY:penstock_options,INTERFACE_COMPILE_OPTIONS> -U_FORTIFY_SOURCE)
        target_link_libraries(faultfs PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
    endif()

    # tests/loop/<room>/<name>_driver.c: a program that e2e tests start, with the room's own calls
    # for a door.
    set(drivers "")
    foreach(room IN LISTS PENSTOCK_ROOMS)
        file(GLOB files CONFIGURE_DEPENDS "${tests_dir}/loop/${room}/*_driver.c")
        foreach(file IN LISTS files)
            cmake_path(GET file STEM name)
            add_executable(${name} "${file}")
            target_link_libraries(${name} PRIVATE penstock_${room})
            string(TOUPPER "PENSTOCK_${name}" variable)
            list(APPEND drivers "${variable}=$<TARGET_FILE:${name}>")
        endforeach()
    endforeach()

    # tests/e2e/test_*.py against the real binary, in the virtual environment of scripts/setup --test.
    # Without that environment these tests fail rather than vanish.
    if(TARGET penstock)
        file(GLOB files CONFIGURE_DEPENDS "${tests_dir}/e2e/test_*.py")
        foreach(file IN LISTS files)
            cmake_path(GET file STEM name)
            string(REGEX REPLACE "^test_" "e2e_" name "${name}")
            read_test_header("${file}" "e2e" 300 test)
            if(test_wanted)
                register_test(${name} "${test_labels}" ${test_timeout}
                    COMMAND "${PROJECT_SOURCE_DIR}/build/venv/bin/python" -m pytest -q "${file}"
                    WORKING_DIRECTORY "${tests_dir}")
                set_property(TEST "${PENSTOCK_TEST_PREFIX}${name}" APPEND PROPERTY ENVIRONMENT
                    "PENSTOCK_BIN=$<TARGET_FILE:penstock>" ${drivers})
                if(TARGET faultfs)
                    set_property(TEST "${PENSTOCK_TEST_PREFIX}${name}" APPEND PROPERTY ENVIRONMENT
                        "PENSTOCK_FAULTFS=$<TARGET_FILE:faultfs>")
                endif()
            endif()
        endforeach()
    endif()

    # Every public header compiles by itself, and twice. Part of the build.
    if(NOT PENSTOCK_TEST_LABELS)
        register_test(floors "floors" 60
            COMMAND python3 "${PROJECT_SOURCE_DIR}/scripts/check_floors.py")
        foreach(room IN LISTS PENSTOCK_ROOMS)
            file(GLOB_RECURSE headers CONFIGURE_DEPENDS
                RELATIVE "${PROJECT_SOURCE_DIR}/include"
                "${PROJECT_SOURCE_DIR}/include/penstock/${room}/*.h")
            set(units "")
            foreach(header IN LISTS headers)
                string(MAKE_C_IDENTIFIER "${header}" identifier)
                set(unit "${PROJECT_BINARY_DIR}/generated/headers/${identifier}.c")
                file(CONFIGURE OUTPUT "${unit}" CONTENT
                    "#include \"${header}\"\n#include \"${header}\"\ntypedef int alone_${identifier};\n")
                list(APPEND units "${unit}")
            endforeach()
            if(units)
                add_library(penstock_headers_${room} OBJECT ${units})
                target_link_libraries(penstock_headers_${room} PRIVATE penstock_${room})
                list(APPEND room_tests_${room} penstock_headers_${room})
            endif()
        endforeach()
    endif()
endif()

# tests_<room>: everything needed to run one room's tests (ctest -L <room>), and nothing else.
foreach(room IN LISTS PENSTOCK_ROOMS)
    add_custom_target(tests_${room} DEPENDS ${room_tests_${room}})
endforeach()

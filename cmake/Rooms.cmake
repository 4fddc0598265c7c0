# SPDX-License-Identifier: Apache-2.0
# One static library per room, linked to what scripts/floors.txt lets it use: a call to a room that
# is not listed fails at link time, as the include of its header fails in scripts/check_floors.py.

set(floors_file "${PROJECT_SOURCE_DIR}/scripts/floors.txt")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${floors_file}")
file(STRINGS "${floors_file}" floors_lines REGEX "^[a-z]+:")

set(PENSTOCK_ROOMS "")
foreach(line IN LISTS floors_lines)
    if(NOT line MATCHES "^([a-z]+):([^|]*)\\|(.*)$")
        message(FATAL_ERROR "scripts/floors.txt: expected 'room: rooms | libraries', found: ${line}")
    endif()
    set(room "${CMAKE_MATCH_1}")
    set(uses "${CMAKE_MATCH_2}")
    set(libraries "${CMAKE_MATCH_3}")
    string(REGEX MATCHALL "[a-z]+" ROOM_${room}_USES "${uses}")
    string(REGEX MATCHALL "[a-z]+" ROOM_${room}_LIBRARIES "${libraries}")
    list(APPEND PENSTOCK_ROOMS "${room}")
endforeach()

add_custom_target(penstock_floors ALL
    COMMAND "${CMAKE_COMMAND}" -E env python3 "${PROJECT_SOURCE_DIR}/scripts/check_floors.py" --quiet
    COMMENT "Checking the floors" VERBATIM)

add_library(penstock_core INTERFACE)
foreach(room IN LISTS PENSTOCK_ROOMS)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${room}/*.c")
    set(target "penstock_${room}")
    if(sources)
        set(scope PUBLIC)
        add_library(${target} STATIC ${sources})
        target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/src/${room}")
        add_dependencies(${target} penstock_version)
    else()
        # No code yet: an empty shell, so that the rooms above can name it all the same.
        set(scope INTERFACE)
        add_library(${target} INTERFACE)
    endif()
    target_include_directories(${target} ${scope}
        "${PROJECT_SOURCE_DIR}/include" "${PENSTOCK_GENERATED}")
    target_link_libraries(${target} ${scope} penstock_options)
    foreach(lower IN LISTS ROOM_${room}_USES)
        target_link_libraries(${target} ${scope} penstock_${lower})
    endforeach()
    if(sources)
        foreach(library IN LISTS ROOM_${room}_LIBRARIES)
            penstock_external(${library} library_targets)
            target_link_libraries(${target} PUBLIC ${library_targets})
        endforeach()
    endif()
    target_link_libraries(penstock_core INTERFACE ${target})
endforeach()

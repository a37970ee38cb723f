# Finds libduckdb at the pinned version: a system-wide one whose version equals the pin, else the one
# that tools/fetch-duckdb puts into the cache folder.
file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/duckdb.pin duckdb_pin_line REGEX "^version ")
string(REGEX REPLACE "^version " "" DUCKDB_VERSION "${duckdb_pin_line}")

find_library(DUCKDB_SYSTEM_LIBRARY duckdb)
find_path(DUCKDB_SYSTEM_INCLUDE duckdb.h)
set(duckdb_library "")
if(DUCKDB_SYSTEM_LIBRARY AND DUCKDB_SYSTEM_INCLUDE)
    # The library knows its version only by being asked, so ask it.
    file(WRITE ${CMAKE_BINARY_DIR}/duckdb_version.c
        "#include <duckdb.h>\n#include <stdio.h>\nint main(void) { puts(duckdb_library_version()); return 0; }\n")
    try_run(duckdb_ran duckdb_compiled ${CMAKE_BINARY_DIR}/duckdb_try ${CMAKE_BINARY_DIR}/duckdb_version.c
        CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${DUCKDB_SYSTEM_INCLUDE}"
        LINK_LIBRARIES ${DUCKDB_SYSTEM_LIBRARY} RUN_OUTPUT_VARIABLE duckdb_found)
    string(STRIP "${duckdb_found}" duckdb_found)
    if(duckdb_compiled AND duckdb_found STREQUAL DUCKDB_VERSION)
        set(duckdb_library ${DUCKDB_SYSTEM_LIBRARY})
        set(duckdb_include ${DUCKDB_SYSTEM_INCLUDE})
    else()
        message(STATUS "libduckdb ${DUCKDB_SYSTEM_LIBRARY} is '${duckdb_found}', not the pinned ${DUCKDB_VERSION}")
    endif()
endif()
if(NOT duckdb_library)
    execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/fetch-duckdb OUTPUT_VARIABLE duckdb_root
        OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    set(duckdb_library ${duckdb_root}/lib/libduckdb.so)
    set(duckdb_include ${duckdb_root}/include)
endif()
message(STATUS "libduckdb ${DUCKDB_VERSION}: ${duckdb_library}")

add_library(duckdb::duckdb SHARED IMPORTED)
set_target_properties(duckdb::duckdb PROPERTIES IMPORTED_LOCATION ${duckdb_library}
    IMPORTED_NO_SONAME OFF)
target_include_directories(duckdb::duckdb SYSTEM INTERFACE ${duckdb_include})

# What an installation has, and the Debian package of it (cpack).
include(GNUInstallDirs)

get_filename_component(duckdb_file ${duckdb_library} REALPATH)
get_filename_component(duckdb_dir ${duckdb_file} DIRECTORY)
# Debian has no libduckdb, and the gate is bound to the pinned one: it comes along, for weir alone.
set_target_properties(weir PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/weir")
install(TARGETS weir RUNTIME DESTINATION bin)
install(FILES ${duckdb_file} DESTINATION lib/weir RENAME libduckdb.so)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/weir.service DESTINATION lib/systemd/system)
# For the package alone: an installation elsewhere must not touch the settings of this machine.
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/weir.env DESTINATION /etc/weir PERMISSIONS OWNER_READ OWNER_WRITE
    COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${CMAKE_SOURCE_DIR}/deploy/debian/copyright DESTINATION share/doc/weir)
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION share/doc/weir)
# The installed one cannot run yet, its prefix may be a staging folder.
install(CODE "execute_process(COMMAND ${CMAKE_SOURCE_DIR}/deploy/texts $<TARGET_FILE:weir>
    \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX} COMMAND_ERROR_IS_FATAL ANY)")

set(CPACK_GENERATOR DEB)
set(CPACK_INSTALL_CMAKE_PROJECTS "${CMAKE_BINARY_DIR};weir;ALL;/" "${CMAKE_BINARY_DIR};weir;package;/")
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_VENDOR "the Weir authors")
set(CPACK_PACKAGE_CONTACT "the Weir authors <weir@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "observability store whose storage is a filesystem")
set(CPACK_PACKAGE_DESCRIPTION "Logs, metrics and traces come in over an HTTP API that the clients of OpenObserve
speak, become lines in files on a mount, are sealed to Parquet, and are asked in
SQL. ls, grep, tail -f and jq read the very same files.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "fuse3, mount, util-linux")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${duckdb_dir})
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
    ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)

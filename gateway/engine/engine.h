/* gateway/engine/engine.h - the engine process: DuckDB behind a socket. */
#ifndef WEIR_GATEWAY_ENGINE_ENGINE_H
#define WEIR_GATEWAY_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

struct engine_config {
    const char *socket_path; /* <data>/run/engine.sock */
    const char *mount_dir;   /* the one place reads may go */
    const char *staging_dir; /* the one place writes may go */
    const char *temp_dir;    /* spill files */
    uint64_t memory_bytes;   /* DuckDB's memory_limit */
    unsigned threads;
    unsigned max_queries; /* running at once; more wait */
    int ready_fd;
};
/* Runs until SIGTERM; returns the process' exit code. Refuses a libduckdb other than the pin. */
int engine_run(const struct engine_config *cfg);
/* Of the libduckdb that was loaded, and whether it is the one that queries are bound to. */
const char *engine_library_version(bool *is_pinned);

#endif

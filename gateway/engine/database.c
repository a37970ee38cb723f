/* gateway/engine/database.c - opens the database of database.h and locks it. */
#include "gateway/engine/database.h"

#include <stdio.h>
#include <time.h>

#include "base/cleanup.h"
#include "gateway/engine/functions.h"
#include "gateway/engine/seal_table.h"
#include "gateway/engine/sql_text.h"

#define TEMP_DISK_PART 4    /* spill files take at most this times the memory */
#define IDLE_NS 200000      /* between two looks at a statement that others work on */
#define LATE_ROWS_MAX 10000 /* "latest n rows" up to here reads the other columns last */

enum err_code database_do(duckdb_connection con, const char *sql, struct err *e)
{
    AUTO_RESULT duckdb_result r = {0};
    if (duckdb_query(con, sql, &r) == DuckDBSuccess)
        return ERR_OK;
    return reason_from_duckdb(e, duckdb_result_error_type(&r), duckdb_result_error(&r));
}

static enum err_code run_tasks(duckdb_pending_result pending, struct err *e)
{
    for (;;) {
        switch (duckdb_pending_execute_task(pending)) {
        case DUCKDB_PENDING_RESULT_READY:
            return ERR_OK;
        case DUCKDB_PENDING_ERROR:
            return reason_from_duckdb(e, DUCKDB_ERROR_IO, duckdb_pending_error(pending));
        case DUCKDB_PENDING_NO_TASKS_AVAILABLE:
            nanosleep(&(struct timespec){.tv_nsec = IDLE_NS}, NULL);
            break;
        default:
            break;
        }
    }
}

enum err_code database_do_long(duckdb_connection con, const char *sql, struct err *e)
{
    AUTO_PREPARED duckdb_prepared_statement p = NULL;
    AUTO_RESULT duckdb_result r = {0};
    duckdb_pending_result pending = NULL;
    enum err_code rc = ERR_OK;
    if (duckdb_prepare(con, sql, &p) != DuckDBSuccess)
        return reason_from_duckdb(e, DUCKDB_ERROR_IO, duckdb_prepare_error(p));
    if (duckdb_pending_prepared(p, &pending) != DuckDBSuccess)
        rc = reason_from_duckdb(e, DUCKDB_ERROR_IO, duckdb_pending_error(pending));
    if (rc == ERR_OK)
        rc = run_tasks(pending, e);
    if (rc == ERR_OK && duckdb_execute_pending(pending, &r) != DuckDBSuccess)
        rc = reason_from_duckdb(e, duckdb_result_error_type(&r), duckdb_result_error(&r));
    duckdb_destroy_pending(&pending);
    return rc;
}

/* The first value of the first row. */
static enum err_code take_text(duckdb_result *r, struct buf *answer, struct err *e)
{
    AUTO_CHUNK duckdb_data_chunk chunk = duckdb_fetch_chunk(*r);
    if (!chunk || duckdb_data_chunk_get_size(chunk) == 0)
        return err_set(e, ERR_NOTFOUND, "DuckDB gave no row");
    duckdb_vector v = duckdb_data_chunk_get_vector(chunk, 0);
    uint64_t *validity = duckdb_vector_get_validity(v);
    if (validity && !(validity[0] & 1))
        return err_set(e, ERR_NOTFOUND, "DuckDB gave no value");
    duckdb_string_t *text = duckdb_vector_get_data(v);
    buf_add(answer, duckdb_string_t_data(text), duckdb_string_t_length(*text));
    if (!buf_ok(answer))
        return err_set(e, ERR_TOOBIG, "answer is longer than %zu bytes", answer->max);
    return ERR_OK;
}

enum err_code database_ask(duckdb_connection con, const char *sql, struct str parameter,
                           struct buf *answer, struct err *e)
{
    AUTO_PREPARED duckdb_prepared_statement p = NULL;
    AUTO_RESULT duckdb_result r = {0};
    if (duckdb_prepare(con, sql, &p) != DuckDBSuccess)
        return reason_from_duckdb(e, DUCKDB_ERROR_INVALID, duckdb_prepare_error(p));
    if (duckdb_bind_varchar_length(p, 1, parameter.ptr, parameter.len) != DuckDBSuccess ||
        duckdb_execute_prepared(p, &r) != DuckDBSuccess)
        return reason_from_duckdb(e, duckdb_result_error_type(&r), duckdb_result_error(&r));
    return take_text(&r, answer, e);
}

/* The folders must be named before external access ends, which cannot be undone. */
static enum err_code raise_wall(duckdb_connection con, const struct engine_config *cfg,
                                struct err *e)
{
    struct buf sql;
    buf_init(&sql, 64u << 10);
    buf_add_cstr(&sql, "SET allowed_directories=[");
    sql_add_literal(&sql, str_from(cfg->mount_dir));
    buf_add_cstr(&sql, ", ");
    sql_add_literal(&sql, str_from(cfg->staging_dir));
    buf_add_cstr(&sql, "]; SET enable_external_access=false; SET lock_configuration=true");
    enum err_code rc =
        buf_ok(&sql) ? database_do(con, sql.data, e) : err_set(e, ERR_TOOBIG, "paths are too long");
    buf_done(&sql);
    return rc;
}

static enum err_code configure(duckdb_config config, const struct engine_config *cfg, struct err *e)
{
    char memory[32], disk[40], threads[16], late[16];
    snprintf(memory, sizeof memory, "%lluB", (unsigned long long)cfg->memory_bytes);
    snprintf(disk, sizeof disk, "%lluB", (unsigned long long)cfg->memory_bytes * TEMP_DISK_PART);
    snprintf(threads, sizeof threads, "%u", cfg->threads);
    snprintf(late, sizeof late, "%d", LATE_ROWS_MAX);
    const char *const settings[][2] = {
        {"memory_limit", memory},
        {"threads", threads},
        {"temp_directory", cfg->temp_dir},
        {"max_temp_directory_size", disk},
        {"late_materialization_max_rows", late},
        {"allocator_background_threads", "true"},
        {"preserve_insertion_order", "true"},
        {"errors_as_json", "true"},
        /* The kernel keeps the pages of sealed files; and this one remembers every file it has
           ever read. */
        {"enable_external_file_cache", "false"},
        /* An internal error ends its query, not all that follow: nothing here outlives a query. */
        {"disable_database_invalidation", "true"},
        /* As the reference's engine does: 5/2 is 2, and nulls come last ascending, first
           descending. */
        {"integer_division", "true"},
        {"default_null_order", "nulls_last_on_asc_first_on_desc"},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess)
            return err_set(e, ERR_INVALID, "DuckDB refuses %s=%s", settings[i][0], settings[i][1]);
    return ERR_OK;
}

static enum err_code open_with(struct database *d, duckdb_config config, struct err *e)
{
    char *why = NULL;
    enum err_code rc = configure(config, d->config, e);
    if (rc == ERR_OK && duckdb_open_ext(NULL, &d->db, config, &why) != DuckDBSuccess) {
        rc = err_set(e, ERR_IO, "DuckDB does not open: %s", why ? why : "no reason given");
        duckdb_free(why);
    }
    return rc;
}

static enum err_code prepare_database(struct database *d, struct err *e)
{
    AUTO_CONNECTION duckdb_connection con = NULL;
    enum err_code rc = database_connect(d, &con, e);
    if (rc == ERR_OK)
        rc = database_do(con, "SET GLOBAL TimeZone='UTC'", e);
    if (rc == ERR_OK)
        rc = scan_registry_new(con, &d->scans, e);
    if (rc == ERR_OK)
        rc = seal_registry_new(con, &d->seals, e);
    if (rc == ERR_OK)
        rc = functions_register(con, e);
    if (rc == ERR_OK)
        rc = raise_wall(con, d->config, e);
    return rc;
}

const char *engine_library_version(bool *is_pinned)
{
    *is_pinned = strcmp(duckdb_library_version(), WEIR_DUCKDB_VERSION) == 0;
    return duckdb_library_version();
}

enum err_code database_open(struct database *d, const struct engine_config *cfg, struct err *e)
{
    *d = (struct database){.config = cfg};
    turns_init(&d->writing, (cfg->threads + 1) / 2 > 0 ? (cfg->threads + 1) / 2 : 1);
    if (strcmp(duckdb_library_version(), WEIR_DUCKDB_VERSION) != 0)
        return err_set(e, ERR_UNSUPPORTED, "libduckdb is %s, and only %s is accepted",
                       duckdb_library_version(), WEIR_DUCKDB_VERSION);
    duckdb_config config = NULL;
    if (duckdb_create_config(&config) != DuckDBSuccess)
        return err_set(e, ERR_NOMEM, "no memory for DuckDB's configuration");
    enum err_code rc = open_with(d, config, e);
    duckdb_destroy_config(&config);
    if (rc == ERR_OK)
        rc = prepare_database(d, e);
    if (rc != ERR_OK)
        database_close(d);
    return rc;
}

void database_close(struct database *d)
{
    if (d->db)
        duckdb_close(&d->db);
    scan_registry_free(d->scans);
    seal_registry_free(d->seals);
    turns_done(&d->writing);
    *d = (struct database){0};
}

enum err_code database_connect(struct database *d, duckdb_connection *out, struct err *e)
{
    if (duckdb_connect(d->db, out) != DuckDBSuccess)
        return err_set(e, ERR_NOMEM, "DuckDB gives no connection");
    return ERR_OK;
}

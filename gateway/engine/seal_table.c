/* gateway/engine/seal_table.c - weir_seal as DuckDB calls it. */
#include "gateway/engine/seal_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NAME_TEXT_MAX 65536 /* of a column, with its NUL */

struct seal_registry {
    pthread_mutex_t lock;
    struct seal_table *open[SEALS_MAX]; /* guarded by lock */
};
struct seal_table {
    struct seal_registry *registry;
    struct seal_rows *rows;
    const atomic_bool *cancelled;
    uint64_t id;
    uint64_t next;    /* the scanning thread's */
    struct err error; /* the scanning thread's, read after the statement */
};

static struct seal_table *find(struct seal_registry *r, uint64_t id)
{
    LOCK_SCOPE(&r->lock);
    for (size_t i = 0; i < SEALS_MAX; i++)
        if (r->open[i] && r->open[i]->id == id)
            return r->open[i];
    return NULL;
}

/* ---- the function ---- */

static void bind_columns(duckdb_bind_info info, const struct seal_table *t)
{
    static const duckdb_type types[] = {[COLUMN_BOOL] = DUCKDB_TYPE_BOOLEAN,
                                        [COLUMN_INT64] = DUCKDB_TYPE_BIGINT,
                                        [COLUMN_UINT64] = DUCKDB_TYPE_HUGEINT,
                                        [COLUMN_FLOAT64] = DUCKDB_TYPE_DOUBLE,
                                        [COLUMN_UTF8] = DUCKDB_TYPE_VARCHAR};
    size_t count;
    const struct seal_column *columns = seal_rows_columns(t->rows, &count);
    AUTO_FREE char *name = malloc(NAME_TEXT_MAX);
    for (size_t i = 0; i < count && name; i++) {
        duckdb_logical_type type = duckdb_create_logical_type(types[columns[i].column.type]);
        str_copy_to(columns[i].column.name, name, NAME_TEXT_MAX);
        duckdb_bind_add_result_column(info, name, type);
        duckdb_destroy_logical_type(&type);
    }
    if (!name)
        duckdb_bind_set_error(info, "out of memory");
}

static void bind_rows(duckdb_bind_info info)
{
    struct seal_registry *r = duckdb_bind_get_extra_info(info);
    duckdb_value argument = duckdb_bind_get_parameter(info, 0);
    struct seal_table *t = find(r, duckdb_get_uint64(argument));
    duckdb_destroy_value(&argument);
    if (!t) {
        duckdb_bind_set_error(info, "weir_seal: no such rows");
        return;
    }
    bind_columns(info, t);
    duckdb_bind_set_cardinality(info, seal_rows_facts(t->rows)->rows, true);
    duckdb_bind_set_bind_data(info, t, NULL);
}

static void init_rows(duckdb_init_info info)
{
    struct seal_table *t = duckdb_init_get_bind_data(info);
    t->next = 0;
    duckdb_init_set_max_threads(info, 1);
    duckdb_init_set_init_data(info, t, NULL);
}

static void run_rows(duckdb_function_info info, duckdb_data_chunk output)
{
    struct seal_table *t = duckdb_function_get_init_data(info);
    enum err_code rc = ERR_OK;
    if (atomic_load(t->cancelled))
        rc = err_set(&t->error, ERR_CANCELLED, "the seal was cancelled");
    else if (t->next < seal_rows_facts(t->rows)->rows)
        rc = seal_rows_fill(t->rows, output, t->next, &t->error);
    else
        duckdb_data_chunk_set_size(output, 0);
    if (rc != ERR_OK)
        duckdb_function_set_error(info, t->error.msg);
    else
        t->next += duckdb_data_chunk_get_size(output);
}

enum err_code seal_registry_new(duckdb_connection con, struct seal_registry **out, struct err *e)
{
    struct seal_registry *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "no memory for the table function weir_seal");
    pthread_mutex_init(&r->lock, NULL);
    duckdb_table_function f = duckdb_create_table_function();
    duckdb_logical_type id = duckdb_create_logical_type(DUCKDB_TYPE_UBIGINT);
    duckdb_table_function_set_name(f, "weir_seal");
    duckdb_table_function_add_parameter(f, id);
    duckdb_table_function_set_extra_info(f, r, NULL);
    duckdb_table_function_set_bind(f, bind_rows);
    duckdb_table_function_set_init(f, init_rows);
    duckdb_table_function_set_function(f, run_rows);
    duckdb_state state = duckdb_register_table_function(con, f);
    duckdb_destroy_logical_type(&id);
    duckdb_destroy_table_function(&f);
    if (state != DuckDBSuccess) {
        seal_registry_free(r);
        return err_set(e, ERR_IO, "DuckDB refuses the table function weir_seal");
    }
    *out = r;
    return ERR_OK;
}

void seal_registry_free(struct seal_registry *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- open and close ---- */

static bool take_place(struct seal_registry *r, struct seal_table *t)
{
    LOCK_SCOPE(&r->lock);
    for (size_t i = 0; i < SEALS_MAX; i++)
        if (!r->open[i]) {
            r->open[i] = t;
            return true;
        }
    return false;
}

enum err_code seal_table_open(struct seal_registry *r, struct seal_rows *rows,
                              const atomic_bool *cancelled, struct seal_table **out, struct err *e)
{
    struct seal_table *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for a seal");
    t->registry = r;
    t->rows = rows;
    t->cancelled = cancelled;
    enum err_code rc = ERR_OK;
    if (getentropy(&t->id, sizeof t->id) != 0)
        rc = err_sys(e, errno, "getentropy");
    else if (!take_place(r, t))
        rc = err_set(e, ERR_AGAIN, "more than %d seals at once", SEALS_MAX);
    if (rc != ERR_OK) {
        free(t);
        return rc;
    }
    *out = t;
    return ERR_OK;
}

void seal_table_close(struct seal_table *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->registry->lock);
    for (size_t i = 0; i < SEALS_MAX; i++)
        if (t->registry->open[i] == t)
            t->registry->open[i] = NULL;
    pthread_mutex_unlock(&t->registry->lock);
    free(t);
}

uint64_t seal_table_id(const struct seal_table *t)
{
    return t->id;
}

enum err_code seal_table_error(const struct seal_table *t, struct err *e)
{
    if (t->error.code != ERR_OK && e)
        *e = t->error;
    return t->error.code;
}

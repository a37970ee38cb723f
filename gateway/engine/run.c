/* gateway/engine/run.c - the steps of run.h. */
#include "gateway/engine/run.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/ipc.h"
#include "gateway/engine/check.h"
#include "gateway/engine/encode.h"
#include "gateway/engine/parse.h"
#include "gateway/engine/tables.h"

#define BATCH_BYTES (4u << 20)    /* rows are cut into messages of about so much */
#define SQL_BYTES_MAX (64u << 20) /* of a view or of the query */

struct run {
    const struct run_context *ctx;
    const struct run_request *request;
    duckdb_connection con;
    struct watch_entry watch;
    struct table_scan *scans[RUN_TABLES_MAX];
    size_t scan_count;
    struct buf sql;
    struct encoder encoder;
    uint64_t rows;
};

/* --- the tables as views --- */

static enum err_code open_tables(struct run *r, struct err *e)
{
    for (size_t i = 0; i < r->request->table_count; i++) {
        const struct run_table *t = &r->request->tables[i];
        struct table_scan *s = NULL;
        enum err_code rc = table_scan_open(r->ctx->db->scans, t, r->ctx->db->config->mount_dir,
                                           &r->watch.cancelled, &s, e);
        if (rc != ERR_OK)
            return rc;
        r->scans[r->scan_count++] = s;
        rc = tables_make_view(r->con, t, s, &r->sql, e);
        if (rc != ERR_OK)
            return rc;
    }
    return ERR_OK;
}

/* --- the statement --- */

static const char *explain_prefix(enum run_explain explain)
{
    static const char *const words[] = {
        [EXPLAIN_NONE] = "", [EXPLAIN_PLAN] = "EXPLAIN ", [EXPLAIN_ANALYZE] = "EXPLAIN ANALYZE "};
    return words[explain];
}

/* The SQL of the tree, checked, behind the word for EXPLAIN. */
static enum err_code render(struct run *r, struct err *e)
{
    struct buf tree;
    buf_init(&tree, SQL_BYTES_MAX);
    json_write(&tree, r->request->tree);
    buf_clear(&r->sql);
    buf_add_cstr(&r->sql, explain_prefix(r->request->explain));
    size_t start = r->sql.len;
    enum err_code rc = buf_ok(&tree)
                           ? parse_render(r->con, buf_str(&tree), &r->sql, e)
                           : err_set(e, ERR_TOOBIG, "tree is larger than %u bytes", SQL_BYTES_MAX);
    buf_done(&tree);
    if (rc == ERR_OK)
        rc =
            check_sql(r->con, (struct str){r->sql.data + start, r->sql.len - start}, r->request, e);
    return rc;
}

static enum err_code prepare(struct run *r, duckdb_prepared_statement *p, struct err *e)
{
    if (duckdb_prepare(r->con, r->sql.data, p) != DuckDBSuccess)
        return reason_from_duckdb(e, DUCKDB_ERROR_INVALID, duckdb_prepare_error(*p));
    duckdb_statement_type type = duckdb_prepared_statement_type(*p);
    if (type != DUCKDB_STATEMENT_TYPE_SELECT && type != DUCKDB_STATEMENT_TYPE_EXPLAIN)
        return reason_set(e, ERR_INVALID, SEARCH_SQL_NOT_VALID, "only SELECT and EXPLAIN are run");
    return ERR_OK;
}

static enum err_code execute(duckdb_prepared_statement p, duckdb_result *out, struct err *e)
{
    duckdb_pending_result pending = NULL;
    enum err_code rc = ERR_OK;
    if (duckdb_pending_prepared_streaming(p, &pending) != DuckDBSuccess)
        rc = reason_from_duckdb(e, DUCKDB_ERROR_INVALID, duckdb_pending_error(pending));
    else if (duckdb_execute_pending(pending, out) != DuckDBSuccess)
        rc = reason_from_duckdb(e, duckdb_result_error_type(out), duckdb_result_error(out));
    duckdb_destroy_pending(&pending);
    return rc;
}

/* --- the answer --- */

static enum err_code send_body(const struct run *r, enum wire_message kind, struct str body,
                               struct err *e)
{
    return ipc_send(r->ctx->fd, kind, r->ctx->tag, body, e);
}

/* Rows [from, from + count) in as many messages as they need: halved until a message fits. */
static enum err_code send_rows(struct run *r, idx_t from, idx_t count, struct err *e)
{
    size_t max_bytes = count > 1 ? BATCH_BYTES : WIRE_BODY_MAX;
    enum err_code rc = encoder_rows(&r->encoder, from, count, max_bytes, e);
    if (rc == ERR_TOOBIG && count > 1) {
        rc = send_rows(r, from, count / 2, e);
        return rc == ERR_OK ? send_rows(r, from + count / 2, count - count / 2, e) : rc;
    }
    if (rc == ERR_OK)
        rc = send_body(r, WIRE_BATCH, buf_str(&r->encoder.body), e);
    return rc;
}

static enum err_code send_chunk(struct run *r, duckdb_data_chunk chunk, struct err *e)
{
    idx_t count = duckdb_data_chunk_get_size(chunk);
    uint64_t limit = r->request->limit_rows;
    if (count == 0)
        return ERR_OK;
    if (limit != 0 && r->rows + count > limit)
        return reason_set(e, ERR_TOOBIG, SEARCH_EXECUTE_ERROR, "result has more than %llu rows",
                          (unsigned long long)limit);
    enum err_code rc = encoder_chunk(&r->encoder, chunk, e);
    if (rc == ERR_OK)
        rc = send_rows(r, 0, count, e);
    r->rows += count;
    return rc;
}

static enum err_code send_chunks(struct run *r, duckdb_result *result, struct err *e)
{
    for (;;) {
        AUTO_CHUNK duckdb_data_chunk chunk = duckdb_fetch_chunk(*result);
        if (!chunk) {
            const char *why = duckdb_result_error(result);
            if (why && *why)
                return reason_from_duckdb(e, duckdb_result_error_type(result), why);
            return ERR_OK;
        }
        enum err_code rc = send_chunk(r, chunk, e);
        if (rc == ERR_OK)
            rc = watch_verdict(&r->watch, e);
        if (rc != ERR_OK)
            return rc;
    }
}

static enum err_code send_end(struct run *r, uint64_t started_ns, struct err *e)
{
    uint64_t scan_rows = 0, scan_bytes = 0;
    for (size_t i = 0; i < r->scan_count; i++)
        table_scan_counts(r->scans[i], &scan_rows, &scan_bytes);
    char body[192];
    int n = snprintf(body, sizeof body,
                     "{\"rows\":%llu,\"took_us\":%llu,\"waited_us\":%llu,"
                     "\"scan_rows\":%llu,\"scan_bytes\":%llu}",
                     (unsigned long long)r->rows,
                     (unsigned long long)((clock_mono_ns() - started_ns) / 1000),
                     (unsigned long long)r->ctx->waited_ms * 1000, (unsigned long long)scan_rows,
                     (unsigned long long)scan_bytes);
    return send_body(r, WIRE_END, (struct str){body, (size_t)n}, e);
}

static enum err_code answer_result(struct run *r, duckdb_result *result, struct err *e)
{
    enum err_code rc = encoder_init(&r->encoder, result, e);
    if (rc == ERR_OK)
        rc = encoder_schema(&r->encoder, result, e);
    if (rc == ERR_OK)
        rc = send_body(r, WIRE_SCHEMA, buf_str(&r->encoder.body), e);
    if (rc == ERR_OK)
        rc = send_chunks(r, result, e);
    encoder_done(&r->encoder);
    return rc;
}

static enum err_code answer_statement(struct run *r, struct err *e)
{
    uint64_t started_ns = clock_mono_ns();
    AUTO_PREPARED duckdb_prepared_statement p = NULL;
    AUTO_RESULT duckdb_result result = {0};
    enum err_code rc = open_tables(r, e);
    if (rc == ERR_OK)
        rc = render(r, e);
    if (rc == ERR_OK)
        rc = prepare(r, &p, e);
    if (rc == ERR_OK)
        rc = execute(p, &result, e);
    if (rc == ERR_OK)
        rc = answer_result(r, &result, e);
    if (rc == ERR_OK)
        rc = send_end(r, started_ns, e);
    return rc;
}

static bool blame_file(struct run *r, struct err *e)
{
    for (size_t i = 0; i < r->request->table_count; i++)
        if (tables_blame_file(r->con, &r->request->tables[i], e))
            return true;
    return false;
}

/* Why the statement failed, by the first that knows: the watch, a scan, a sealed file, DuckDB. */
static enum err_code explain_failure(struct run *r, enum err_code rc, struct err *e)
{
    enum err_code verdict = watch_verdict(&r->watch, e);
    for (size_t i = 0; i < r->scan_count && verdict == ERR_OK; i++)
        verdict = table_scan_error(r->scans[i], e);
    if (verdict == ERR_OK && blame_file(r, e)) {
        verdict = watch_verdict(&r->watch, e); /* the search may have been cut off */
        return verdict == ERR_OK ? ERR_CORRUPT : verdict;
    }
    if (verdict == ERR_OK && rc == ERR_NOMEM)
        return err_wrap(e, "the query needs more memory than it may have");
    return verdict == ERR_OK ? rc : verdict;
}

enum err_code run_answer(const struct run_context *ctx, const struct run_request *request,
                         struct err *e)
{
    struct run r = {.ctx = ctx, .request = request, .watch = {.fd = ctx->fd}};
    if (request->timeout_ms != 0)
        r.watch.deadline_ms = ctx->started_ms + request->timeout_ms;
    enum err_code rc = database_connect(ctx->db, &r.con, e);
    if (rc != ERR_OK)
        return rc;
    r.watch.con = r.con;
    buf_init(&r.sql, SQL_BYTES_MAX);
    rc = watch_add(ctx->watch, &r.watch, e);
    if (rc == ERR_OK) {
        rc = answer_statement(&r, e);
        if (rc != ERR_OK)
            rc = explain_failure(&r, rc, e);
        watch_remove(ctx->watch, &r.watch);
    }
    duckdb_disconnect(&r.con);
    for (size_t i = 0; i < r.scan_count; i++)
        table_scan_close(r.scans[i]);
    buf_done(&r.sql);
    return rc;
}

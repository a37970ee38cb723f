/* gateway/engine/seal.c - the steps of a seal.
 *
 *   a turn: load the lines, write the Parquet, drop the lines ──► read it back ──► sum, sync, tell
 *
 * A seal that reads back needs little memory, so there may be twice as many seals as turns. */
#include "gateway/engine/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file_sum.h"
#include "base/ipc.h"
#include "base/sys.h"
#include "gateway/engine/part_reader.h"
#include "gateway/engine/seal_table.h"
#include "gateway/engine/sql_text.h"
#include "gateway/engine/wire.h"

#define SQL_MAX ((size_t)64 << 20)
#define FACTS_MAX ((size_t)16 << 20)
#define ARENA_MAX ((size_t)64 << 20)

struct seal {
    const struct run_context *ctx;
    const struct seal_request *request;
    struct seal_rows *rows;
    duckdb_connection con;
    struct watch_entry watch;
    struct buf sql, facts;
    struct arena arena;
    char parquet[PATH_MAX], sum[PATH_MAX];
    uint64_t stored_bytes;
    uint8_t sha256[32];
};

/* ---- what the part says of itself ---- */

static void write_groups(struct json_writer *w, const struct seal_facts *f)
{
    jw_key(w, STR("groups"));
    jw_array(w);
    for (size_t i = 0; i < f->group_count; i++) {
        uint64_t left = f->rows - i * f->group_rows;
        jw_array(w);
        jw_u64(w, left < f->group_rows ? left : f->group_rows);
        jw_u64(w, f->group_bytes[i]);
        jw_end(w);
    }
    jw_end(w);
}

static void write_columns(struct json_writer *w, const struct seal_rows *rows)
{
    size_t count;
    const struct seal_column *fields = seal_rows_fields(rows, &count);
    jw_key(w, STR("columns"));
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        jw_array(w);
        jw_str(w, fields[i].column.name);
        jw_cstr(w, column_type_name(fields[i].column.type));
        jw_u64(w, fields[i].number);
        if (fields[i].is_rare)
            jw_cstr(w, "rare");
        jw_end(w);
    }
    jw_end(w);
}

static void write_names(struct json_writer *w, const struct seal_facts *f)
{
    jw_key(w, STR("names"));
    jw_array(w);
    for (size_t i = 0; i < f->name_count; i++) {
        const struct seal_name *n = &f->names[i];
        jw_object(w);
        jw_ku64(w, "stream", n->source->stream);
        jw_kstr(w, "name", n->source->name);
        jw_ku64(w, "first_row", n->first_row);
        jw_ku64(w, "rows", n->rows);
        jw_ki64(w, "min_ts", n->min_ts_us);
        jw_ki64(w, "max_ts", n->max_ts_us);
        jw_ku64(w, "text_bytes", n->text_bytes);
        jw_end(w);
    }
    jw_end(w);
}

static void write_files(struct json_writer *w, const struct seal_request *r)
{
    jw_key(w, STR("files"));
    jw_array(w);
    for (size_t i = 0; i < r->source_count; i++)
        jw_str(w, r->sources[i].id);
    jw_end(w);
}

static void write_hex(struct json_writer *w, const char *key, const uint8_t *bytes, size_t n)
{
    char text[65];
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    jw_kcstr(w, key, text);
}

/* The "part" of PUBLISH; `is_done`: with what is known only once the file is written. */
static enum err_code write_facts(struct seal *s, bool is_done, struct err *e)
{
    const struct seal_request *r = s->request;
    const struct seal_facts *f = seal_rows_facts(s->rows);
    struct json_writer w = {.out = &s->facts};
    char sum[17];
    buf_clear(&s->facts);
    jw_object(&w);
    jw_kstr(&w, "id", r->part);
    jw_kstr(&w, "org", r->org);
    jw_kstr(&w, "type", r->type);
    jw_kstr(&w, "name", r->name);
    jw_ku64(&w, "stream", r->stream);
    jw_ki64(&w, "hour", r->hour);
    jw_kstr(&w, "node", r->node);
    jw_ki64(&w, "min_ts", f->min_ts_us);
    jw_ki64(&w, "max_ts", f->max_ts_us);
    jw_ku64(&w, "rows", f->rows);
    jw_ku64(&w, "text_bytes", f->text_bytes);
    jw_ki64(&w, "text_version", TEXT_FORM_VERSION);
    snprintf(sum, sizeof sum, "%016" PRIx64, f->text_sum);
    jw_kcstr(&w, "text_sum", sum);
    write_groups(&w, f);
    write_columns(&w, s->rows);
    write_names(&w, f);
    write_files(&w, r);
    if (is_done) {
        jw_ku64(&w, "stored_bytes", s->stored_bytes);
        write_hex(&w, "sha256", s->sha256, sizeof s->sha256);
    }
    jw_end(&w);
    return buf_ok(&s->facts) ? ERR_OK
                             : err_set(e, ERR_TOOBIG, "a part of too many columns or names");
}

/* ---- COPY ---- */

static void add_select(struct seal *s, const struct seal_table *t)
{
    size_t count;
    const struct seal_column *columns = seal_rows_columns(s->rows, &count);
    buf_add_cstr(&s->sql, "COPY (SELECT ");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(&s->sql, ',');
        if (columns[i].cast) {
            buf_add_cstr(&s->sql, "CAST(");
            sql_add_identifier(&s->sql, columns[i].column.name);
            buf_printf(&s->sql, " AS %s) AS ", columns[i].cast);
        }
        sql_add_identifier(&s->sql, columns[i].column.name);
    }
    buf_printf(&s->sql, " FROM weir_seal(%llu::UBIGINT)) TO ",
               (unsigned long long)seal_table_id(t));
    sql_add_literal(&s->sql, str_from(s->parquet));
}

static void add_field_ids(struct seal *s)
{
    size_t count;
    const struct seal_column *columns = seal_rows_columns(s->rows, &count);
    buf_add_cstr(&s->sql, ", FIELD_IDS {");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(&s->sql, ',');
        sql_add_identifier(&s->sql, columns[i].column.name);
        buf_printf(&s->sql, ": %u", columns[i].number);
    }
    buf_add_char(&s->sql, '}');
}

static void add_metadata(struct seal *s)
{
    const struct seal_facts *f = seal_rows_facts(s->rows);
    buf_printf(&s->sql,
               ", KV_METADATA {min_ts: '%lld', max_ts: '%lld', records: '%llu', "
               "original_size: '%llu', weir: ",
               (long long)f->min_ts_us, (long long)f->max_ts_us, (unsigned long long)f->rows,
               (unsigned long long)f->text_bytes);
    sql_add_literal(&s->sql, buf_str(&s->facts));
    buf_add_char(&s->sql, '}');
}

/* Level 1 is smaller than 3 on logs of all kinds, once columns are encoded, and a fifth faster. */
static void add_format(struct seal *s)
{
    uint64_t limit = seal_rows_facts(s->rows)->dictionary_limit;
    buf_printf(&s->sql,
               " (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 1, "
               "ROW_GROUP_SIZE %llu",
               (unsigned long long)seal_rows_facts(s->rows)->group_rows);
    if (limit != UINT64_MAX)
        buf_printf(&s->sql, ", DICTIONARY_SIZE_LIMIT %llu", (unsigned long long)limit);
    if (s->request->is_metrics) /* sorted by name, and nobody asks for whole label texts */
        buf_add_cstr(&s->sql, ", WRITE_BLOOM_FILTER false");
}

static enum err_code write_parquet(struct seal *s, struct err *e)
{
    struct seal_table *t = NULL;
    enum err_code rc = write_facts(s, false, e);
    if (rc == ERR_OK)
        rc = seal_table_open(s->ctx->db->seals, s->rows, &s->watch.cancelled, &t, e);
    if (rc != ERR_OK)
        return rc;
    buf_clear(&s->sql);
    add_select(s, t);
    add_format(s);
    add_field_ids(s);
    add_metadata(s);
    buf_add_char(&s->sql, ')');
    rc = buf_ok(&s->sql) ? database_do_long(s->con, s->sql.data, e)
                         : err_set(e, ERR_TOOBIG, "a part of too many columns or names");
    if (rc != ERR_OK && seal_table_error(t, NULL) != ERR_OK)
        rc = seal_table_error(t, e);
    seal_table_close(t);
    return rc;
}

/* ---- reading it back ---- */

struct check {
    const struct seal_facts *want;
    uint64_t rows, text_bytes, text_sum, group_bytes;
    int64_t min_ts_us, max_ts_us;
    bool groups_agree;
};

static void end_group(struct check *c, uint64_t rows)
{
    size_t group = (size_t)((rows - 1) / c->want->group_rows);
    c->groups_agree = c->groups_agree && group < c->want->group_count &&
                      c->group_bytes == c->want->group_bytes[group];
    c->group_bytes = 0;
}

static void check_row(struct check *c, struct str line, int64_t ts_us)
{
    if (c->rows == 0 || ts_us < c->min_ts_us)
        c->min_ts_us = ts_us;
    if (c->rows == 0 || ts_us > c->max_ts_us)
        c->max_ts_us = ts_us;
    c->rows++;
    c->text_bytes += line.len;
    c->group_bytes += line.len;
    c->text_sum += text_line_hash((struct str){line.ptr, line.len - 1});
    if (c->rows % c->want->group_rows == 0)
        end_group(c, c->rows);
}

static bool check_rows(const struct part_rows *rows, void *ctx)
{
    const char *p = rows->text.ptr;
    for (size_t i = 0; i < rows->count; i++) {
        check_row(ctx, (struct str){p, rows->line_len[i]}, rows->ts_us[i]);
        p += rows->line_len[i];
    }
    return true;
}

static enum err_code check_groups(struct seal *s, struct err *e)
{
    const struct seal_facts *f = seal_rows_facts(s->rows);
    uint64_t *rows;
    size_t count;
    enum err_code rc = part_read_groups(s->con, str_from(s->parquet), &s->arena, &rows, &count, e);
    if (rc != ERR_OK)
        return rc;
    bool ok = count == f->group_count;
    for (size_t i = 0; i + 1 < count && ok; i++)
        ok = rows[i] == f->group_rows;
    return ok ? ERR_OK
              : err_set(e, ERR_CORRUPT, "the Parquet has other row groups than were written");
}

static enum err_code find_shape(struct seal *s, struct part_shape *out, struct err *e)
{
    size_t count;
    const struct seal_column *fields = seal_rows_fields(s->rows, &count);
    *out = (struct part_shape){.is_metrics = s->request->is_metrics};
    struct str *names = arena_alloc(&s->arena, (count + 1) * sizeof *names);
    if (!names)
        return err_set(e, ERR_NOMEM, "no memory for %zu fields", count);
    for (size_t i = 0; i < count; i++) {
        names[i] = fields[i].column.name;
        out->has_rare = out->has_rare || fields[i].is_rare;
    }
    out->fields = names;
    out->field_count = count;
    return ERR_OK;
}

static enum err_code check_parquet(struct seal *s, struct err *e)
{
    const struct seal_facts *f = seal_rows_facts(s->rows);
    struct check c = {.want = f, .groups_agree = true};
    struct part_shape shape;
    enum err_code rc = check_groups(s, e);
    if (rc == ERR_OK)
        rc = find_shape(s, &shape, e);
    if (rc == ERR_OK)
        rc = part_read_text(s->con, str_from(s->parquet), &shape, PART_ALL_ROWS, check_rows, &c, e);
    if (rc == ERR_OK)
        rc = watch_verdict(&s->watch, e);
    if (rc != ERR_OK)
        return rc;
    if (c.rows % f->group_rows != 0)
        end_group(&c, c.rows);
    if (c.rows == f->rows && c.text_bytes == f->text_bytes && c.text_sum == f->text_sum &&
        c.min_ts_us == f->min_ts_us && c.max_ts_us == f->max_ts_us && c.groups_agree)
        return ERR_OK;
    return err_set(e, ERR_CORRUPT,
                   "the Parquet is not what the lines were: %llu rows of %llu bytes, not %llu of "
                   "%llu, sum %016" PRIx64 ", not %016" PRIx64,
                   (unsigned long long)c.rows, (unsigned long long)c.text_bytes,
                   (unsigned long long)f->rows, (unsigned long long)f->text_bytes, c.text_sum,
                   f->text_sum);
}

/* ---- to the disk ---- */

static enum err_code write_sum(struct seal *s, const struct file_sum *sum, struct err *e)
{
    AUTO_FD int fd = sys_open(s->sum, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, errno, "%s", s->sum);
    enum err_code rc = file_sum_write(fd, sum, e);
    if (rc == ERR_OK && sys_fsync(fd) != 0)
        rc = err_sys(e, errno, "sync %s", s->sum);
    return rc;
}

static enum err_code settle(struct seal *s, struct err *e)
{
    struct file_sum sum = {0};
    AUTO_FD int fd = sys_open(s->parquet, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, errno, "%s", s->parquet);
    if (fchmod(fd, 0600) != 0 || sys_fsync(fd) != 0)
        return err_sys(e, errno, "sync %s", s->parquet);
    enum err_code rc = file_sum_of_file(fd, &sum, e);
    if (rc == ERR_OK)
        rc = write_sum(s, &sum, e);
    s->stored_bytes = sum.file_bytes;
    memcpy(s->sha256, sum.sha256, sizeof s->sha256);
    file_sum_done(&sum);
    return rc;
}

static void remove_staged(const struct seal *s)
{
    sys_unlink(s->parquet);
    sys_unlink(s->sum);
}

/* ---- the request ---- */

static enum err_code name_staged(struct seal *s, struct err *e)
{
    const char *dir = s->ctx->db->config->staging_dir;
    int n = snprintf(s->parquet, sizeof s->parquet, "%s/" STR_FMT ".parquet", dir,
                     STR_ARG(s->request->part));
    int m = snprintf(s->sum, sizeof s->sum, "%s/" STR_FMT ".sum", dir, STR_ARG(s->request->part));
    if (n >= (int)sizeof s->parquet || m >= (int)sizeof s->sum)
        return err_set(e, ERR_INVALID, "the staging folder's path is too long");
    remove_staged(s); /* of an attempt that was cut off */
    return ERR_OK;
}

static enum err_code load_and_write(struct seal *s, struct err *e)
{
    struct turns *turns = &s->ctx->db->writing;
    if (!turns_take(turns, &s->watch.cancelled))
        return err_set(e, ERR_CANCELLED, "nobody waits for the seal any more");
    enum err_code rc =
        seal_rows_load(s->request, s->ctx->db->config->mount_dir, &s->watch.cancelled, &s->rows, e);
    if (rc == ERR_OK)
        rc = write_parquet(s, e);
    if (rc == ERR_OK)
        seal_rows_drop(s->rows);
    turns_give_back(turns);
    return rc;
}

static enum err_code run_steps(struct seal *s, struct err *e)
{
    enum err_code rc = load_and_write(s, e);
    if (rc == ERR_OK)
        rc = check_parquet(s, e);
    if (rc == ERR_OK)
        rc = settle(s, e);
    if (rc == ERR_OK)
        rc = write_facts(s, true, e);
    if (rc == ERR_OK)
        rc = ipc_send(s->ctx->fd, WIRE_SEALED, s->ctx->tag, buf_str(&s->facts), e);
    return rc;
}

enum err_code seal_answer(const struct run_context *ctx, const struct seal_request *r,
                          struct err *e)
{
    struct seal s = {.ctx = ctx, .request = r, .watch = {.fd = ctx->fd}};
    if (r->timeout_ms != 0)
        s.watch.deadline_ms = ctx->started_ms + r->timeout_ms;
    enum err_code rc = name_staged(&s, e);
    if (rc == ERR_OK)
        rc = database_connect(ctx->db, &s.con, e);
    if (rc != ERR_OK)
        return rc;
    s.watch.con = s.con;
    buf_init(&s.sql, SQL_MAX);
    buf_init(&s.facts, FACTS_MAX);
    arena_init(&s.arena, ARENA_MAX);
    rc = watch_add(ctx->watch, &s.watch, e);
    if (rc == ERR_OK) {
        rc = run_steps(&s, e);
        if (rc != ERR_OK)
            watch_verdict(&s.watch, e);
        watch_remove(ctx->watch, &s.watch);
    }
    if (rc != ERR_OK)
        remove_staged(&s);
    duckdb_disconnect(&s.con);
    seal_rows_free(s.rows);
    arena_done(&s.arena);
    buf_done(&s.sql);
    buf_done(&s.facts);
    return rc;
}

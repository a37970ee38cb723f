/* tests/support/sealed_fixture.h - a data directory with a journal, a registry and sealed parts,
 * the way the fs process puts them together; what an engine would stage; what a query would see. */
#ifndef WEIR_TESTS_SEALED_FIXTURE_H
#define WEIR_TESTS_SEALED_FIXTURE_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file_sum.h"
#include "base/json.h"
#include "fs/sealed/sealed.h"
#include "fs/snapshots.h"
#include "tests/support/scratch.h"

#define STORE_SEGMENT_BYTES (1u << 20)
#define STORE_PATH_MAX 160

struct store {
    struct scratch dir;
    char data[STORE_PATH_MAX], journal_dir[STORE_PATH_MAX], lost_dir[STORE_PATH_MAX];
    struct journal *journal;
    struct registry *registry;
    struct status *status;
    struct sealed *sealed;
    struct notifier *notifier;
    struct snapshots *snapshots;
    uint64_t epoch, batches;
    bool read_only;
    struct err e;
};

static inline void store_on_grow(const struct ulid *id, void *ctx)
{
    struct store *s = ctx;
    struct journal_file f;

    if (!registry_knows(s->registry, id) && journal_file_get(s->journal, id, &f, NULL) == ERR_OK)
        registry_add(s->registry, &f, NULL);
}

static inline void store_on_forgotten(const struct ulid *id, void *ctx)
{
    registry_forget(((struct store *)ctx)->registry, id);
}

static inline enum err_code store_on_published(const struct journal_publish *p, uint64_t position,
                                               void *ctx, struct err *e)
{
    return sealed_apply(p, position, ((struct store *)ctx)->sealed, e);
}

static inline bool store_add_file(const struct journal_file *f, void *ctx)
{
    registry_add(((struct store *)ctx)->registry, f, NULL);
    return true;
}

static inline void store_drop_name(const struct notifier_name *name, void *ctx)
{
    (void)name;
    (void)ctx;
}

static inline enum err_code store_open_journal(struct store *s)
{
    struct journal_recovery found;
    struct journal_config jc = {.dir = s->journal_dir,
                                .lost_found_dir = s->lost_dir,
                                .max_bytes = UINT64_C(1) << 30,
                                .segment_bytes = STORE_SEGMENT_BYTES,
                                .read_only = s->read_only,
                                .on_grow = store_on_grow,
                                .on_forgotten = store_on_forgotten,
                                .on_published = store_on_published,
                                .ctx = s,
                                .covered = sealed_position(s->sealed),
                                .replaced_max_bytes = UINT64_C(1) << 30};

    return journal_open(&jc, &s->journal, &found, &s->e);
}

static inline enum err_code store_try_open(struct store *s)
{
    struct sealed_config cfg = {.data_dir = s->data,
                                .node_name = "node-1",
                                .read_only = s->read_only,
                                .starts_when_full = !s->read_only,
                                .scratch_dir = s->read_only ? s->dir.path : NULL};
    struct status_config sc = {0};
    struct snapshots_config nc = {0};
    enum err_code rc = registry_new(&s->registry, &s->e);

    if (!rc)
        rc = sealed_open(&cfg, &s->sealed, &s->e);
    if (!rc)
        rc = store_open_journal(s);
    if (rc)
        return rc;
    sc.journal = nc.journal = s->journal;
    sc.registry = nc.registry = s->registry;
    rc = status_new(&sc, &s->status, &s->e);
    if (!rc)
        rc = notifier_start(s->status, store_drop_name, s, &s->notifier, &s->e);
    nc.status = s->status;
    nc.notifier = s->notifier;
    nc.sealed = s->sealed;
    if (!rc)
        rc = snapshots_new(&nc, &s->snapshots, &s->e);
    if (!rc)
        rc = sealed_start(s->sealed, s->journal, s->registry, s->status, &s->e);
    if (!rc && !s->read_only)
        rc = journal_epoch(s->journal, 0, &s->epoch, &s->e);
    if (!rc)
        journal_file_list(s->journal, store_add_file, s);
    return rc;
}

static inline void store_close(struct store *s)
{
    notifier_stop(s->notifier);
    snapshots_free(s->snapshots);
    sealed_close(s->sealed);
    journal_close(s->journal);
    status_free(s->status);
    registry_free(s->registry);
    s->notifier = NULL;
    s->sealed = NULL;
    s->journal = NULL;
    s->snapshots = NULL;
    s->status = NULL;
    s->registry = NULL;
    s->batches = 0;
}

static inline void store_open(struct store *s)
{
    if (store_try_open(s))
        fail_msg("%s", s->e.msg);
}

/* A command of the shell, which has to succeed. */
__attribute__((format(printf, 1, 2))) static inline void store_run(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline void store_set_dir(struct store *s, const char *data)
{
    snprintf(s->data, sizeof s->data, "%s", data);
    snprintf(s->journal_dir, sizeof s->journal_dir, "%.120s/journal", data);
    snprintf(s->lost_dir, sizeof s->lost_dir, "%.120s/lost+found", data);
}

static inline struct store *store_make(void)
{
    struct store *s = calloc(1, sizeof *s);
    char data[STORE_PATH_MAX];

    s->dir = scratch_make();
    snprintf(data, sizeof data, "%s/data", s->dir.path);
    store_set_dir(s, data);
    return s;
}

static inline void store_remove(struct store *s)
{
    store_close(s);
    scratch_remove(&s->dir);
    free(s);
}

/* ---- lines ---- */

static inline void store_appended(enum err_code code, const struct err *e, void *ctx)
{
    (void)ctx;
    if (code)
        fail_msg("append: %s", e->msg);
}

/* `count` lines into the file of a stream and hour. */
static inline void store_append(struct store *s, enum stream_type type, uint64_t stream,
                                const char *name, int32_t hour, uint32_t count)
{
    struct buf text;
    struct batch_run run = {.stream = stream,
                            .type = type,
                            .org = STR("default"),
                            .name = str_from(name),
                            .hour = hour,
                            .lines = count,
                            .min_ts_us = hour * US_PER_HOUR,
                            .max_ts_us = hour * US_PER_HOUR + 5};
    struct batch_part part = {.id = {s->epoch, 1, ++s->batches},
                              .parts = 1,
                              .flags = BATCH_LAST,
                              .runs = &run,
                              .run_count = 1};

    buf_init(&text, 1u << 20);
    for (uint32_t i = 0; i < count; i++)
        buf_add_cstr(&text, "{\"a\":1}\n");
    run.bytes = buf_str(&text);
    journal_append(s->journal, &part, store_appended, NULL);
    assert_int_equal(journal_sync(s->journal, &s->e), ERR_OK);
    buf_done(&text);
}

struct store_find {
    uint64_t stream;
    int32_t hour;
    struct journal_file file;
    bool found;
};

static inline bool store_match(const struct journal_file *f, void *ctx)
{
    struct store_find *find = ctx;

    if (f->stream != find->stream || f->hour != find->hour)
        return true;
    find->file = *f;
    find->found = true;
    return false;
}

/* Closes the file of a stream and hour; what it holds for good. */
static inline struct journal_file store_roll(struct store *s, uint64_t stream, int32_t hour)
{
    struct store_find find = {.stream = stream, .hour = hour};
    struct journal_file file;

    journal_file_list(s->journal, store_match, &find);
    assert_true(find.found);
    assert_int_equal(journal_roll_file(s->journal, &find.file.id, &file, &s->e), ERR_OK);
    return file;
}

/* ---- what an engine stages ---- */

struct staged {
    struct part part;
    struct part_group group;
    struct part_name names[4];
    struct ulid files[4];
    size_t file_count;
};

static const struct part_column STORE_COLUMNS[] = {{{"_timestamp", 10}, FIELD_INT64, 1, false},
                                                   {{"a", 1}, FIELD_INT64, 2, false}};

static inline void store_stage_bytes(struct store *s, struct part *p)
{
    char id[ULID_TEXT_LEN + 1], path[STORE_PATH_MAX + 64], content[4096];
    struct file_sum sum = {0};
    int fd, sum_fd;

    memset(content, 'x', sizeof content);
    memcpy(content, p->id.b, sizeof p->id.b);
    ulid_format(&p->id, id);
    snprintf(path, sizeof path, "%s/staging/%s.parquet", s->data, id);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    snprintf(path, sizeof path, "%s/staging/%s.sum", s->data, id);
    sum_fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && sum_fd >= 0);
    assert_int_equal(write(fd, content, sizeof content), sizeof content);
    assert_int_equal(file_sum_of_file(fd, &sum, &s->e), ERR_OK);
    assert_int_equal(file_sum_write(sum_fd, &sum, &s->e), ERR_OK);
    p->stored_bytes = sum.file_bytes;
    memcpy(p->sha256, sum.sha256, sizeof p->sha256);
    file_sum_done(&sum);
    close(fd);
    close(sum_fd);
}

static inline void store_describe(struct staged *st, const struct journal_file *f, size_t count)
{
    struct part *p = &st->part;

    *st = (struct staged){.file_count = count};
    *p = (struct part){.id = f->id,
                       .stream = f->stream,
                       .org = f->org,
                       .name = f->name,
                       .type = f->type,
                       .hour = f->hour,
                       .min_ts_us = f->min_ts_us,
                       .max_ts_us = f->max_ts_us,
                       .text_version = 1,
                       .text_sum = 77,
                       .groups = &st->group,
                       .group_count = 1};
    for (size_t i = 0; i < count; i++) {
        st->files[i] = f[i].id;
        st->names[i] = (struct part_name){.stream = f[i].stream,
                                          .name = f[i].name,
                                          .first_row = p->rows,
                                          .rows = f[i].rows,
                                          .min_ts_us = f[i].min_ts_us,
                                          .max_ts_us = f[i].max_ts_us,
                                          .text_bytes = f[i].size};
        p->rows += f[i].rows;
        p->raw_bytes += f[i].size;
    }
    st->group = (struct part_group){.rows = (uint32_t)p->rows, .text_bytes = p->raw_bytes};
}

/* One closed file of logs or traces. */
static inline void store_stage(struct store *s, struct staged *st, const struct journal_file *f)
{
    store_describe(st, f, 1);
    store_stage_bytes(s, &st->part);
}

/* Closed files of metrics of one hour, in order of name. */
static inline void store_stage_metrics(struct store *s, struct staged *st,
                                       const struct journal_file *f, size_t count)
{
    store_describe(st, f, count);
    st->part.id = ulid_new();
    st->part.stream = 0;
    st->part.name = STR("");
    st->part.names = st->names;
    st->part.name_count = count;
    store_stage_bytes(s, &st->part);
}

static inline void store_write_names(struct json_writer *w, const struct staged *st)
{
    jw_key(w, STR("names"));
    jw_array(w);
    for (size_t i = 0; i < st->part.name_count; i++) {
        jw_object(w);
        jw_ku64(w, "stream", st->names[i].stream);
        jw_kstr(w, "name", st->names[i].name);
        jw_ku64(w, "first_row", st->names[i].first_row);
        jw_ku64(w, "rows", st->names[i].rows);
        jw_ki64(w, "min_ts", st->names[i].min_ts_us);
        jw_ki64(w, "max_ts", st->names[i].max_ts_us);
        jw_ku64(w, "text_bytes", st->names[i].text_bytes);
        jw_end(w);
    }
    jw_end(w);
}

/* As an engine writes it. */
static inline void store_part_json(struct buf *out, const struct staged *st)
{
    const struct part *p = &st->part;
    struct json_writer w = {.out = out};
    char id[ULID_TEXT_LEN + 1], sha256[65];

    ulid_format(&p->id, id);
    for (size_t i = 0; i < sizeof p->sha256; i++)
        snprintf(sha256 + 2 * i, 3, "%02x", p->sha256[i]);
    jw_object(&w);
    jw_kcstr(&w, "id", id);
    jw_kstr(&w, "org", p->org);
    jw_kcstr(&w, "type", stream_type_name(p->type));
    jw_kstr(&w, "name", p->name);
    jw_ku64(&w, "stream", p->stream);
    jw_ki64(&w, "hour", p->hour);
    jw_ki64(&w, "min_ts", p->min_ts_us);
    jw_ki64(&w, "max_ts", p->max_ts_us);
    jw_ku64(&w, "rows", p->rows);
    jw_ku64(&w, "text_bytes", p->raw_bytes);
    jw_ku64(&w, "text_version", p->text_version);
    jw_kcstr(&w, "text_sum", "000000000000004d");
    jw_ku64(&w, "stored_bytes", p->stored_bytes);
    jw_kcstr(&w, "sha256", sha256);
    buf_printf(out,
               ",\"groups\":[[%u,%llu]],\"columns\":[[\"_timestamp\",\"Int64\",1],"
               "[\"a\",\"Int64\",2]]",
               st->group.rows, (unsigned long long)st->group.text_bytes);
    if (p->name_count > 0)
        store_write_names(&w, st);
    jw_end(&w);
    assert_true(buf_ok(out));
}

static inline enum err_code store_publish(struct store *s, const struct staged *st)
{
    return sealed_publish(s->sealed, &st->part, STORE_COLUMNS, ARRAY_LEN(STORE_COLUMNS), st->files,
                          st->file_count, &s->e);
}

/* ---- what a query sees ---- */

struct seen {
    uint64_t rows;
    size_t files, parts;
};

static inline enum err_code store_try_look(struct store *s, const uint64_t *streams, size_t count,
                                           struct seen *seen, struct err *e)
{
    struct snapshot_wish wish = {.streams = streams, .stream_count = count};
    struct snapshot_content c = {0};
    enum err_code rc = snapshots_take(s->snapshots, 1, &wish, &c, e);

    if (rc)
        return rc;
    *seen = (struct seen){.files = c.file_count, .parts = c.part_count};
    for (size_t i = 0; i < c.file_count; i++)
        seen->rows += c.files[i].rows;
    for (size_t i = 0; i < c.part_count; i++)
        seen->rows += c.parts[i].rows;
    snapshots_release(s->snapshots, 1, c.id);
    snapshot_content_done(&c);
    return ERR_OK;
}

static inline struct seen store_look(struct store *s, uint64_t stream)
{
    struct seen seen = {0};

    if (store_try_look(s, &stream, 1, &seen, &s->e))
        fail_msg("%s", s->e.msg);
    return seen;
}

static inline void assert_seen(struct store *s, uint64_t stream, uint64_t rows, size_t files,
                               size_t parts)
{
    struct seen seen = store_look(s, stream);

    assert_int_equal(seen.rows, rows);
    assert_int_equal(seen.files, files);
    assert_int_equal(seen.parts, parts);
}

#endif

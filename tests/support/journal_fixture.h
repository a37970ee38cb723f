/* tests/support/journal_fixture.h - a journal in a directory of its own, batches to append, and
 * what a file of it shows. */
#ifndef WEIR_TESTS_JOURNAL_FIXTURE_H
#define WEIR_TESTS_JOURNAL_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fs/journal/journal.h"

#define FIXTURE_SEGMENT_BYTES (256u << 10)
#define FIXTURE_TEXT_MAX (64u << 20)

struct fixture {
    char root[64], dir[80], lost[80];
    struct journal_config cfg;
    struct journal *j;
    struct journal_recovery found;
    uint64_t epoch;
};

static inline void fixture_remove_tree(const char *path)
{
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline int fixture_make(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/weir-test-journal-XXXXXX");
    if (!f || !mkdtemp(f->root))
        return -1;
    snprintf(f->dir, sizeof f->dir, "%s/journal", f->root);
    snprintf(f->lost, sizeof f->lost, "%s/lost+found", f->root);
    f->cfg = (struct journal_config){.dir = f->dir,
                                     .lost_found_dir = f->lost,
                                     .max_bytes = 256u << 20,
                                     .segment_bytes = FIXTURE_SEGMENT_BYTES};
    *state = f;
    return 0;
}

static inline int fixture_remove(void **state)
{
    struct fixture *f = *state;
    journal_close(f->j);
    fixture_remove_tree(f->root);
    free(f);
    return 0;
}

static inline void fixture_open(struct fixture *f)
{
    struct err e = {0};
    if (journal_open(&f->cfg, &f->j, &f->found, &e))
        fail_msg("%s", e.msg);
}

static inline void fixture_reopen(struct fixture *f)
{
    journal_close(f->j);
    f->j = NULL;
    fixture_open(f);
}

static inline void fixture_epoch(struct fixture *f)
{
    struct err e = {0};
    if (journal_epoch(f->j, 0, &f->epoch, &e))
        fail_msg("%s", e.msg);
}

/* ---- batches ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int count;
    enum err_code code;
    struct err e;
};

static inline void answer_done(enum err_code code, const struct err *e, void *ctx)
{
    struct answer *a = ctx;
    pthread_mutex_lock(&a->lock);
    a->count++;
    a->code = code;
    if (e)
        a->e = *e;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
}

static inline enum err_code answer_wait(struct answer *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->count == 0)
        pthread_cond_wait(&a->cond, &a->lock);
    pthread_mutex_unlock(&a->lock);
    return a->code;
}

/* So far. */
static inline int answer_count(struct answer *a)
{
    LOCK_SCOPE(&a->lock);
    return a->count;
}

static inline struct answer answer_new(void)
{
    return (struct answer){.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
}

static inline struct batch_run run_of(uint64_t stream, int32_t hour, const char *text)
{
    static const char *const NAMES[] = {"app", "web", "db", "auth", "cart"};
    struct batch_run r = {.stream = stream,
                          .type = STREAM_LOGS,
                          .org = STR("default"),
                          .name = str_from(NAMES[stream % 5]),
                          .hour = hour,
                          .min_ts_us = (int64_t)hour * 3600000000,
                          .max_ts_us = (int64_t)hour * 3600000000 + 5,
                          .bytes = str_from(text)};
    for (const char *p = text; *p; p++)
        r.lines += *p == '\n';
    return r;
}

static inline enum err_code append_part(struct journal *j, const struct batch_part *p,
                                        struct err *e)
{
    struct answer a = answer_new();
    journal_append(j, p, answer_done, &a);
    enum err_code code = answer_wait(&a);
    if (e)
        *e = a.e;
    return code;
}

/* A whole batch of one part. */
static inline enum err_code append_runs(struct fixture *f, uint32_t worker, uint64_t number,
                                        struct batch_run *runs, size_t count)
{
    struct batch_part p = {.id = {f->epoch, worker, number},
                           .parts = 1,
                           .flags = BATCH_LAST,
                           .runs = runs,
                           .run_count = count};
    return append_part(f->j, &p, NULL);
}

static inline enum err_code append_text(struct fixture *f, uint32_t worker, uint64_t number,
                                        uint64_t stream, int32_t hour, const char *text)
{
    struct batch_run r = run_of(stream, hour, text);
    return append_runs(f, worker, number, &r, 1);
}

static inline enum err_code append_one_part(struct fixture *f, uint32_t worker, uint64_t number,
                                            uint32_t part, bool is_last, const char *text)
{
    struct batch_run r = run_of(1, 100, text);
    struct batch_part p = {.id = {f->epoch, worker, number},
                           .part = part,
                           .parts = is_last ? part + 1 : 0,
                           .flags = is_last ? BATCH_LAST : 0,
                           .runs = &r,
                           .run_count = 1};
    return append_part(f->j, &p, NULL);
}

/* ---- what is shown ---- */

struct shown {
    struct buf text;
    struct journal *j;
    uint64_t stream;
    int32_t hour;
    size_t files;
    uint64_t rows;
};

static inline bool shown_add(const struct journal_file *file, void *ctx)
{
    struct shown *s = ctx;
    struct err e = {0};
    size_t got = 0;
    if (file->stream != s->stream || file->hour != s->hour)
        return true;
    assert_true(buf_reserve(&s->text, file->size + 1));
    if (journal_read(s->j, &file->id, 0, s->text.data + s->text.len, file->size + 1, &got, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(got, file->size);
    s->text.len += got;
    s->text.data[s->text.len] = '\0';
    s->files++;
    s->rows += file->rows;
    return true;
}

/* All files of a stream and hour, one after the other; release with buf_done(&s.text). */
static inline struct shown shown_of(struct fixture *f, uint64_t stream, int32_t hour)
{
    struct shown s = {.j = f->j, .stream = stream, .hour = hour};
    buf_init(&s.text, FIXTURE_TEXT_MAX);
    journal_file_list(f->j, shown_add, &s);
    return s;
}

static inline void assert_shown(struct fixture *f, uint64_t stream, int32_t hour, const char *text)
{
    struct shown s = shown_of(f, stream, hour);
    assert_string_equal(s.text.data ? s.text.data : "", text);
    buf_done(&s.text);
}

#endif

/* fs/status.c - the texts of .weir. */
#include "fs/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

static const char *const FILE_NAMES[STATUS_FILE_COUNT] = {
    [STATUS_VERSION] = "version",    [STATUS_HEALTH] = "health.json",
    [STATUS_STATS] = "stats.json",   [STATUS_NODES] = "nodes.json",
    [STATUS_CONFIG] = "config.json", [STATUS_LAST_ERRORS] = "last_errors",
};

static const char *const COUNTER_NAMES[STATUS_COUNTER_COUNT] = {
    [COUNT_LOOKUPS] = "lookups",
    [COUNT_GETATTRS] = "getattrs",
    [COUNT_OPENS] = "opens",
    [COUNT_READS] = "reads",
    [COUNT_READ_BYTES] = "read_bytes",
    [COUNT_WRITES] = "writes",
    [COUNT_WRITE_BYTES] = "write_bytes",
    [COUNT_WRITES_REFUSED] = "writes_refused",
    [COUNT_FSYNCS] = "fsyncs",
    [COUNT_READDIRS] = "readdirs",
    [COUNT_REFUSED_CHANGES] = "refused_changes",
    [COUNT_ERRORS_REPORTED] = "errors_reported",
    [COUNT_FILES_UNLISTED] = "files_unlisted",
    [COUNT_SNAPSHOTS_TAKEN] = "snapshots_taken",
    [COUNT_NOTIFICATIONS_DROPPED] = "notifications_dropped",
    [COUNT_TEXT_UNITS] = "text_rendered",
    [COUNT_TEXT_BYTES] = "text_rendered_bytes",
    [COUNT_TEXT_ERRORS] = "text_errors",
    [GAUGE_NODES] = "nodes",
    [GAUGE_HANDLES] = "handles",
    [GAUGE_SNAPSHOTS] = "snapshots",
    [GAUGE_CONTROL_CONNECTIONS] = "control_connections",
    [GAUGE_SEALED_PARTS] = "parts",
    [GAUGE_SEALED_BYTES] = "bytes",
    [GAUGE_SEALED_UNKNOWN] = "unknown_files",
    [COUNT_PARTS_PUBLISHED] = "published",
    [COUNT_SEALED_DAMAGED] = "damaged_files",
    [COUNT_INGEST_WRITES] = "writes",
    [COUNT_INGEST_BYTES] = "bytes",
    [COUNT_INGEST_LINES] = "lines_stored",
    [COUNT_INGEST_RESENT] = "answered_from_memory",
    [COUNT_INGEST_INVALID] = "refused_bad_line",
    [COUNT_INGEST_BUSY] = "refused_busy",
    [COUNT_INGEST_FULL] = "refused_full",
    [COUNT_INGEST_TOOBIG] = "refused_too_big",
    [COUNT_INGEST_GONE] = "refused_no_gateway",
    [COUNT_INGEST_INTERRUPTED] = "interrupted",
    [COUNT_INGEST_FAILED] = "failed",
    [COUNT_INGEST_OPENS_REFUSED] = "opens_refused",
    [COUNT_INGEST_TAILS_DROPPED] = "tails_dropped",
    [COUNT_INGEST_TAIL_BYTES_DROPPED] = "tail_bytes_dropped",
    [GAUGE_INGEST_HANDLES] = "handles",
    [GAUGE_INGEST_PENDING] = "pending_bytes",
    [GAUGE_INGEST_TAILS] = "tail_bytes",
};

struct error_line {
    int64_t at_us;
    size_t len;
    char text[LAST_ERROR_BYTES];
};

struct status {
    struct status_config cfg; /* immutable; its strings are ours */
    int64_t started_us;
    _Atomic int64_t counters[STATUS_COUNTER_COUNT];
    pthread_mutex_t lock;
    struct error_line errors[LAST_ERRORS_MAX]; /* (lock) a ring */
    uint64_t error_count;                      /* (lock) ever */
    struct buf gateway_health;                 /* (lock) */
    int64_t gateway_health_us;                 /* (lock) when it came; 0 = never */
};

struct str status_name(enum status_file f)
{
    return str_from(FILE_NAMES[f]);
}

bool status_find(struct str name, enum status_file *out)
{
    for (int i = 0; i < STATUS_FILE_COUNT; i++) {
        if (str_eq(name, str_from(FILE_NAMES[i]))) {
            *out = (enum status_file)i;
            return true;
        }
    }
    return false;
}

enum err_code status_new(const struct status_config *cfg, struct status **out, struct err *e)
{
    struct status *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for the status");
    s->cfg = *cfg;
    s->cfg.node_name = strdup(cfg->node_name ? cfg->node_name : "");
    s->cfg.version = strdup(cfg->version ? cfg->version : "");
    s->cfg.config_json = strdup(cfg->config_json ? cfg->config_json : "{}");
    s->started_us = clock_wall_us();
    pthread_mutex_init(&s->lock, NULL);
    buf_init(&s->gateway_health, GATEWAY_HEALTH_MAX);
    if (!s->cfg.node_name || !s->cfg.version || !s->cfg.config_json) {
        status_free(s);
        return err_set(e, ERR_NOMEM, "no memory for the status");
    }
    *out = s;
    return ERR_OK;
}

static void free_text(const char *text)
{
    free((void *)(uintptr_t)text);
}

void status_free(struct status *s)
{
    if (!s)
        return;
    buf_done(&s->gateway_health);
    pthread_mutex_destroy(&s->lock);
    free_text(s->cfg.node_name);
    free_text(s->cfg.version);
    free_text(s->cfg.config_json);
    free(s);
}

void status_count(struct status *s, enum status_counter c, int64_t add)
{
    atomic_fetch_add_explicit(&s->counters[c], add, memory_order_relaxed);
}

/* One line stays one line. */
static size_t copy_line(char *dst, size_t room, struct str text)
{
    size_t n = text.len < room ? text.len : room;

    for (size_t i = 0; i < n; i++)
        dst[i] = (unsigned char)text.ptr[i] < 0x20 ? ' ' : text.ptr[i];
    return n;
}

void status_report(struct status *s, struct str source, struct str message)
{
    struct error_line *line;

    status_count(s, COUNT_ERRORS_REPORTED, 1);
    LOCK_SCOPE(&s->lock);
    line = &s->errors[s->error_count++ % LAST_ERRORS_MAX];
    line->at_us = clock_wall_us();
    line->len = copy_line(line->text, sizeof line->text / 4, source);
    line->len += copy_line(line->text + line->len, 2, STR(": "));
    line->len += copy_line(line->text + line->len, sizeof line->text - line->len, message);
}

enum err_code status_set_gateway_health(struct status *s, struct str json, struct err *e)
{
    if (json.len > GATEWAY_HEALTH_MAX)
        return err_set(e, ERR_TOOBIG, "the gateway's health is longer than %d bytes",
                       GATEWAY_HEALTH_MAX);
    LOCK_SCOPE(&s->lock);
    buf_clear(&s->gateway_health);
    buf_add_str(&s->gateway_health, json);
    s->gateway_health_us = clock_wall_us();
    return buf_ok(&s->gateway_health) ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for health");
}

/* ---- the texts ---- */

static void write_recovery(struct json_writer *w, const struct journal_recovery *r)
{
    jw_key(w, STR("recovery"));
    jw_object(w);
    jw_ku64(w, "segments", r->segments);
    jw_ku64(w, "frames", r->frames);
    jw_ku64(w, "files", r->files);
    jw_ku64(w, "rows", r->rows);
    jw_ku64(w, "torn_bytes", r->torn_bytes);
    jw_ku64(w, "torn_batches", r->torn_batches);
    jw_ku64(w, "corrupt_frames", r->corrupt_frames);
    jw_ku64(w, "corrupt_bytes", r->corrupt_bytes);
    jw_ku64(w, "took_us", r->took_us);
    jw_end(w);
}

static void write_gateway_health(struct status *s, struct json_writer *w)
{
    LOCK_SCOPE(&s->lock);
    jw_key(w, STR("gateway"));
    if (!s->gateway_health_us) {
        jw_null(w);
        return;
    }
    jw_raw(w, buf_str(&s->gateway_health));
    jw_ki64(w, "gateway_age_ms", (clock_wall_us() - s->gateway_health_us) / 1000);
}

static void write_health(struct status *s, struct buf *out)
{
    struct json_writer w = {.out = out};
    struct journal_stats stats;
    bool sound;

    journal_stats(s->cfg.journal, &stats);
    sound = s->cfg.recovery.corrupt_frames == 0 && stats.poisoned_segments == 0;
    jw_object(&w);
    jw_kcstr(&w, "status", sound ? "ok" : "degraded");
    jw_kcstr(&w, "node", s->cfg.node_name);
    jw_ki64(&w, "uptime_ms", (clock_wall_us() - s->started_us) / 1000);
    jw_kbool(&w, "read_only", s->cfg.read_only);
    jw_ku64(&w, "poisoned_segments", stats.poisoned_segments);
    write_recovery(&w, &s->cfg.recovery);
    write_gateway_health(s, &w);
    jw_end(&w);
}

static void write_journal(struct json_writer *w, const struct journal_stats *j)
{
    jw_key(w, STR("journal"));
    jw_object(w);
    jw_ku64(w, "segments", j->segments);
    jw_ku64(w, "bytes_used", j->bytes_used);
    jw_ku64(w, "bytes_max", j->bytes_max);
    jw_ku64(w, "bytes_free", j->bytes_free);
    jw_ku64(w, "appended_bytes", j->appended_bytes);
    jw_ku64(w, "synced_bytes", j->synced_bytes);
    jw_ku64(w, "batches", j->batches);
    jw_ku64(w, "batches_repeated", j->batches_repeated);
    jw_ku64(w, "batches_refused", j->batches_refused);
    jw_ku64(w, "syncs", j->syncs);
    jw_ku64(w, "files", j->files);
    jw_ku64(w, "rows", j->rows);
    jw_ku64(w, "extents", j->extents);
    jw_ku64(w, "poisoned_segments", j->poisoned_segments);
    jw_ku64(w, "waiting", j->waiting);
    jw_ku64(w, "published", j->published);
    jw_ku64(w, "moved_bytes", j->moved_bytes);
    jw_ku64(w, "freed_segments", j->freed_segments);
    jw_ku64(w, "recycled_segments", j->recycled_segments);
    jw_ku64(w, "replaced_files", j->replaced_files);
    jw_ku64(w, "replaced_bytes", j->replaced_bytes);
    jw_end(w);
}

static void write_tree(struct json_writer *w, struct registry *r)
{
    struct registry_counts counts;

    registry_counts(r, &counts);
    jw_key(w, STR("tree"));
    jw_object(w);
    jw_ku64(w, "orgs", counts.orgs);
    jw_ku64(w, "streams", counts.streams);
    jw_ku64(w, "files", counts.files);
    jw_end(w);
}

static void write_counters(struct status *s, struct json_writer *w, int from, int to)
{
    for (int i = from; i < to; i++)
        jw_ki64(w, COUNTER_NAMES[i], atomic_load_explicit(&s->counters[i], memory_order_relaxed));
}

static void write_fuse(struct status *s, struct json_writer *w)
{
    jw_key(w, STR("fuse"));
    jw_object(w);
    jw_ku64(w, "threads", s->cfg.threads);
    write_counters(s, w, 0, STATUS_FUSE_COUNTERS);
    jw_end(w);
}

static void write_sealed(struct status *s, struct json_writer *w)
{
    jw_key(w, STR("sealed"));
    jw_object(w);
    write_counters(s, w, STATUS_FUSE_COUNTERS, STATUS_SEALED_COUNTERS);
    jw_end(w);
}

static void write_ingest(struct status *s, struct json_writer *w)
{
    jw_key(w, STR("ingest"));
    jw_object(w);
    write_counters(s, w, STATUS_SEALED_COUNTERS, STATUS_COUNTER_COUNT);
    jw_end(w);
}

static void write_stats(struct status *s, struct buf *out)
{
    struct json_writer w = {.out = out};
    struct journal_stats stats;

    journal_stats(s->cfg.journal, &stats);
    jw_object(&w);
    write_journal(&w, &stats);
    write_tree(&w, s->cfg.registry);
    write_fuse(s, &w);
    write_sealed(s, &w);
    write_ingest(s, &w);
    jw_end(&w);
}

static void write_nodes(struct status *s, struct buf *out)
{
    struct json_writer w = {.out = out};

    jw_array(&w);
    jw_object(&w);
    jw_kcstr(&w, "name", s->cfg.node_name);
    jw_kcstr(&w, "version", s->cfg.version);
    jw_kcstr(&w, "status", "online");
    jw_ki64(&w, "started_us", s->started_us);
    jw_end(&w);
    jw_end(&w);
}

static void write_errors(struct status *s, struct buf *out)
{
    uint64_t first;
    char when[40];

    LOCK_SCOPE(&s->lock);
    first = s->error_count > LAST_ERRORS_MAX ? s->error_count - LAST_ERRORS_MAX : 0;
    for (uint64_t i = first; i < s->error_count; i++) {
        const struct error_line *line = &s->errors[i % LAST_ERRORS_MAX];
        time_format_rfc3339(line->at_us, when, sizeof when);
        buf_add_cstr(out, when);
        buf_add_char(out, ' ');
        buf_add(out, line->text, line->len);
        buf_add_char(out, '\n');
    }
}

enum err_code status_text(struct status *s, enum status_file f, struct buf *out, struct err *e)
{
    switch (f) {
    case STATUS_VERSION:
        buf_add_cstr(out, s->cfg.version);
        break;
    case STATUS_HEALTH:
        write_health(s, out);
        break;
    case STATUS_STATS:
        write_stats(s, out);
        break;
    case STATUS_NODES:
        write_nodes(s, out);
        break;
    case STATUS_CONFIG:
        buf_add_cstr(out, s->cfg.config_json);
        break;
    default:
        write_errors(s, out);
        break;
    }
    if (out->len > 0 && out->data[out->len - 1] != '\n')
        buf_add_char(out, '\n');
    return buf_ok(out) ? ERR_OK
                       : err_set(e, ERR_TOOBIG, "a status text is longer than %zu bytes", out->max);
}

/* tools/gateway_process.c - opens the gateway's layers from the bottom up, waits, closes them.
 *
 *   meta -> catalog -+-> ingest -+
 *   fs.sock -> commit pool ------+-> http, doors
 *   engine.sock -> query --------+
 *   all three -> sealer ---------+
 *
 * Threads are started by the layers, and one that waits for SIGTERM; this one waits for that. Until
 * HTTP begins nobody is owed anything: a stop ends the process where it stands, whatever it waits
 * for.
 */
#include "tools/gateway_process.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/ulid.h"
#include "fs/control/control.h"
#include "gateway/auth.h"
#include "gateway/catalog.h"
#include "gateway/commit.h"
#include "gateway/door_keeper.h"
#include "gateway/ingest.h"
#include "gateway/query.h"
#include "gateway/row_ids.h"
#include "gateway/seal.h"
#include "http/server.h"
#include "index/meta.h"
#include "tools/command.h"

#define FS_WAIT_MS 600000     /* the first start may replay a large journal */
#define COMMIT_WAIT_MS 5000   /* for a free commit file; then 503 */
#define COMMIT_RETRY_MS 30000 /* while the fs process is away; then 503 */
#define INSTANCE_KEY "instance"
#define INSTANCE_ARENA_MAX 65536
#define MS_PER_HOUR 3600000
#define LARGE_BYTES (256 << 10)

struct gateway {
    const struct node *node;
    struct meta *meta;
    struct catalog *catalog;
    struct auth *auth;
    struct control_client *control;
    struct commit_pool *commits;
    struct row_ids *row_ids;
    struct ingest *ingest;
    struct keeper *keeper;
    struct query_service *query;
    struct sealer *sealer;
    struct http_server *http;
    char instance[ULID_TEXT_LEN + 1];
};

/* The installation's id: made once, kept in meta. */
static enum err_code load_instance(struct gateway *g, struct err *e)
{
    struct arena a;
    struct str value;
    struct ulid id;
    enum err_code rc;

    arena_init(&a, INSTANCE_ARENA_MAX);
    rc = meta_value_get(g->meta, STR(INSTANCE_KEY), &a, &value, e);
    if (rc == ERR_OK && str_copy_to(value, g->instance, sizeof g->instance)) {
        arena_done(&a);
        return ERR_OK;
    }
    arena_done(&a);
    if (rc != ERR_OK && rc != ERR_NOTFOUND)
        return rc;
    id = ulid_new();
    ulid_format(&id, g->instance);
    return meta_value_put(g->meta, STR(INSTANCE_KEY), str_from(g->instance), e);
}

static enum err_code open_truth(struct gateway *g, struct err *e)
{
    const struct settings *s = g->node->settings;
    enum err_code rc = meta_open(g->node->meta_dir, KV_OWNER, &g->meta, e);

    if (!rc)
        rc = load_instance(g, e);
    if (!rc)
        rc = catalog_open(g->meta, (size_t)settings_i64(s, SET_SCHEMA_CACHE_MAX), &g->catalog, e);
    if (!rc)
        rc = auth_open(g->meta, settings_text(s, SET_ROOT_USER_EMAIL),
                       settings_text(s, SET_ROOT_USER_PASSWORD), &g->auth, e);
    return rc;
}

static enum err_code open_ingest(struct gateway *g, struct err *e)
{
    const struct settings *s = g->node->settings;
    struct commit_config commit = {
        .mount_dir = g->node->mount_dir,
        .workers = g->node->commit_files,
        .wait_ms = COMMIT_WAIT_MS,
        .retry_ms = COMMIT_RETRY_MS,
        .no_sync = settings_bool(s, SET_WAL_FSYNC_DISABLED),
    };
    struct ingest_config ingest = {
        .catalog = g->catalog,
        .allowed_past_hours = settings_i64(s, SET_INGEST_ALLOWED_UPTO) / MS_PER_HOUR,
        .allowed_future_hours = settings_i64(s, SET_INGEST_ALLOWED_IN_FUTURE) / MS_PER_HOUR,
        .allowed_past_us = settings_i64(s, SET_INGEST_ALLOWED_UPTO) * 1000,
        .allowed_future_us = settings_i64(s, SET_INGEST_ALLOWED_IN_FUTURE) * 1000,
        .flatten_level = (unsigned)settings_i64(s, SET_INGEST_FLATTEN_LEVEL),
        .columns_max = (unsigned)settings_i64(s, SET_COLS_PER_RECORD_LIMIT),
        .line_max_bytes = (size_t)settings_i64(s, SET_LINE_MAX),
    };
    enum err_code rc =
        control_open(g->node->fs_socket, clock_mono_ms() + FS_WAIT_MS, &g->control, e);

    commit.control = g->control;
    if (!rc)
        rc = commit_pool_open(&commit, &g->commits, e);
    if (!rc)
        rc = row_ids_open(g->meta, &g->row_ids, e);
    ingest.commits = g->commits;
    ingest.row_ids = g->row_ids;
    if (!rc)
        rc = ingest_open(&ingest, &g->ingest, e);
    return rc;
}

static enum err_code open_doors(struct gateway *g, struct err *e)
{
    struct keeper_config cfg = {
        .socket_path = g->node->fs_socket,
        .control = g->control,
        .ingest = g->ingest,
        .catalog = g->catalog,
    };

    return keeper_start(&cfg, &g->keeper, e);
}

static enum err_code open_query(struct gateway *g, struct err *e)
{
    const struct settings *s = g->node->settings;
    struct query_config cfg = {
        .catalog = g->catalog,
        .control = g->control,
        .mount_dir = g->node->mount_dir,
        .engine_socket = g->node->engine_socket,
        .memory_bytes = g->node->engine_memory_bytes,
        .timeout_ms = (uint64_t)settings_i64(s, SET_QUERY_TIMEOUT),
        .wait_ms = (uint64_t)settings_i64(s, SET_QUERY_WAIT),
        .size_max = (uint64_t)settings_i64(s, SET_QUERY_SIZE_MAX),
        .default_limit = (uint64_t)settings_i64(s, SET_QUERY_DEFAULT_LIMIT),
        .fts_extra = settings_text(s, SET_FULLTEXT_EXTRA_FIELDS),
    };

    return query_open(&cfg, &g->query, e);
}

static enum err_code open_sealer(struct gateway *g, struct err *e)
{
    const struct settings *s = g->node->settings;
    struct seal_config cfg = {
        .catalog = g->catalog,
        .control = g->control,
        .mount_dir = g->node->mount_dir,
        .engine_socket = g->node->engine_socket,
        .node_name = g->node->name,
        .file_bytes = (uint64_t)settings_i64(s, SET_MAX_FILE_SIZE_ON_DISK),
        .age_us = settings_i64(s, SET_MAX_FILE_RETENTION_TIME) * 1000,
        .workers = g->node->seal_threads,
        .drain_ms = (uint64_t)settings_i64(s, SET_HTTP_SHUTDOWN_TIMEOUT),
    };

    return seal_open(&cfg, &g->sealer, e);
}

static enum err_code open_http(struct gateway *g, struct err *e)
{
    const struct settings *s = g->node->settings;
    struct http_config cfg = {
        .address = settings_text(s, SET_HTTP_ADDR),
        .port = (uint16_t)settings_i64(s, SET_HTTP_PORT),
        .io_threads = g->node->http_io_threads,
        .workers = g->node->http_workers,
        .body_max_bytes = (uint64_t)settings_i64(s, SET_PAYLOAD_LIMIT),
        .body_memory_max = (uint64_t)settings_i64(s, SET_BODY_MEMORY_MAX),
        .body_memory_total = (uint64_t)settings_i64(s, SET_INGEST_MEMORY_MAX),
        .tmp_dir = g->node->tmp_dir,
        .spool_max_bytes = (uint64_t)settings_i64(s, SET_SPOOL_MAX),
        .disk_reserve_bytes = g->node->disk_reserve_bytes,
        .connections_max = (unsigned)settings_i64(s, SET_CONNECTIONS_MAX),
        .idle_timeout_s = (unsigned)(settings_i64(s, SET_HTTP_IDLE_TIMEOUT) / 1000),
        .request_timeout_ms = (uint64_t)settings_i64(s, SET_HTTP_REQUEST_TIMEOUT),
        .query_wait_ms = (uint64_t)settings_i64(s, SET_QUERY_WAIT),
        .queries_at_once = (unsigned)settings_i64(s, SET_QUERY_CONCURRENCY),
        .reply_timeout_ms = (uint64_t)settings_i64(s, SET_HTTP_REPLY_TIMEOUT),
        .body_rate_min_bytes = (uint64_t)settings_i64(s, SET_HTTP_BODY_RATE_MIN),
        .header_max_bytes = (size_t)settings_i64(s, SET_HTTP_HEADER_MAX),
        .cors_allowed_origins = settings_text(s, SET_CORS_ALLOWED_ORIGINS),
        .base_uri = settings_text(s, SET_BASE_URI),
        .node_name = g->node->name,
        .version = WEIR_VERSION,
        .instance_id = g->instance,
        .auth = g->auth,
        .ingest = g->ingest,
        .query = g->query,
        .sealer = g->sealer,
        .catalog = g->catalog,
        .meta = g->meta,
        .control = g->control,
    };

    return http_start(&cfg, &g->http, e);
}

static void close_all(struct gateway *g)
{
    http_stop(g->http, (unsigned)settings_i64(g->node->settings, SET_HTTP_SHUTDOWN_TIMEOUT));
    keeper_stop(g->keeper);
    seal_close(g->sealer);
    query_close(g->query);
    ingest_close(g->ingest);
    row_ids_close(g->row_ids);
    commit_pool_close(g->commits);
    control_close(g->control);
    auth_close(g->auth);
    catalog_close(g->catalog);
    meta_close(g->meta);
}

/* ---- SIGTERM ---- */

struct stop {
    sigset_t signals;
    atomic_bool has_begun; /* to serve, or to close: it is waited for */
    pthread_t thread;
};

static void *wait_for_stop(void *arg)
{
    struct stop *s = arg;
    int number;

    while (sigwait(&s->signals, &number) != 0)
        ;
    if (!atomic_load(&s->has_begun))
        _exit(0);
    return NULL;
}

/* Before any other thread: SIGTERM is blocked in all, so that only the wait takes it. */
static enum err_code stop_init(struct stop *s, struct err *e)
{
    int sys;

    sigemptyset(&s->signals);
    sigaddset(&s->signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
    sys = pthread_create(&s->thread, NULL, wait_for_stop, s);
    return sys ? err_sys(e, sys, "start the thread that waits for SIGTERM") : ERR_OK;
}

static enum err_code open_all(struct gateway *g, struct stop *s, struct err *e)
{
    enum err_code rc = open_truth(g, e);

    if (!rc)
        rc = open_ingest(g, e);
    if (!rc)
        rc = open_query(g, e);
    if (!rc)
        rc = open_sealer(g, e);
    atomic_store(&s->has_begun, true);
    if (!rc)
        rc = open_http(g, e);
    return rc ? rc : open_doors(g, e);
}

static int cannot_start(const struct err *e)
{
    log_write(LOG_ERROR, "cannot start", "reason", e->msg, (char *)0);
    return e->code == ERR_INVALID || e->code == ERR_EXISTS ? EXIT_CONFIG : 1;
}

int gateway_run(const struct node *n, int ready_fd)
{
    struct gateway g = {.node = n};
    struct stop stop = {0};
    struct err e;
    int code = 0;

    /* What a large request needed goes back to the system at once, not to the heap of a thread. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    signal(SIGPIPE, SIG_IGN);
    if (stop_init(&stop, &e))
        return cannot_start(&e);
    if (open_all(&g, &stop, &e)) {
        code = cannot_start(&e);
        pthread_kill(stop.thread, SIGTERM);
    } else if (ready_fd >= 0) {
        (void)!sys_write(ready_fd, "1", 1);
    }
    pthread_join(stop.thread, NULL);
    close_all(&g);
    return code;
}

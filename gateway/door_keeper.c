/* gateway/door_keeper.c - threads that each hold a door and answer at it. */
#include "gateway/door_keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/ipc.h"
#include "base/log.h"
#include "fs/control/control.h"
#include "fs/door/wire.h"
#include "gateway/names.h"

enum { OPEN_MS = 1000, PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 1000, NAME_ROOM = 256 };

struct door_thread {
    struct keeper *keeper;
    pthread_t thread;
    bool is_running;
    int fd; /* (lock) -1: being opened */
};

struct keeper {
    struct keeper_config cfg; /* immutable */
    atomic_bool is_stopping;  /* set under the lock */
    pthread_mutex_t lock;
    pthread_cond_t stopping;
    char told[ERR_MSG_MAX]; /* (lock) why doors cannot be opened, as it was logged; empty: they can
                             */
    struct door_thread doors[KEEPER_DOORS];
};

/* ---- questions ---- */

static enum err_code answer_lines(struct keeper *k, const struct door_ask *ask, struct str lines,
                                  struct door_answer *out, struct err *e)
{
    struct ingest_write w = {.stream = ask->stream,
                             .org = ask->org,
                             .name = ask->name,
                             .lines = lines,
                             .mount = ask->mount,
                             .request = ask->request};
    uint64_t stored = 0;
    enum err_code code = ingest_lines(k->cfg.ingest, &w, &stored, e);

    out->lines = (uint32_t)stored;
    return code;
}

/* EXISTS: it is there, and *number is set. */
static enum err_code make_stream(struct keeper *k, struct str org, struct str name,
                                 uint64_t *number, struct err *e)
{
    const struct catalog_stream *s = NULL;
    enum err_code code = catalog_find(k->cfg.catalog, org, STREAM_LOGS, name, &s, e);
    bool is_there = code == ERR_OK;

    if (code == ERR_NOTFOUND)
        code = catalog_org_make(k->cfg.catalog, org, e);
    if (!code && !is_there)
        code = catalog_make(k->cfg.catalog, org, STREAM_LOGS, name, &s, e);
    if (code)
        return code;
    *number = s->number;
    catalog_unref(s);
    return is_there ? err_set(e, ERR_EXISTS, "the stream is there already") : ERR_OK;
}

static enum err_code answer_mkdir(struct keeper *k, const struct door_ask *ask,
                                  struct door_answer *out, struct err *e)
{
    char normal[NAME_ROOM];
    size_t len = 0;
    enum err_code code = name_org(ask->org, e);

    if (!code && ask->name.len == 0)
        return catalog_org_make(k->cfg.catalog, ask->org, e);
    if (!code)
        code = name_stream(ask->name, normal, &len, e);
    if (code)
        return code;
    if (!str_eq(ask->name, (struct str){normal, len}))
        return err_set(e, ERR_INVALID, "a stream " STR_FMT " would be called " STR_FMT,
                       STR_ARG(ask->name), (int)len, normal);
    return make_stream(k, ask->org, ask->name, &out->stream, e);
}

static enum err_code answer(struct keeper *k, const struct ipc_msg *m, struct door_answer *out,
                            struct err *e)
{
    struct door_ask ask;
    struct str lines;

    if (!door_decode_ask(buf_str(&m->body), &ask, &lines))
        return err_set(e, ERR_INVALID, "a question that cannot be read");
    switch (m->kind) {
    case DOOR_LINES:
        return answer_lines(k, &ask, lines, out, e);
    case DOOR_MKDIR:
        return answer_mkdir(k, &ask, out, e);
    default:
        return err_set(e, ERR_UNIMPL, "question kind %u is not known", m->kind);
    }
}

/* False: the door is of no further use. */
static bool answer_one(struct keeper *k, int fd, struct ipc_msg *m)
{
    char bytes[DOOR_ANSWER_MAX];
    struct door_answer out = {0};
    struct err e = {0};

    if (ipc_recv(fd, m, 0, NULL))
        return false;
    out.code = answer(k, m, &out, &e);
    if (out.code)
        out.message = str_from(e.msg);
    struct str body = {bytes, door_encode_answer(bytes, &out)};
    return ipc_send(fd, DOOR_ANSWER, m->tag, body, NULL) == ERR_OK;
}

/* ---- doors ---- */

/* Longer from time to time; ends with the keeper. */
static void pause_before_next(struct keeper *k, uint64_t *pause_ms)
{
    uint64_t until_ms = clock_mono_ms() + *pause_ms;

    LOCK_SCOPE(&k->lock);
    while (!atomic_load(&k->is_stopping) && cond_wait_until(&k->stopping, &k->lock, until_ms))
        ;
    *pause_ms = *pause_ms * 2 < PAUSE_MAX_MS ? *pause_ms * 2 : PAUSE_MAX_MS;
}

/* Once for all doors, and again when the reason is another one. */
static void tell(struct keeper *k, const struct err *e)
{
    LOCK_SCOPE(&k->lock);
    if (atomic_load(&k->is_stopping) || strcmp(k->told, e->msg) == 0)
        return;
    str_copy_to(str_from(e->msg), k->told, sizeof k->told);
    log_printf(LOG_WARN, "writes to ingest files wait, no door of the filesystem opens: %s",
               e->msg);
}

/* Where keeper_stop finds it; false: it has begun already. */
static bool show(struct door_thread *d, int fd)
{
    LOCK_SCOPE(&d->keeper->lock);
    d->fd = fd;
    if (fd >= 0)
        d->keeper->told[0] = '\0';
    return !atomic_load(&d->keeper->is_stopping);
}

/* Open a door and answer at it until it ends.  True: it was of use. */
static bool keep_one(struct door_thread *d, struct ipc_msg *m)
{
    struct keeper *k = d->keeper;
    uint64_t began_ms = clock_mono_ms();
    struct err e = {0};
    int fd = -1;

    if (door_open(k->cfg.socket_path, control_epoch(k->cfg.control), began_ms + OPEN_MS, &fd, &e)) {
        tell(k, &e);
        return false;
    }
    for (bool more = show(d, fd); more;)
        more = answer_one(k, fd, m);
    show(d, -1);
    cleanup_fd(&fd);
    return clock_mono_ms() - began_ms > PAUSE_MAX_MS;
}

static void *keep(void *arg)
{
    struct door_thread *d = arg;
    struct keeper *k = d->keeper;
    struct ipc_msg m = {0};
    uint64_t pause_ms = PAUSE_MIN_MS;

    buf_init(&m.body, DOOR_ASK_HEAD_MAX + DOOR_LINES_MAX);
    while (!atomic_load(&k->is_stopping)) {
        if (keep_one(d, &m))
            pause_ms = PAUSE_MIN_MS;
        pause_before_next(k, &pause_ms);
    }
    buf_done(&m.body);
    return NULL;
}

enum err_code keeper_start(const struct keeper_config *cfg, struct keeper **out, struct err *e)
{
    struct keeper *k = calloc(1, sizeof *k);

    if (!k)
        return err_set(e, ERR_NOMEM, "no memory for the doors of the filesystem");
    k->cfg = *cfg;
    pthread_mutex_init(&k->lock, NULL);
    cond_init(&k->stopping);
    for (int i = 0; i < KEEPER_DOORS; i++) {
        struct door_thread *d = &k->doors[i];
        *d = (struct door_thread){.keeper = k, .fd = -1};
        int sys = pthread_create(&d->thread, NULL, keep, d);
        if (sys) {
            keeper_stop(k);
            return err_sys(e, sys, "start the thread of a door");
        }
        d->is_running = true;
    }
    *out = k;
    return ERR_OK;
}

/* Nothing more is received; an answer on its way still goes out. */
static void stop_receiving(struct keeper *k)
{
    LOCK_SCOPE(&k->lock);
    atomic_store(&k->is_stopping, true);
    pthread_cond_broadcast(&k->stopping);
    for (int i = 0; i < KEEPER_DOORS; i++) {
        if (k->doors[i].is_running && k->doors[i].fd >= 0)
            shutdown(k->doors[i].fd, SHUT_RD);
    }
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    stop_receiving(k);
    for (int i = 0; i < KEEPER_DOORS; i++) {
        if (k->doors[i].is_running)
            pthread_join(k->doors[i].thread, NULL);
    }
    pthread_cond_destroy(&k->stopping);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* fs/control/client.c - the asking side of fs/control/control.h.
 *
 *   connected ── a send or a receive fails ──► away ── connect, HELLO with our epoch ──► connected
 *
 * A call that loses its connection is sent again on the next one until its deadline; every request
 * may be repeated.  The HELLO of a client that took snapshots names those that live, in case it is
 * another fs process.  Calls wait for each other no longer than their deadlines allow; what HELLO
 * said is read without waiting, for it stands on the path of every commit.
 */
#include "fs/control/control.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/ipc.h"

#define REPLY_MAX ((size_t)256 << 20)
#define SNAPSHOT_MEMORY_MAX ((size_t)1 << 30)
#define HELLO_MEMORY_MAX 65536
#define HELLO_MAX ((size_t)16 << 20) /* as the fs process takes */
#define RELEASE_MS 1000
#define PAUSE_MS 10
#define OWED_MAX 1024

/* A snapshot that lives: what another fs process has to be told of it. */
struct kept {
    struct kept *next;
    uint64_t id;
    size_t count;
    struct kept_file {
        struct ulid id;
        uint64_t bytes;
    } files[]; /* the active ones */
};

struct control_client {
    char *path;                    /* immutable */
    bool is_beside;                /* immutable: another client has the snapshots */
    _Atomic uint64_t epoch;        /* written by whose turn it is */
    _Atomic unsigned commit_files; /* the same */
    int fd;                        /* of whose turn it is; -1: away */
    uint64_t last_tag;             /* the same */
    struct ipc_msg reply;          /* the same */
    pthread_mutex_t lock;
    pthread_cond_t given_back;
    bool is_taken;           /* (lock) it is somebody's turn */
    struct kept *kept;       /* (lock) */
    uint64_t owed[OWED_MAX]; /* (lock) snapshots whose release did not get through */
    size_t owed_count;       /* (lock) */
};

static void hang_up(struct control_client *c)
{
    cleanup_fd(&c->fd);
    c->fd = -1;
}

static enum err_code error_of_reply(const struct buf *body, struct err *e)
{
    struct arena arena;
    struct json *v;
    enum err_code rc = ERR_CORRUPT;
    char name[32];

    arena_init(&arena, HELLO_MEMORY_MAX);
    if (json_parse(buf_str(body), &arena, &v, NULL) == ERR_OK) {
        struct str message = json_str(json_get(v, "message"), STR("no reason given"));
        str_copy_to(json_str(json_get(v, "code"), STR("IO")), name, sizeof name);
        rc = err_from_name(name);
        err_set(e, rc, STR_FMT, STR_ARG(message));
    } else {
        err_set(e, rc, "the fs process sent an error that cannot be read");
    }
    arena_done(&arena);
    return rc;
}

/* One request and its reply on the open connection.  *lost: the connection is of no further use. */
static enum err_code exchange(struct control_client *c, enum control_kind kind, struct str body,
                              uint64_t deadline_ms, bool *lost, struct err *e)
{
    uint64_t tag = ++c->last_tag;
    enum err_code rc = ipc_send(c->fd, kind, tag, body, e);

    if (!rc)
        rc = ipc_recv(c->fd, &c->reply, deadline_ms, e);
    *lost = rc != ERR_OK;
    if (rc) {
        hang_up(c);
        return rc;
    }
    if (c->reply.tag != tag) {
        *lost = true;
        hang_up(c);
        return err_set(e, ERR_CORRUPT, "the fs process answered another request");
    }
    return c->reply.kind == CONTROL_REPLY ? ERR_OK : error_of_reply(&c->reply.body, e);
}

static enum err_code read_hello(struct control_client *c, struct err *e)
{
    struct arena arena;
    struct json *v;
    uint64_t epoch = 0, files = 0;
    enum err_code rc;

    arena_init(&arena, HELLO_MEMORY_MAX);
    rc = json_parse(buf_str(&c->reply.body), &arena, &v, e);
    if (!rc && !(json_u64(json_get(v, "epoch"), &epoch) && epoch > 0 &&
                 json_u64(json_get(v, "commit_files"), &files)))
        rc = err_set(e, ERR_CORRUPT, "the fs process gave no epoch");
    arena_done(&arena);
    if (rc)
        return rc;
    atomic_store(&c->epoch, epoch);
    atomic_store(&c->commit_files, (unsigned)files);
    return ERR_OK;
}

static void write_kept(struct json_writer *w, const struct kept *k)
{
    char text[ULID_TEXT_LEN + 1];

    jw_array(w);
    jw_u64(w, k->id);
    jw_array(w);
    for (size_t i = 0; i < k->count; i++) {
        ulid_format(&k->files[i].id, text);
        jw_array(w);
        jw_cstr(w, text);
        jw_u64(w, k->files[i].bytes);
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

static void write_hello(struct control_client *c, bool names_snapshots, struct buf *out)
{
    uint64_t epoch = atomic_load(&c->epoch);
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_ku64(&w, "epoch", epoch);
    jw_ki64(&w, "pid", getpid());
    if (epoch != 0 && !c->is_beside) {
        LOCK_SCOPE(&c->lock);
        jw_key(&w, STR("snapshots"));
        jw_array(&w);
        for (const struct kept *k = c->kept; k && names_snapshots; k = k->next)
            write_kept(&w, k);
        jw_end(&w);
    }
    jw_end(&w);
}

static enum err_code connect_fs(struct control_client *c, uint64_t deadline_ms, bool *lost,
                                struct err *e)
{
    struct buf body;
    enum err_code rc = ipc_connect(c->path, deadline_ms, &c->fd, e);

    *lost = false;
    if (rc) {
        c->fd = -1;
        return rc;
    }
    buf_init(&body, HELLO_MAX);
    write_hello(c, true, &body);
    if (!buf_ok(&body)) { /* more than one message takes: their queries fail, other calls go on */
        buf_clear(&body);
        write_hello(c, false, &body);
    }
    rc = buf_ok(&body) ? exchange(c, CONTROL_HELLO, buf_str(&body), deadline_ms, lost, e)
                       : err_set(e, ERR_NOMEM, "no memory to say HELLO");
    buf_done(&body);
    if (!rc)
        rc = read_hello(c, e);
    if (rc)
        hang_up(c);
    return rc;
}

static bool is_over(uint64_t deadline_ms)
{
    return deadline_ms != 0 && clock_mono_ms() >= deadline_ms;
}

static void pause_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

/* Until there is an answer, even if it is an error, or the deadline has passed. */
static enum err_code call(struct control_client *c, enum control_kind kind, struct str body,
                          uint64_t deadline_ms, struct err *e)
{
    for (;;) {
        bool lost = false;
        enum err_code rc = c->fd < 0 ? connect_fs(c, deadline_ms, &lost, e) : ERR_OK;
        if (!rc)
            rc = exchange(c, kind, body, deadline_ms, &lost, e);
        if (!lost || rc == ERR_TIMEOUT || is_over(deadline_ms))
            return rc;
        pause_shortly();
    }
}

/* ---- the contract ---- */

static enum err_code open_as(const char *socket_path, uint64_t epoch, uint64_t deadline_ms,
                             struct control_client **out, struct err *e)
{
    struct control_client *c = calloc(1, sizeof *c);
    enum err_code rc = ERR_OK;
    bool lost = true;

    if (!c)
        return err_set(e, ERR_NOMEM, "no memory for the control connection");
    c->fd = -1;
    c->is_beside = epoch != 0;
    atomic_store(&c->epoch, epoch);
    c->path = strdup(socket_path);
    pthread_mutex_init(&c->lock, NULL);
    cond_init(&c->given_back);
    buf_init(&c->reply.body, REPLY_MAX);
    if (!c->path)
        rc = err_set(e, ERR_NOMEM, "no memory for a path");
    while (!rc && lost) {
        rc = connect_fs(c, deadline_ms, &lost, e);
        if (!lost || is_over(deadline_ms))
            break;
        rc = ERR_OK; /* it went away in the middle: it is starting, or ending */
        pause_shortly();
    }
    if (rc) {
        control_close(c);
        return err_wrap(e, "fs process");
    }
    *out = c;
    return ERR_OK;
}

enum err_code control_open(const char *socket_path, uint64_t deadline_ms,
                           struct control_client **out, struct err *e)
{
    return open_as(socket_path, 0, deadline_ms, out, e);
}

enum err_code control_open_beside(struct control_client *beside, uint64_t deadline_ms,
                                  struct control_client **out, struct err *e)
{
    return open_as(beside->path, control_epoch(beside), deadline_ms, out, e);
}

/* The snapshot's record, out of the list; NULL: it is not there. */
static struct kept *unlink_kept_locked(struct control_client *c, uint64_t id)
{
    struct kept **link = &c->kept, *k;

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    k = *link;
    if (k)
        *link = k->next;
    return k;
}

void control_close(struct control_client *c)
{
    if (!c)
        return;
    hang_up(c);
    while (c->kept)
        free(unlink_kept_locked(c, c->kept->id));
    buf_done(&c->reply.body);
    pthread_cond_destroy(&c->given_back);
    pthread_mutex_destroy(&c->lock);
    free(c->path);
    free(c);
}

uint64_t control_epoch(struct control_client *c)
{
    return atomic_load(&c->epoch);
}

unsigned control_commit_files(struct control_client *c)
{
    return atomic_load(&c->commit_files);
}

/* ERR_TIMEOUT: others kept the connection until the deadline. */
static enum err_code take_turn(struct control_client *c, uint64_t deadline_ms, struct err *e)
{
    LOCK_SCOPE(&c->lock);
    while (c->is_taken && cond_wait_until(&c->given_back, &c->lock, deadline_ms))
        ;
    if (c->is_taken)
        return err_set(e, ERR_TIMEOUT, "other calls to the fs process take too long");
    c->is_taken = true;
    return ERR_OK;
}

static void give_turn_back(struct control_client *c)
{
    LOCK_SCOPE(&c->lock);
    c->is_taken = false;
    pthread_cond_signal(&c->given_back);
}

enum err_code control_call(struct control_client *c, enum control_kind kind, struct str body,
                           uint64_t deadline_ms, struct arena *a, struct json **reply,
                           struct err *e)
{
    enum err_code rc = take_turn(c, deadline_ms, e);

    if (rc)
        return rc;
    rc = call(c, kind, body, deadline_ms, e);
    if (!rc)
        rc = json_parse(buf_str(&c->reply.body), a, reply, e);
    give_turn_back(c);
    return rc;
}

static void write_wish(struct buf *out, const uint64_t *streams, size_t count, int64_t start_us,
                       int64_t end_us)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    jw_key(&w, STR("streams"));
    jw_array(&w);
    for (size_t i = 0; i < count; i++)
        jw_u64(&w, streams[i]);
    jw_end(&w);
    jw_ki64(&w, "start_us", start_us);
    jw_ki64(&w, "end_us", end_us);
    jw_end(&w);
}

static bool copy_text(const struct json *v, const char *key, struct arena *a, struct str *out)
{
    *out = arena_copy(a, json_str(json_get(v, key), STR("")));
    return out->ptr != NULL;
}

/* "hex" -> its index; false: the snapshot does not describe it. */
static bool find_schema(const struct snapshot *s, struct str hash, uint32_t *index)
{
    for (size_t i = 0; i < s->schema_count; i++)
        if (str_eq(s->schemas[i].hash, hash)) {
            *index = (uint32_t)i;
            return true;
        }
    return false;
}

static bool read_sealed(const struct json *v, const struct snapshot *s, struct arena *a,
                        struct snapshot_file *f)
{
    f->is_sealed = true;
    return copy_text(v, "path", a, &f->path) && f->path.len > 0 &&
           copy_text(v, "name", a, &f->name) &&
           json_u64(json_get(v, "text_bytes"), &f->text_bytes) &&
           find_schema(s, json_str(json_get(v, "schema"), STR("")), &f->schema);
}

static bool read_hour(const struct json *v, int32_t *out)
{
    int64_t hour;

    if (!json_i64(json_get(v, "hour"), &hour) || hour < INT32_MIN || hour > INT32_MAX)
        return false;
    *out = (int32_t)hour;
    return true;
}

static bool read_file(const struct json *v, const struct snapshot *s, struct arena *a,
                      struct snapshot_file *f)
{
    *f = (struct snapshot_file){0};
    bool ok = json_u64(json_get(v, "stream"), &f->stream) &&
              ulid_parse(json_str(json_get(v, "id"), STR("")), &f->id) && read_hour(v, &f->hour) &&
              json_u64(json_get(v, "bytes"), &f->bytes) &&
              json_u64(json_get(v, "rows"), &f->rows) &&
              json_i64(json_get(v, "min_ts"), &f->min_ts_us) &&
              json_i64(json_get(v, "max_ts"), &f->max_ts_us);
    if (ok && str_eq(json_str(json_get(v, "state"), STR("")), STR("sealed")))
        return read_sealed(v, s, a, f);
    return ok;
}

static enum err_code read_schemas(const struct json *v, struct arena *a, struct snapshot *s,
                                  struct err *e)
{
    const struct json *all = json_get(v, "schemas");

    if (!all || all->type != JSON_OBJECT)
        return ERR_OK;
    s->schemas = arena_alloc(a, (all->count + 1) * sizeof *s->schemas);
    if (!s->schemas)
        return err_set(e, ERR_NOMEM, "no memory for the schemas of a snapshot");
    for (const struct json *m = all->first; m; m = m->next) {
        struct snapshot_schema copy = {arena_copy(a, m->key), json_clone(a, m)};
        if (!copy.hash.ptr || !copy.columns)
            return err_set(e, ERR_NOMEM, "no memory for the schemas of a snapshot");
        s->schemas[s->schema_count++] = copy;
    }
    return ERR_OK;
}

static enum err_code read_snapshot(const struct json *v, struct arena *a, struct snapshot *out,
                                   struct err *e)
{
    const struct json *files = json_get(v, "files");
    struct snapshot s = {0};

    if (!files || files->type != JSON_ARRAY || !json_u64(json_get(v, "snapshot"), &s.id))
        return err_set(e, ERR_CORRUPT, "the fs process sent a snapshot that cannot be read");
    s.files = arena_alloc(a, (files->count + 1) * sizeof *s.files);
    if (!s.files)
        return err_set(e, ERR_NOMEM, "%zu files of a snapshot do not fit into memory",
                       files->count);
    enum err_code rc = read_schemas(v, a, &s, e);
    if (rc)
        return rc;
    for (const struct json *f = files->first; f; f = f->next) {
        if (!read_file(f, &s, a, &s.files[s.file_count++]))
            return err_set(e, ERR_CORRUPT, "the fs process sent a file that cannot be read");
    }
    *out = s;
    return ERR_OK;
}

static enum err_code keep(struct control_client *c, const struct snapshot *s, struct err *e)
{
    struct kept *k = malloc(sizeof *k + s->file_count * sizeof k->files[0]);

    if (!k)
        return err_set(e, ERR_NOMEM, "no memory to remember a snapshot");
    *k = (struct kept){.id = s->id};
    for (size_t i = 0; i < s->file_count; i++) {
        if (!s->files[i].is_sealed)
            k->files[k->count++] = (struct kept_file){s->files[i].id, s->files[i].bytes};
    }
    LOCK_SCOPE(&c->lock);
    k->next = c->kept;
    c->kept = k;
    return ERR_OK;
}

static void forget_kept(struct control_client *c, uint64_t id)
{
    struct kept *k;

    pthread_mutex_lock(&c->lock);
    k = unlink_kept_locked(c, id);
    pthread_mutex_unlock(&c->lock);
    free(k);
}

/* It is our turn, so nobody says HELLO before this snapshot can be named in it.  *unread: one that
 * was given out, of which nobody will hear. */
static enum err_code take_snapshot(struct control_client *c, struct str wish, uint64_t deadline_ms,
                                   struct arena *a, struct snapshot *out, uint64_t *unread,
                                   struct err *e)
{
    struct arena scratch;
    struct json *reply = NULL;
    enum err_code rc = call(c, CONTROL_SNAPSHOT, wish, deadline_ms, e);

    if (rc)
        return rc;
    arena_init(&scratch, SNAPSHOT_MEMORY_MAX);
    rc = json_parse(buf_str(&c->reply.body), &scratch, &reply, e);
    if (!rc)
        rc = read_snapshot(reply, a, out, e);
    if (!rc)
        rc = keep(c, out, e);
    if (rc)
        json_u64(json_get(reply, "snapshot"), unread);
    arena_done(&scratch);
    return rc;
}

enum err_code control_snapshot(struct control_client *c, const uint64_t *streams, size_t count,
                               int64_t start_us, int64_t end_us, uint64_t deadline_ms,
                               struct arena *a, struct snapshot *out, struct err *e)
{
    uint64_t unread = 0;
    struct buf body;
    enum err_code rc;

    buf_init(&body, REPLY_MAX);
    write_wish(&body, streams, count, start_us, end_us);
    if (!buf_ok(&body))
        rc = err_set(e, ERR_NOMEM, "no memory to ask for a snapshot");
    else
        rc = take_turn(c, deadline_ms, e);
    if (!rc) {
        rc = take_snapshot(c, buf_str(&body), deadline_ms, a, out, &unread, e);
        give_turn_back(c);
    }
    if (unread)
        control_release(c, unread);
    buf_done(&body);
    return rc ? err_wrap(e, "snapshot") : ERR_OK;
}

static enum err_code release(struct control_client *c, uint64_t snapshot_id)
{
    struct arena scratch;
    struct json *reply;
    char body[48];
    int n = snprintf(body, sizeof body, "{\"snapshot\":%llu}", (unsigned long long)snapshot_id);
    enum err_code rc;

    arena_init(&scratch, HELLO_MEMORY_MAX);
    rc = control_call(c, CONTROL_RELEASE, (struct str){body, (size_t)n},
                      clock_mono_ms() + RELEASE_MS, &scratch, &reply, NULL);
    arena_done(&scratch);
    return rc;
}

/* Past OWED_MAX a lost release costs the fs process one entry until this gateway's epoch ends. */
static void owe(struct control_client *c, uint64_t snapshot_id)
{
    LOCK_SCOPE(&c->lock);
    if (c->owed_count < OWED_MAX)
        c->owed[c->owed_count++] = snapshot_id;
}

static bool take_owed(struct control_client *c, uint64_t *snapshot_id)
{
    LOCK_SCOPE(&c->lock);
    if (c->owed_count == 0)
        return false;
    *snapshot_id = c->owed[--c->owed_count];
    return true;
}

void control_release(struct control_client *c, uint64_t snapshot_id)
{
    forget_kept(c, snapshot_id);
    do {
        if (release(c, snapshot_id)) {
            owe(c, snapshot_id);
            return;
        }
    } while (take_owed(c, &snapshot_id));
}

/* fs/door/inlet.c - cuts what is written to an `ingest` file at its last newline.
 *
 * A handle is busy from the beginning of a call to its end.  A call that meets a busy handle is
 * kept, with a copy of its bytes, and runs after it: two processes that share a handle may write
 * and close it at the same time.
 *
 * The tail changes before the answer goes out.  So of a write that comes again the tail knows the
 * answer, or (killed between the journal and the tail) the journal does, or nothing was stored.
 */
#include "fs/door/inlet.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/utf8.h"

#define TAIL_JSON_MEMORY_MAX ((size_t)64 << 20)

enum call_kind { CALL_WRITE, CALL_FLUSH, CALL_RELEASE };

struct call {
    struct call *next;
    struct inlet *in;
    enum call_kind kind;
    struct inlet_call of;
    inlet_done done;
    void *ctx;
    size_t size;       /* of the write */
    struct str bytes;  /* of the write; of one that was asked: what follows its lines */
    size_t reserved;   /* of all tails, for this one */
    bool is_cancelled; /* (lock) while it was running */
    char copy[];       /* of them */
};

struct handle_state {
    struct call *running;
    struct call *first, *last; /* kept */
};

struct inlet {
    struct inlet_config cfg; /* immutable */
    size_t tail_max;
    pthread_mutex_t lock;
    struct handle_state handles[TAILS_SLOTS_MAX]; /* (lock) */
    size_t tails_shown;                           /* (lock) as GAUGE_INGEST_TAILS */
};

static void show_tails(struct inlet *in)
{
    LOCK_SCOPE(&in->lock);
    size_t now = tails_total(in->cfg.tails);
    if (now == in->tails_shown)
        return;
    status_count(in->cfg.status, GAUGE_INGEST_TAILS, (int64_t)now - (int64_t)in->tails_shown);
    in->tails_shown = now;
}

enum err_code inlet_new(const struct inlet_config *cfg, struct inlet **out, struct err *e)
{
    struct inlet *in = calloc(1, sizeof *in);

    if (!in)
        return err_set(e, ERR_NOMEM, "no memory for open ingest files");
    in->cfg = *cfg;
    in->tail_max = cfg->line_max_bytes < TAIL_BYTES_MAX ? cfg->line_max_bytes : TAIL_BYTES_MAX;
    pthread_mutex_init(&in->lock, NULL);
    status_count(cfg->status, GAUGE_INGEST_HANDLES, (int64_t)tails_count(cfg->tails));
    show_tails(in);
    *out = in;
    return ERR_OK;
}

void inlet_free(struct inlet *in)
{
    if (!in)
        return;
    pthread_mutex_destroy(&in->lock);
    free(in);
}

bool inlet_open(struct inlet *in, uint64_t request, bool is_resent, uint64_t *handle)
{
    enum tails_taken taken = tails_take(in->cfg.tails, request, is_resent, handle);

    if (taken == TAILS_NEW)
        status_count(in->cfg.status, GAUGE_INGEST_HANDLES, 1);
    return taken != TAILS_FULL;
}

/* ---- the end of a call ---- */

static enum status_counter refusal(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
        return COUNT_INGEST_INVALID;
    case ERR_AGAIN:
    case ERR_NOMEM:
        return COUNT_INGEST_BUSY;
    case ERR_FULL:
        return COUNT_INGEST_FULL;
    case ERR_TOOBIG:
        return COUNT_INGEST_TOOBIG;
    case ERR_GONE:
        return COUNT_INGEST_GONE;
    case ERR_CANCELLED:
        return COUNT_INGEST_INTERRUPTED;
    default:
        return COUNT_INGEST_FAILED;
    }
}

static void report(struct inlet *in, const struct inlet_call *of, const char *what,
                   struct str message)
{
    char text[ERR_MSG_MAX + 600];
    int n = snprintf(text, sizeof text, STR_FMT "/" STR_FMT ": %s: " STR_FMT, STR_ARG(of->org),
                     STR_ARG(of->name), what, STR_ARG(message));

    status_report(in->cfg.status, STR("ingest"),
                  (struct str){text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1});
}

/* What is refused for the moment is counted; the others are also reported. */
static void note_refused(struct inlet *in, const struct inlet_call *of, enum err_code code,
                         struct str message)
{
    status_count(in->cfg.status, refusal(code), 1);
    if (code != ERR_AGAIN && code != ERR_NOMEM && code != ERR_CANCELLED)
        report(in, of, err_name(code), message);
}

static struct call *next_call(struct inlet *in, uint64_t handle)
{
    struct handle_state *h = &in->handles[tails_slot(handle)];
    struct call *next;

    LOCK_SCOPE(&in->lock);
    next = h->running = h->first;
    if (!next)
        return NULL;
    h->first = next->next;
    if (!h->first)
        h->last = NULL;
    return next;
}

static void run(struct call *c);

/* Where a call that ends within run_all leaves the next one, so that many do not nest. */
static _Thread_local struct call **next_to_run;

static void run_all(struct call *c)
{
    for (struct call *next; c; c = next) {
        next = NULL;
        next_to_run = &next;
        run(c);
        next_to_run = NULL;
    }
}

/* Answer, then let the next call have the handle. */
static void end(struct call *c, enum err_code code)
{
    struct inlet *in = c->in;
    uint64_t handle = c->of.handle;
    struct call *next;

    tails_unreserve(in->cfg.tails, c->reserved);
    show_tails(in);
    c->done(code, c->size, c->ctx);
    next = next_call(in, handle);
    free(c);
    if (next_to_run)
        *next_to_run = next;
    else
        run_all(next);
}

static void refuse(struct call *c, enum err_code code, const char *message)
{
    note_refused(c->in, &c->of, code, str_from(message));
    end(c, code);
}

/* ---- writes ---- */

/* Before anything is stored: afterwards the tail has to be taken, so also of what is sent again. */
static bool reserve(struct call *c, size_t bytes)
{
    if (bytes > c->in->tail_max) /* will be refused for that */
        return true;
    if (!tails_reserve(c->in->cfg.tails, bytes, c->of.is_resent)) {
        refuse(c, ERR_AGAIN, "unfinished lines are as long as they may be (WEIR_INGEST_TAILS_MAX)");
        return false;
    }
    c->reserved = bytes;
    return true;
}

static void end_too_long(struct call *c)
{
    char message[96];

    tails_replace(c->in->cfg.tails, c->of.handle, STR(""), c->of.request, ERR_INVALID);
    snprintf(message, sizeof message, "an unfinished line is longer than %zu bytes (WEIR_LINE_MAX)",
             c->in->tail_max);
    refuse(c, ERR_INVALID, message);
}

/* The lines are stored, or those before a bad one. */
static void end_stored(struct call *c, enum err_code code, struct str message)
{
    struct inlet *in = c->in;

    if (code == ERR_OK && c->bytes.len > in->tail_max) {
        end_too_long(c);
        return;
    }
    if (code == ERR_OK) {
        tails_replace(in->cfg.tails, c->of.handle, c->bytes, c->of.request, code);
        c->reserved = 0;
    } else if (code == ERR_INVALID) {
        tails_replace(in->cfg.tails, c->of.handle, STR(""), c->of.request, code);
    }
    if (code)
        note_refused(in, &c->of, code, message);
    end(c, code);
}

static void take_answer(const struct door_answer *a, void *ctx)
{
    struct call *c = ctx;

    status_count(c->in->cfg.status, COUNT_INGEST_LINES, a->lines);
    end_stored(c, a->code, a->message);
}

/* Is that request running, and was it cancelled?  It may have ended. */
static bool is_cancelled(struct inlet *in, uint64_t handle, uint64_t request)
{
    LOCK_SCOPE(&in->lock);
    const struct call *c = in->handles[tails_slot(handle)].running;
    return c && c->of.request == request && c->is_cancelled;
}

static void ask(struct call *c, const struct str lines[2], door_done done)
{
    struct inlet *in = c->in;
    uint64_t handle = c->of.handle, request = c->of.request;
    struct door_ask question = {.stream = c->of.stream,
                                .mount = in->cfg.mount,
                                .request = request,
                                .org = c->of.org,
                                .name = c->of.name};
    struct err e = {0};
    enum err_code rc = c->of.stream
                           ? door_ask(in->cfg.door, DOOR_LINES, &question, lines, done, c, &e)
                           : err_set(&e, ERR_STALE, "the stream is deleted");

    if (rc)
        refuse(c, rc, e.msg);
    else if (is_cancelled(in, handle, request)) /* before the door could find it */
        door_cancel(in->cfg.door, request);
}

static void write_lines(struct call *c, const struct tail *tail, size_t lines_len)
{
    const struct str lines[2] = {tail->bytes, {c->bytes.ptr, lines_len}};
    enum err_code known;

    c->bytes.ptr += lines_len;
    c->bytes.len -= lines_len;
    if (!reserve(c, c->bytes.len))
        return;
    if (c->of.is_resent && journal_request_find(c->in->cfg.journal, c->of.request, &known)) {
        status_count(c->in->cfg.status, COUNT_INGEST_RESENT, 1);
        end_stored(c, known, STR("a line of a write that was sent again"));
        return;
    }
    ask(c, lines, take_answer);
}

static void write_tail(struct call *c, const struct tail *tail)
{
    if (tail->bytes.len + c->bytes.len > c->in->tail_max) {
        end_too_long(c);
        return;
    }
    if (!reserve(c, c->bytes.len))
        return;
    tails_append(c->in->cfg.tails, c->of.handle, c->bytes, c->of.request, ERR_OK);
    c->reserved = 0;
    end(c, ERR_OK);
}

static void run_write(struct call *c, const struct tail *tail)
{
    const char *newline = memrchr(c->bytes.ptr, '\n', c->bytes.len);

    status_count(c->in->cfg.status, COUNT_INGEST_WRITES, 1);
    status_count(c->in->cfg.status, COUNT_INGEST_BYTES, (int64_t)c->bytes.len);
    if (c->of.is_resent && tail->request == c->of.request) {
        status_count(c->in->cfg.status, COUNT_INGEST_RESENT, 1);
        end(c, tail->answer);
    } else if (newline) {
        write_lines(c, tail, (size_t)(newline - c->bytes.ptr) + 1);
    } else {
        write_tail(c, tail);
    }
}

/* ---- flushes and releases ---- */

static bool is_whole(struct str tail)
{
    struct arena arena;
    struct json *v;
    bool whole = false;

    if (str_starts(tail, STR(UTF8_BOM)))
        tail = (struct str){tail.ptr + sizeof UTF8_BOM - 1, tail.len - (sizeof UTF8_BOM - 1)};
    tail = str_trim(tail);
    if (tail.len < 2 || tail.ptr[0] != '{' || tail.ptr[tail.len - 1] != '}')
        return false;
    arena_init(&arena, TAIL_JSON_MEMORY_MAX);
    whole = json_parse(tail, &arena, &v, NULL) == ERR_OK && v->type == JSON_OBJECT;
    arena_done(&arena);
    return whole;
}

/* The tail was a line.  What the last write was answered stays known. */
static void take_flushed(const struct door_answer *a, void *ctx)
{
    struct call *c = ctx;
    struct tails *tails = c->in->cfg.tails;
    struct tail tail;

    status_count(c->in->cfg.status, COUNT_INGEST_LINES, a->lines);
    if ((a->code == ERR_OK || a->code == ERR_INVALID) && tails_get(tails, c->of.handle, &tail))
        tails_replace(tails, c->of.handle, STR(""), tail.request, tail.answer);
    if (a->code)
        note_refused(c->in, &c->of, a->code, a->message);
    end(c, a->code);
}

static void run_flush(struct call *c, const struct tail *tail)
{
    const struct str lines[2] = {tail->bytes, STR("\n")};
    struct door_answer known = {.message = STR("a line of a close that was sent again")};

    if (!is_whole(tail->bytes))
        end(c, ERR_OK);
    else if (c->of.is_resent &&
             journal_request_find(c->in->cfg.journal, c->of.request, &known.code))
        take_flushed(&known, c);
    else
        ask(c, lines, take_flushed);
}

static void run_release(struct call *c, const struct tail *tail)
{
    struct inlet *in = c->in;
    char message[96];

    if (tail->bytes.len > 0) {
        status_count(in->cfg.status, COUNT_INGEST_TAILS_DROPPED, 1);
        status_count(in->cfg.status, COUNT_INGEST_TAIL_BYTES_DROPPED, (int64_t)tail->bytes.len);
        snprintf(message, sizeof message, "%zu bytes after the last newline are no whole object",
                 tail->bytes.len);
        report(in, &c->of, "dropped at the last close", str_from(message));
    }
    tails_give(in->cfg.tails, c->of.handle);
    status_count(in->cfg.status, GAUGE_INGEST_HANDLES, -1);
    end(c, ERR_OK);
}

/* ---- one at a time ---- */

static void run(struct call *c)
{
    struct tail tail;

    if (!tails_get(c->in->cfg.tails, c->of.handle, &tail)) {
        /* a release that was sent again has been done; nothing else comes for such a handle */
        end(c, c->kind == CALL_RELEASE ? ERR_OK : ERR_STALE);
        return;
    }
    switch (c->kind) {
    case CALL_WRITE:
        run_write(c, &tail);
        break;
    case CALL_FLUSH:
        run_flush(c, &tail);
        break;
    case CALL_RELEASE:
        run_release(c, &tail);
        break;
    }
}

/* True: the handle is the call's now. */
static bool begin_or_keep(struct call *c)
{
    struct handle_state *h = &c->in->handles[tails_slot(c->of.handle)];

    LOCK_SCOPE(&c->in->lock);
    if (!h->running) {
        h->running = c;
        return true;
    }
    if (h->last)
        h->last->next = c;
    else
        h->first = c;
    h->last = c;
    return false;
}

static void start(struct inlet *in, enum call_kind kind, const struct inlet_call *of,
                  struct str bytes, inlet_done done, void *ctx)
{
    struct call *c = NULL;

    if (tails_slot(of->handle) < TAILS_SLOTS_MAX)
        c = malloc(sizeof *c + bytes.len);
    if (!c) {
        done(tails_slot(of->handle) < TAILS_SLOTS_MAX ? ERR_NOMEM : ERR_STALE, 0, ctx);
        return;
    }
    *c = (struct call){.in = in,
                       .kind = kind,
                       .of = *of,
                       .done = done,
                       .ctx = ctx,
                       .size = bytes.len,
                       .bytes = {c->copy, bytes.len}};
    if (bytes.len)
        memcpy(c->copy, bytes.ptr, bytes.len);
    if (begin_or_keep(c))
        run_all(c);
}

void inlet_write(struct inlet *in, const struct inlet_call *call, struct str bytes, inlet_done done,
                 void *ctx)
{
    start(in, CALL_WRITE, call, bytes, done, ctx);
}

void inlet_flush(struct inlet *in, const struct inlet_call *call, inlet_done done, void *ctx)
{
    start(in, CALL_FLUSH, call, STR(""), done, ctx);
}

void inlet_release(struct inlet *in, const struct inlet_call *call, inlet_done done, void *ctx)
{
    start(in, CALL_RELEASE, call, STR(""), done, ctx);
}

/* ---- interrupts ---- */

static struct call *take_kept_locked(struct handle_state *h, uint64_t request)
{
    struct call **at = &h->first, *before = NULL, *c;

    while (*at && (*at)->of.request != request) {
        before = *at;
        at = &before->next;
    }
    c = *at;
    if (!c)
        return NULL;
    *at = c->next;
    if (h->last == c)
        h->last = before;
    return c;
}

/* The call when it was kept, which is the caller's then. */
static struct call *find_cancelled(struct inlet *in, uint64_t request)
{
    LOCK_SCOPE(&in->lock);
    for (size_t i = 0; i < TAILS_SLOTS_MAX; i++) {
        struct handle_state *h = &in->handles[i];
        struct call *c = h->running;
        if (!c)
            continue;
        if (c->of.request != request) {
            c = take_kept_locked(h, request);
            if (c)
                return c;
            continue;
        }
        c->is_cancelled = true;
        return NULL;
    }
    return NULL;
}

void inlet_cancel(struct inlet *in, uint64_t request)
{
    struct call *kept = find_cancelled(in, request);

    if (!kept) {
        door_cancel(in->cfg.door, request);
        return;
    }
    note_refused(in, &kept->of, ERR_CANCELLED, STR("interrupted"));
    kept->done(ERR_CANCELLED, kept->size, kept->ctx);
    free(kept);
}

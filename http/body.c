/* http/body.c - the budget of body memory, and when a body leaves memory for the spool. */
#include "http/body.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/metrics.h"

#define BODY_START_BYTES ((size_t)256)    /* the least for what comes */
#define BODY_ROOM_BYTES ((size_t)4 << 10) /* the least for what is made */

/* Eighths of the budget (body.h). */
enum share { SHARE_DECLARED = 4, SHARE_COME = 6, SHARE_WHOLE = 7, SHARE_PIECE = 8 };

struct body_pool {
    struct body_pool_config cfg;           /* immutable */
    struct metric_child *refused, *in_use; /* immutable */
    pthread_mutex_t lock;                  /* guards the rest */
    uint64_t charged_bytes;
    struct buf kept[BODY_POOL_BUFFERS];
    size_t kept_count;
    struct body_waiter *waiting, **waiting_end; /* in the order they came */
    bool is_stopped;                            /* nobody waits any more */
};

static const struct metric_desc REFUSED = {
    .name = "zo_http_body_memory_refused",
    .help = "Requests answered 503 because bodies in memory met WEIR_INGEST_MEMORY_MAX.",
    .type = METRIC_COUNTER,
};
static const struct metric_desc IN_USE = {
    .name = "zo_http_body_memory_bytes",
    .help = "Memory charged for request bodies.",
    .type = METRIC_GAUGE,
};

struct body_pool *body_pool_new(const struct body_pool_config *cfg)
{
    struct body_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->cfg = *cfg;
    if (p->cfg.memory_max_bytes > cfg->total_bytes / 2)
        p->cfg.memory_max_bytes = (size_t)(cfg->total_bytes / 2);
    p->refused = metric_only(metrics_register(&REFUSED));
    p->in_use = metric_only(metrics_register(&IN_USE));
    p->waiting_end = &p->waiting;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void body_pool_free(struct body_pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->kept_count; i++)
        buf_done(&p->kept[i]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- the budget ---- */

/* So that the buffer may have this capacity; of the budget at most `share`. */
static bool charge(struct body *b, size_t cap_bytes, uint64_t share)
{
    struct body_pool *p = b->pool;
    if (cap_bytes <= b->charged_bytes)
        return true;
    LOCK_SCOPE(&p->lock);
    uint64_t extra = cap_bytes - b->charged_bytes;
    if (p->charged_bytes > share || extra > share - p->charged_bytes)
        return false;
    p->charged_bytes += extra;
    b->charged_bytes = cap_bytes;
    metric_set(p->in_use, (double)p->charged_bytes);
    return true;
}

static enum err_code refuse(struct body *b, struct err *e)
{
    metric_add(b->pool->refused, 1);
    return err_set(e, ERR_AGAIN,
                   "request bodies in memory are at their limit (WEIR_INGEST_MEMORY_MAX)");
}

/* The smallest kept buffer that holds `want`, if there is one and the budget has it. */
static void take_kept(struct body *b, size_t want)
{
    struct body_pool *p = b->pool;
    size_t best = SIZE_MAX;
    LOCK_SCOPE(&p->lock);
    for (size_t i = 0; i < p->kept_count; i++)
        if (p->kept[i].cap >= want && (best == SIZE_MAX || p->kept[i].cap < p->kept[best].cap))
            best = i;
    if (best == SIZE_MAX ||
        p->charged_bytes + p->kept[best].cap > p->cfg.total_bytes / 8 * SHARE_DECLARED)
        return;
    b->buf = p->kept[best];
    p->kept[best] = p->kept[--p->kept_count];
    p->charged_bytes += b->buf.cap;
    b->charged_bytes = b->buf.cap;
}

/* ---- who waits for memory ---- */

static size_t buffer_max(const struct body *b)
{
    size_t most = b->pool->cfg.memory_max_bytes;
    return b->is_large && most > BODY_STEP_BYTES ? BODY_STEP_BYTES : most;
}

static uint64_t memory_left_locked(const struct body_pool *p)
{
    uint64_t most = p->cfg.total_bytes / 8 * SHARE_PIECE;
    return most > p->charged_bytes ? most - p->charged_bytes : 0;
}

/* Those at the front that there is memory for by now. */
static void wake_waiting(struct body_pool *p)
{
    struct body_waiter *woken = NULL, **end = &woken;
    pthread_mutex_lock(&p->lock);
    uint64_t left = memory_left_locked(p);
    while (p->waiting && (p->is_stopped || p->waiting->need_bytes <= left)) {
        left -= p->is_stopped ? 0 : p->waiting->need_bytes;
        *end = p->waiting;
        end = &p->waiting->next;
        p->waiting = p->waiting->next;
        *end = NULL;
    }
    if (!p->waiting)
        p->waiting_end = &p->waiting;
    pthread_mutex_unlock(&p->lock);
    while (woken) {
        struct body_waiter *w = woken;
        woken = w->next; /* it may be gone when it has been woken */
        w->wake(w);
    }
}

void body_pool_stop(struct body_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_stopped = true;
    pthread_mutex_unlock(&p->lock);
    wake_waiting(p);
}

void body_wait(struct body *b, struct body_waiter *w, size_t len)
{
    struct body_pool *p = b->pool;
    b->is_large = true; /* it goes to the spool in steps */
    w->next = NULL;
    if (len > buffer_max(b))
        len = buffer_max(b);
    w->need_bytes = len < BODY_START_BYTES ? BODY_START_BYTES : len;
    pthread_mutex_lock(&p->lock);
    *p->waiting_end = w;
    p->waiting_end = &w->next;
    pthread_mutex_unlock(&p->lock);
    wake_waiting(p);
}

/* The buffer's memory goes back: to the kept ones, if it is fit to be kept. */
static void give_buffer(struct body *b)
{
    struct body_pool *p = b->pool;
    buf_clear(&b->buf);
    pthread_mutex_lock(&p->lock);
    p->charged_bytes -= b->charged_bytes;
    metric_set(p->in_use, (double)p->charged_bytes);
    bool keep = b->buf.cap > 0 && b->buf.cap <= BODY_POOL_CAP && p->kept_count < BODY_POOL_BUFFERS;
    if (keep)
        p->kept[p->kept_count++] = b->buf;
    pthread_mutex_unlock(&p->lock);
    if (!keep)
        buf_done(&b->buf);
    b->buf = (struct buf){0};
    b->charged_bytes = 0;
    b->is_lent = false;
    wake_waiting(p);
}

/* ---- growing ---- */

/* No more than the buffer has. */
static void uncharge(struct body *b)
{
    struct body_pool *p = b->pool;
    LOCK_SCOPE(&p->lock);
    p->charged_bytes -= b->charged_bytes - b->buf.cap;
    b->charged_bytes = b->buf.cap;
    metric_set(p->in_use, (double)p->charged_bytes);
}

static bool allocate(struct body *b, size_t cap, enum share share)
{
    if (share > SHARE_COME && cap > BODY_STEP_BYTES)
        share = SHARE_COME;
    if (!charge(b, cap, b->pool->cfg.total_bytes / 8 * share))
        return false;
    b->buf.max = cap;
    bool ok = buf_reserve(&b->buf, cap - b->buf.len);
    b->buf.failed = false;
    if (!ok)
        uncharge(b);
    return ok;
}

/* Makes the buffer larger than it is, to what is useful for `need` bytes, else to just them.
 * False: no more may be had, now or at all. */
static bool grow(struct body *b, size_t need, enum share share)
{
    size_t most = buffer_max(b), cap = b->buf.cap * 2;
    if (b->buf.cap >= most)
        return false;
    if (need > most)
        need = most;
    if (cap < need)
        cap = need;
    if (cap > most)
        cap = most;
    return allocate(b, cap, share) || (need < cap && allocate(b, need, share));
}

void body_open(struct body_pool *p, struct body *b, uint64_t expected, size_t max)
{
    *b = (struct body){.pool = p,
                       .expected_bytes = expected,
                       .max_bytes = max,
                       .is_large = expected > p->cfg.memory_max_bytes};
    size_t most = buffer_max(b), want = expected < most ? (size_t)expected : most;
    take_kept(b, want);
    if (b->buf.cap == 0 && want > 0)
        allocate(b, want, SHARE_DECLARED);
}

static void grow_for_more(struct body *b, size_t more)
{
    size_t need = b->buf.len + more;
    bool is_whole = b->file.bytes + need == b->expected_bytes;
    if (need < BODY_START_BYTES)
        need = BODY_START_BYTES;
    if (!grow(b, need, is_whole ? SHARE_WHOLE : SHARE_COME) && grow(b, need, SHARE_PIECE))
        b->is_lent = true;
}

enum err_code body_add(struct body *b, struct str bytes, size_t *taken, struct err *e)
{
    size_t len = (size_t)b->file.bytes + b->buf.len;
    if (bytes.len > b->max_bytes - len)
        return err_set(e, ERR_TOOBIG, "body is larger than %zu bytes", b->max_bytes);
    if (bytes.len > b->buf.cap - b->buf.len)
        grow_for_more(b, bytes.len);
    size_t room = b->buf.cap - b->buf.len;
    *taken = bytes.len < room ? bytes.len : room;
    buf_add(&b->buf, bytes.ptr, *taken);
    return ERR_OK;
}

enum err_code body_flush(struct body *b, struct err *e)
{
    enum err_code rc = ERR_OK;
    if (!body_is_spooled(b))
        rc = spool_file_open(b->pool->cfg.spool, &b->file, e);
    if (!rc)
        rc = spool_file_add(&b->file, buf_str(&b->buf), e);
    if (rc)
        return rc;
    b->is_large = true;
    if (b->buf.cap > BODY_POOL_CAP || b->is_lent)
        give_buffer(b);
    buf_clear(&b->buf);
    return ERR_OK;
}

static bool grow_room(struct body *b)
{
    size_t need = b->buf.len + 1;
    return grow(b, need > BODY_ROOM_BYTES ? need : BODY_ROOM_BYTES, SHARE_WHOLE);
}

bool body_grow(struct body *b)
{
    return b->buf.len == 0 || b->buf.len < b->buf.cap || grow_room(b);
}

enum err_code body_room(struct body *b, char **to, size_t *room, struct err *e)
{
    enum err_code rc = body_grow(b) ? ERR_OK : body_flush(b, e);
    if (rc)
        return rc;
    if (b->buf.cap == 0 && !grow_room(b))
        return refuse(b, e);
    *to = b->buf.data + b->buf.len;
    *room = b->buf.cap - b->buf.len;
    return ERR_OK;
}

void body_made(struct body *b, size_t n)
{
    b->buf.len += n;
    b->buf.data[b->buf.len] = '\0';
}

enum err_code body_view(struct body *b, struct str *out, struct err *e)
{
    *out = buf_str(&b->buf);
    if (!body_is_spooled(b))
        return ERR_OK;
    enum err_code rc = b->buf.len > 0 ? body_flush(b, e) : ERR_OK;
    if (rc)
        return rc;
    give_buffer(b);
    return spool_file_view(&b->file, out, e);
}

void body_done(struct body *b)
{
    if (!b->pool)
        return;
    give_buffer(b);
    spool_file_close(&b->file);
    *b = (struct body){0};
}

/* http/body.c - the budget of body memory and the buffers that outlive a request. */
#include "http/body.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/metrics.h"

#define BODY_STEP_MIN ((size_t)4 << 10)

struct body_pool {
    uint64_t total_bytes;                  /* immutable */
    struct metric_child *refused, *in_use; /* immutable */
    pthread_mutex_t lock;                  /* guards the rest */
    uint64_t charged_bytes;
    struct buf kept[BODY_POOL_BUFFERS];
    size_t kept_count;
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

struct body_pool *body_pool_new(uint64_t total_bytes)
{
    struct body_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->total_bytes = total_bytes;
    p->refused = metric_only(metrics_register(&REFUSED));
    p->in_use = metric_only(metrics_register(&IN_USE));
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

enum err_code body_charge(struct body *b, size_t cap_bytes, struct err *e)
{
    struct body_pool *p = b->pool;
    if (cap_bytes <= b->charged_bytes)
        return ERR_OK;
    uint64_t extra = cap_bytes - b->charged_bytes;
    pthread_mutex_lock(&p->lock);
    size_t own = b->charged_bytes + (b->beside ? b->beside->charged_bytes : 0);
    bool alone = p->charged_bytes == own;
    bool fits = p->charged_bytes + extra <= p->total_bytes || alone;
    if (fits) {
        p->charged_bytes += extra;
        b->charged_bytes = cap_bytes;
    }
    uint64_t now = p->charged_bytes;
    pthread_mutex_unlock(&p->lock);
    if (!fits) {
        metric_add(p->refused, 1);
        return err_set(e, ERR_AGAIN,
                       "request bodies in memory are at their limit (WEIR_INGEST_MEMORY_MAX)");
    }
    metric_set(p->in_use, (double)now);
    return ERR_OK;
}

/* The smallest kept buffer that holds `want`, else the largest. */
static void take_kept(struct body_pool *p, size_t want, struct buf *out)
{
    size_t best = 0;
    LOCK_SCOPE(&p->lock);
    if (p->kept_count == 0)
        return;
    for (size_t i = 1; i < p->kept_count; i++) {
        size_t cap = p->kept[i].cap, best_cap = p->kept[best].cap;
        bool better = best_cap >= want ? cap >= want && cap < best_cap : cap > best_cap;
        if (better)
            best = i;
    }
    *out = p->kept[best];
    p->kept[best] = p->kept[--p->kept_count];
}

enum err_code body_open(struct body_pool *p, struct body *b, const struct body *beside,
                        size_t declared, size_t max, struct err *e)
{
    *b = (struct body){.pool = p, .beside = beside, .max_bytes = max};
    size_t want = declared ? declared : BODY_STEP_MIN;
    enum err_code rc = body_charge(b, want, e);
    if (rc != ERR_OK)
        return rc;
    take_kept(p, want, &b->buf);
    b->buf.max = max > b->buf.cap ? max : b->buf.cap; /* a kept one may be larger */
    if (!buf_reserve(&b->buf, want)) {
        body_done(b);
        return err_set(e, ERR_NOMEM, "no memory for a body of %zu bytes", want);
    }
    return ERR_OK;
}

enum err_code body_add(struct body *b, const void *p, size_t n, struct err *e)
{
    size_t need = b->buf.len + n;
    if (need < n || need > b->max_bytes)
        return err_set(e, ERR_TOOBIG, "body is larger than %zu bytes", b->max_bytes);
    if (need > b->charged_bytes) {
        size_t cap = b->charged_bytes * 2 > need ? b->charged_bytes * 2 : need;
        enum err_code rc = body_charge(b, cap < b->max_bytes ? cap : b->max_bytes, e);
        if (rc != ERR_OK)
            return rc;
    }
    buf_add(&b->buf, p, n);
    return buf_ok(&b->buf) ? ERR_OK
                           : err_set(e, ERR_NOMEM, "no memory for a body of %zu bytes", need);
}

void body_done(struct body *b)
{
    struct body_pool *p = b->pool;
    if (!p)
        return;
    buf_clear(&b->buf);
    pthread_mutex_lock(&p->lock);
    p->charged_bytes -= b->charged_bytes;
    uint64_t now = p->charged_bytes;
    bool keep = b->buf.cap > 0 && b->buf.cap <= BODY_POOL_CAP && p->kept_count < BODY_POOL_BUFFERS;
    if (keep)
        p->kept[p->kept_count++] = b->buf;
    pthread_mutex_unlock(&p->lock);
    metric_set(p->in_use, (double)now);
    if (!keep)
        buf_done(&b->buf);
    *b = (struct body){0};
}

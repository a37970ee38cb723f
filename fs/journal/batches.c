/* fs/journal/batches.c - the states of batches, by worker.
 *
 *            part 0            parts 1 … last          synced past done_position
 *   (none) ─────────► open ───────────────► complete ───────────────────────────► answered
 *                      │ │                     │
 *                      │ └─ a part missing:    └─ sync failed, and so did the copy elsewhere:
 *                      │    AGAIN, still open     answered ERR_IO
 *                      └─ dropped: a higher number or newer epoch came, or its frames were lost
 *
 * The same number again is answered as the first was, or waits with it; a part that is in already
 * is answered and not applied.  One batch at a time per worker, so one attempt is enough.
 */
#include "fs/journal/batches.h"

#include <inttypes.h>
#include <stdlib.h>

enum { REFS_MIN = 4 };

struct attempt *attempt_new(const struct batch_id *id, uint64_t serial)
{
    struct attempt *a = calloc(1, sizeof *a);
    if (a) {
        a->id = *id;
        a->serial = serial;
    }
    return a;
}

void attempt_free(struct attempt *a)
{
    if (a)
        free(a->refs);
    free(a);
}

bool attempt_reserve(struct attempt *a, size_t more)
{
    size_t cap = a->cap ? a->cap : REFS_MIN;
    while (cap < a->count + more)
        cap *= 2;
    if (cap == a->cap)
        return true;
    struct run_ref *refs = realloc(a->refs, cap * sizeof *refs);
    if (!refs)
        return false;
    a->refs = refs;
    a->cap = cap;
    return true;
}

bool batches_init(struct batches *b)
{
    *b = (struct batches){.next_serial = 1};
    b->workers = calloc(JOURNAL_WORKERS_MAX, sizeof *b->workers);
    return b->workers != NULL;
}

void batches_done(struct batches *b)
{
    if (b->workers)
        batches_drop_open(b);
    free(b->workers);
    requests_done(&b->requests);
}

void batches_drop_open(struct batches *b)
{
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        attempt_free(b->workers[i].open);
        b->workers[i].open = NULL;
    }
}

/* Lines are appended in order, so an attempt's first are in its oldest segment. */
static uint32_t oldest_of(const struct attempt *a)
{
    return a && a->count > 0 ? a->refs[0].seq : UINT32_MAX;
}

uint32_t batches_oldest(const struct batches *b)
{
    uint32_t oldest = UINT32_MAX;
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        uint32_t seq = oldest_of(b->workers[i].open);
        if (seq < oldest)
            oldest = seq;
    }
    return oldest;
}

void batches_drop_from(struct batches *b, uint32_t seq)
{
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        struct worker *w = &b->workers[i];
        if (oldest_of(w->open) > seq)
            continue;
        attempt_free(w->open);
        w->open = NULL;
    }
}

/* A number that was completed before, or is older than one. */
static enum admit admit_known(const struct worker *w, const struct batch_part *p,
                              uint64_t *position, enum err_code *code, struct err *e)
{
    if (p->id.number < w->number) {
        *code =
            err_set(e, ERR_STALE, "batch %" PRIu64 " of worker %" PRIu32 " is older than %" PRIu64,
                    p->id.number, p->id.worker, w->number);
        return ADMIT_ANSWER;
    }
    *code = w->answer;
    if (w->answer != ERR_OK) {
        err_set(e, w->answer, "batch %" PRIu64 " of worker %" PRIu32 " failed before", p->id.number,
                p->id.worker);
        return ADMIT_ANSWER;
    }
    *position = w->done_position;
    return p->flags & BATCH_LAST ? ADMIT_WAIT : ADMIT_ANSWER;
}

enum admit batches_admit(const struct batches *b, const struct batch_part *p, uint64_t *position,
                         enum err_code *code, struct err *e)
{
    *code = ERR_OK;
    if (p->id.worker >= JOURNAL_WORKERS_MAX || p->id.number == 0 || p->run_count == 0) {
        *code = err_set(e, ERR_INVALID, "batch %" PRIu64 " of worker %" PRIu32 " with %zu runs",
                        p->id.number, p->id.worker, p->run_count);
        return ADMIT_ANSWER;
    }
    if (p->id.epoch != b->epoch) {
        *code = err_set(e, ERR_STALE, "epoch %" PRIu64 " is over: it is %" PRIu64 " now",
                        p->id.epoch, b->epoch);
        return ADMIT_ANSWER;
    }
    const struct worker *w = &b->workers[p->id.worker];
    if (w->epoch == p->id.epoch && p->id.number <= w->number)
        return admit_known(w, p, position, code, e);
    enum err_code of_request; /* for the write; the batch's answer is that its lines are in */
    if (requests_find(&b->requests, p->request.mount, p->request.number, &of_request, position))
        return p->flags & BATCH_LAST ? ADMIT_WAIT : ADMIT_ANSWER;
    uint32_t next = w->open && w->open->id.number == p->id.number ? w->open->next_part : 0;
    if (p->part < next)
        return ADMIT_ANSWER; /* in already */
    if (p->part > next) {
        *code = err_set(e, ERR_AGAIN, "part %" PRIu32 " of a batch came before part %" PRIu32,
                        p->part, next);
        return ADMIT_ANSWER;
    }
    return ADMIT_APPLY;
}

struct attempt *batches_attempt(struct batches *b, const struct batch_part *p)
{
    struct worker *w = &b->workers[p->id.worker];
    if (w->open && w->open->id.number == p->id.number)
        return w->open;
    attempt_free(w->open);
    w->open = attempt_new(&p->id, b->next_serial);
    if (w->open)
        b->next_serial++;
    return w->open;
}

struct attempt *batches_open(const struct batches *b, const struct batch_id *id)
{
    struct attempt *a = id->worker < JOURNAL_WORKERS_MAX ? b->workers[id->worker].open : NULL;
    return a && a->id.epoch == id->epoch && a->id.number == id->number ? a : NULL;
}

/* Without memory the request is not known, and a write that comes again is stored again. */
void batches_complete(struct batches *b, const struct batch_id *id,
                      const struct batch_request *request, uint64_t position)
{
    struct worker *w = &b->workers[id->worker];
    if (request)
        requests_add(&b->requests, request, position);
    attempt_free(w->open);
    *w = (struct worker){
        .epoch = id->epoch, .number = id->number, .answer = ERR_OK, .done_position = position};
}

void batches_fail_after(struct batches *b, uint64_t synced)
{
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        if (b->workers[i].done_position > synced)
            b->workers[i].answer = ERR_IO;
    }
    requests_fail_after(&b->requests, synced);
    batches_drop_open(b);
}

void batches_new_epoch(struct batches *b, uint64_t epoch)
{
    if (epoch <= b->epoch)
        return;
    batches_drop_open(b);
    memset(b->workers, 0, JOURNAL_WORKERS_MAX * sizeof *b->workers);
    b->epoch = epoch;
}

void batches_relocate(struct batches *b, const struct relocation *list, size_t count)
{
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        struct attempt *a = b->workers[i].open;
        for (size_t k = 0; a && k < a->count; k++)
            relocate(list, count, &a->refs[k].seq, &a->refs[k].at);
    }
}

void batches_encode_last(const struct batches *b, uint64_t synced, struct buf *out)
{
    char record[WORKER_LAST_LEN];
    for (uint32_t i = 0; i < JOURNAL_WORKERS_MAX; i++) {
        const struct worker *w = &b->workers[i];
        if (w->number == 0 || w->done_position > synced)
            continue;
        worker_last_encode(record, &(struct worker_last){w->epoch, w->number, i, w->answer});
        buf_add(out, record, sizeof record);
    }
}

bool batches_decode_last(struct batches *b, struct str records)
{
    struct worker_last last;
    for (size_t at = 0; at + WORKER_LAST_LEN <= records.len; at += WORKER_LAST_LEN) {
        if (!worker_last_decode(records.ptr + at, &last) || last.worker >= JOURNAL_WORKERS_MAX)
            return false;
        struct worker *w = &b->workers[last.worker];
        if (last.epoch < w->epoch || (last.epoch == w->epoch && last.number <= w->number))
            continue;
        w->epoch = last.epoch;
        w->number = last.number;
        w->answer = last.answer;
    }
    return true;
}

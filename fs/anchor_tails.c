/* fs/anchor_tails.c - slots in shared memory, each changed by one store.
 *
 * Layout, in the byte order of the machine (it never leaves it):
 *   TAILS_SLOTS_MAX heads of 128 bytes:
 *       0  u64 owner: number of the OPEN (0: free)    8  u64 flips
 *      16  u32 takes   20  u32 touched
 *      24  two records: u64 request, u32 answer, u32 len, u32 area, u32 zero
 *   then per slot two areas of TAIL_BYTES_MAX bytes
 *
 * The record in force is number `flips` % 2, its tail the first `len` bytes of its area.  A change
 * is prepared where nobody looks (the other record; bytes past the tail, or the other area) and
 * takes effect with the store of `flips`.  What a killed process had stored before is in memory,
 * and what it had not is not.
 *
 * Of the area that holds no tail the first page is kept for the next one; the others are given back
 * after the store, or by the process that follows one killed in between.
 */
#include "fs/anchor_tails.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define AREAS 2

struct record {
    uint64_t request;
    uint32_t answer, len, area, zero;
};

struct head {
    _Atomic uint64_t owner, flips;
    uint32_t takes;   /* changes with each take, so that a handle of before is told apart */
    uint32_t touched; /* the areas have had bytes since it was taken */
    struct record records[2];
    char unused[128 - 24 - 2 * sizeof(struct record)];
};
static_assert(sizeof(struct head) == 128, "as the top of this file says");

struct layout {
    struct head heads[TAILS_SLOTS_MAX];
    char areas[TAILS_SLOTS_MAX][AREAS][TAIL_BYTES_MAX];
};
static_assert(offsetof(struct layout, areas) % 4096 == 0, "areas are given back by pages");

struct tails {
    struct layout *shared;
    size_t total_max, page_bytes; /* immutable */
    _Atomic size_t total;         /* of tails, and reserved */
    pthread_mutex_t lock;
    uint32_t free_slots[TAILS_SLOTS_MAX]; /* (lock) a stack */
    uint32_t free_count;                  /* (lock) */
};

size_t tails_bytes(void)
{
    return sizeof(struct layout);
}

static enum err_code own_memory(int *fd, struct err *e)
{
    AUTO_FD int memory = sys_memfd_create("weir-tails");

    if (memory < 0 || sys_ftruncate(memory, (off_t)sizeof(struct layout)) != 0)
        return err_sys(e, errno, "make memory for unfinished lines");
    *fd = take_fd(&memory);
    return ERR_OK;
}

static const struct record *in_force(const struct head *h)
{
    return &h->records[atomic_load(&h->flips) % 2];
}

/* The memory of an area past its first `kept` bytes, but whole pages.  Where it cannot be given
 * back it is used again with the area. */
static void give_back(struct tails *t, uint32_t slot, uint32_t area, size_t kept)
{
    size_t from = (kept + t->page_bytes - 1) / t->page_bytes * t->page_bytes;

    if (from < TAIL_BYTES_MAX)
        sys_madvise(t->shared->areas[slot][area] + from, TAIL_BYTES_MAX - from, MADV_REMOVE);
}

/* What an earlier process left, with what it could not give back. */
static void count_left(struct tails *t, uint32_t slot)
{
    const struct head *h = &t->shared->heads[slot];
    const struct record *r = in_force(h);

    t->total += r->len;
    if (!h->touched)
        return;
    give_back(t, slot, r->area, r->len);
    give_back(t, slot, 1 - r->area, t->page_bytes);
}

/* The lowest free slots are on top. */
static void list_slots(struct tails *t)
{
    for (uint32_t i = TAILS_SLOTS_MAX; i-- > 0;) {
        if (atomic_load(&t->shared->heads[i].owner) == 0)
            t->free_slots[t->free_count++] = i;
        else
            count_left(t, i);
    }
}

enum err_code tails_open(int fd, off_t at, size_t total_max, struct tails **out, struct err *e)
{
    AUTO_FD int own = -1;
    struct tails *t = calloc(1, sizeof *t);
    enum err_code rc = t ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for unfinished lines");
    void *p;

    if (!rc && fd < 0)
        rc = own_memory(&own, e);
    if (rc) {
        free(t);
        return rc;
    }
    p = sys_mmap(sizeof(struct layout), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                 fd < 0 ? own : fd, fd < 0 ? 0 : at);
    if (p == MAP_FAILED) {
        free(t);
        return err_sys(e, errno, "map the memory of unfinished lines");
    }
    sys_madvise(p, sizeof(struct layout), MADV_DONTDUMP); /* a core would fill every hole */
    t->shared = p;
    t->total_max = total_max;
    t->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    pthread_mutex_init(&t->lock, NULL);
    list_slots(t);
    *out = t;
    return ERR_OK;
}

void tails_close(struct tails *t)
{
    if (!t)
        return;
    munmap(t->shared, sizeof(struct layout));
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- handles ---- */

static uint64_t handle_of(const struct tails *t, uint32_t slot)
{
    return (uint64_t)t->shared->heads[slot].takes << 32 | slot;
}

static struct head *head_of(const struct tails *t, uint64_t handle)
{
    uint32_t slot = tails_slot(handle);
    struct head *h = slot < TAILS_SLOTS_MAX ? &t->shared->heads[slot] : NULL;

    return h && atomic_load(&h->owner) != 0 && h->takes == handle >> 32 ? h : NULL;
}

static bool find_owned(const struct tails *t, uint64_t request, uint64_t *handle)
{
    for (uint32_t i = 0; i < TAILS_SLOTS_MAX; i++) {
        if (atomic_load_explicit(&t->shared->heads[i].owner, memory_order_relaxed) != request)
            continue;
        *handle = handle_of(t, i);
        return true;
    }
    return false;
}

enum tails_taken tails_take(struct tails *t, uint64_t request, bool is_resent, uint64_t *handle)
{
    struct head *h;
    uint32_t slot;

    LOCK_SCOPE(&t->lock);
    if (is_resent && find_owned(t, request, handle))
        return TAILS_KNOWN;
    if (t->free_count == 0)
        return TAILS_FULL;
    slot = t->free_slots[--t->free_count];
    h = &t->shared->heads[slot];
    h->takes++;
    h->touched = 0;
    h->records[0] = h->records[1] = (struct record){0};
    atomic_store(&h->owner, request);
    *handle = handle_of(t, slot);
    return TAILS_NEW;
}

void tails_give(struct tails *t, uint64_t handle)
{
    struct head *h;

    LOCK_SCOPE(&t->lock);
    h = head_of(t, handle);
    if (!h)
        return;
    if (h->touched) /* fails nowhere that matters: the pages are used again with the slot */
        sys_madvise(t->shared->areas[tails_slot(handle)], (size_t)AREAS * TAIL_BYTES_MAX,
                    MADV_REMOVE);
    tails_unreserve(t, in_force(h)->len);
    atomic_store(&h->owner, 0);
    t->free_slots[t->free_count++] = tails_slot(handle);
}

size_t tails_count(struct tails *t)
{
    LOCK_SCOPE(&t->lock);
    return TAILS_SLOTS_MAX - t->free_count;
}

/* ---- tails ---- */

bool tails_reserve(struct tails *t, size_t bytes, bool is_resent)
{
    size_t total = atomic_load(&t->total);

    do {
        if (bytes > 0 && total + bytes > t->total_max && !is_resent)
            return false;
    } while (!atomic_compare_exchange_weak(&t->total, &total, total + bytes));
    return true;
}

void tails_unreserve(struct tails *t, size_t bytes)
{
    atomic_fetch_sub(&t->total, bytes);
}

size_t tails_total(const struct tails *t)
{
    return atomic_load(&t->total);
}

bool tails_get(const struct tails *t, uint64_t handle, struct tail *out)
{
    const struct head *h = head_of(t, handle);
    const struct record *r = h ? in_force(h) : NULL;

    if (!r)
        return false;
    *out = (struct tail){.bytes = {t->shared->areas[tails_slot(handle)][r->area], r->len},
                         .request = r->request,
                         .answer = (enum err_code)r->answer};
    return true;
}

static void put(struct tails *t, uint64_t handle, uint32_t area, uint32_t at, struct str bytes,
                uint64_t request, enum err_code answer)
{
    struct head *h = head_of(t, handle);
    uint64_t flips;

    assert(h && bytes.len <= TAIL_BYTES_MAX - at);
    if (bytes.len > 0) {
        h->touched = 1;
        memcpy(t->shared->areas[tails_slot(handle)][area] + at, bytes.ptr, bytes.len);
    }
    flips = atomic_load(&h->flips) + 1;
    h->records[flips % 2] =
        (struct record){request, (uint32_t)answer, at + (uint32_t)bytes.len, area, 0};
    atomic_store(&h->flips, flips);
}

void tails_append(struct tails *t, uint64_t handle, struct str more, uint64_t request,
                  enum err_code answer)
{
    const struct head *h = head_of(t, handle);
    const struct record *r;

    assert(h);
    r = in_force(h);
    put(t, handle, r->area, r->len, more, request, answer);
}

void tails_replace(struct tails *t, uint64_t handle, struct str bytes, uint64_t request,
                   enum err_code answer)
{
    const struct head *h = head_of(t, handle);
    struct record old;

    assert(h);
    old = *in_force(h);
    put(t, handle, 1 - old.area, 0, bytes, request, answer);
    tails_unreserve(t, old.len);
    if (old.len > t->page_bytes)
        give_back(t, tails_slot(handle), old.area, t->page_bytes);
}

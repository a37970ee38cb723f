/* fs/anchor.c - the memory that one fs process of a mount leaves to the next.
 *
 * Layout, in the byte order of the machine (it never leaves it):
 *       0  u64 magic "WEIRANC1"   8  u64 mount   16  u64 generation   24  u32 init_state
 *      28  u32 init_len          32  u32 open_high: slots below it have been used
 *    4096  INIT, ANCHOR_INIT_MAX bytes
 *    8192  ANCHOR_OPENS_MAX slots of an open inode:
 *          u64 ino (0: free)  u64 counted: opens (20 bits), number of the last OPEN or RELEASE (44)
 *          u32 backing_id  u32 zero  record
 *   from the next page on: unfinished lines (anchor_tails.c)
 *
 * A slot is filled before its ino is stored, and is free again once that is 0; `counted` holds the
 * count and whose it was in one word.  So a process may be killed between any two stores.  Of two
 * requests for one inode that were both counted and both unanswered at that moment only the later
 * one is known: the other counts twice, and the inode keeps its way of being read until the mount
 * ends.
 */
#include "fs/anchor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/sys.h"
#include "fs/anchor_tails.h"

#define ANCHOR_MAGIC UINT64_C(0x31434e4152494557) /* "WEIRANC1" */
#define OPENS_SHIFT 44
#define NUMBER_MASK ((UINT64_C(1) << OPENS_SHIFT) - 1)
#define NO_REQUEST 0 /* the kernel's numbers begin above it */
#define OPENS_MAX ((UINT64_C(1) << (64 - OPENS_SHIFT)) - 1)

enum { PAGE = 4096 };
enum init_state { INIT_NONE, INIT_KEPT, INIT_ANSWERED };

struct slot {
    _Atomic uint64_t ino;
    _Atomic uint64_t counted;
    uint32_t backing_id, zero;
    char record[ANCHOR_RECORD_LEN];
};

struct layout {
    union {
        struct {
            uint64_t magic, mount;
            _Atomic uint64_t generation;
            _Atomic uint32_t init_state;
            uint32_t init_len;
            _Atomic uint32_t open_high;
        };
        char page[4096];
    };
    char init[ANCHOR_INIT_MAX];
    struct slot slots[ANCHOR_OPENS_MAX];
};
static_assert(offsetof(struct layout, slots) == 8192, "as the top of this file says");

struct anchor {
    struct layout *shared;
    uint64_t generation; /* immutable */
    struct str init;     /* immutable: what an earlier process answered */
    pthread_mutex_t lock;
    struct map by_ino;    /* (lock) ino -> slot */
    uint32_t *free_slots; /* (lock) below open_high; free_cap of them have room */
    uint32_t free_count, free_cap;
};

off_t anchor_tails_at(void)
{
    return (off_t)((sizeof(struct layout) + PAGE - 1) / PAGE * PAGE);
}

/* ---- the supervisor ---- */

enum err_code anchor_create(int *fd, struct err *e)
{
    AUTO_FD int memory = memfd_create("weir-anchor", MFD_CLOEXEC);
    uint64_t head[2] = {ANCHOR_MAGIC, 0};

    if (memory < 0)
        return err_sys(e, errno, "make the memory that outlives the fs process");
    if (getrandom(&head[1], sizeof head[1], 0) != (ssize_t)sizeof head[1])
        return err_sys(e, errno, "a random number for the mount");
    if (sys_ftruncate(memory, anchor_tails_at() + (off_t)tails_bytes()) != 0)
        return err_sys(e, errno, "size the memory that outlives the fs process");
    enum err_code rc = sys_write_full(memory, head, sizeof head, 0, e);
    if (!rc)
        *fd = take_fd(&memory);
    return rc;
}

bool anchor_was_answered(int fd)
{
    uint32_t state = INIT_NONE;

    return sys_pread(fd, &state, sizeof state, offsetof(struct layout, init_state)) ==
               (ssize_t)sizeof state &&
           state == INIT_ANSWERED;
}

/* ---- the fs process ---- */

static struct str key_of(const uint64_t *ino)
{
    return (struct str){(const char *)ino, sizeof *ino};
}

static bool note_free_locked(struct anchor *a, uint32_t slot)
{
    if (a->free_count == a->free_cap) {
        uint32_t cap = a->free_cap ? a->free_cap * 2 : 64;
        uint32_t *grown = realloc(a->free_slots, cap * sizeof *grown);
        if (!grown)
            return false; /* the slot is not used again: nothing worse */
        a->free_slots = grown;
        a->free_cap = cap;
    }
    a->free_slots[a->free_count++] = slot;
    return true;
}

/* What the process before had open. */
static enum err_code index_slots(struct anchor *a, struct err *e)
{
    uint32_t high = atomic_load(&a->shared->open_high);

    for (uint32_t i = 0; i < high && i < ANCHOR_OPENS_MAX; i++) {
        struct slot *s = &a->shared->slots[i];
        uint64_t ino = atomic_load(&s->ino);
        bool ok = ino ? map_put(&a->by_ino, key_of(&ino), s) : note_free_locked(a, i);
        if (!ok)
            return err_set(e, ERR_NOMEM, "no memory for %u open files", high);
    }
    return ERR_OK;
}

static enum err_code map_shared(struct anchor *a, int fd, struct err *e)
{
    void *p = mmap(NULL, sizeof(struct layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return err_sys(e, errno, "map the memory of the supervisor");
    a->shared = p;
    if (a->shared->magic != ANCHOR_MAGIC)
        return err_set(e, ERR_CORRUPT, "descriptor %d is no anchor of this version", fd);
    if (atomic_load(&a->shared->init_state) == INIT_ANSWERED)
        a->init = (struct str){a->shared->init, a->shared->init_len};
    a->generation = atomic_fetch_add(&a->shared->generation, 1);
    return index_slots(a, e);
}

enum err_code anchor_open(int fd, struct anchor **out, struct err *e)
{
    AUTO_FD int own = -1;
    struct anchor *a = calloc(1, sizeof *a);
    enum err_code rc = a ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the anchor");

    if (rc)
        return rc;
    pthread_mutex_init(&a->lock, NULL);
    map_init(&a->by_ino, ANCHOR_OPENS_MAX);
    if (fd < 0)
        rc = anchor_create(&own, e);
    if (!rc)
        rc = map_shared(a, fd < 0 ? own : fd, e);
    if (rc) {
        anchor_close(a);
        return rc;
    }
    *out = a;
    return ERR_OK;
}

void anchor_close(struct anchor *a)
{
    if (!a)
        return;
    if (a->shared)
        munmap(a->shared, sizeof(struct layout));
    map_done(&a->by_ino);
    pthread_mutex_destroy(&a->lock);
    free(a->free_slots);
    free(a);
}

uint64_t anchor_mount(const struct anchor *a)
{
    return a->shared->mount;
}

uint64_t anchor_generation(const struct anchor *a)
{
    return a->generation;
}

/* ---- INIT ---- */

void anchor_put_init(struct anchor *a, struct str message)
{
    if (message.len > ANCHOR_INIT_MAX)
        return;
    memcpy(a->shared->init, message.ptr, message.len);
    a->shared->init_len = (uint32_t)message.len;
    atomic_store(&a->shared->init_state, INIT_KEPT);
}

void anchor_answered(struct anchor *a)
{
    uint32_t kept = INIT_KEPT;

    atomic_compare_exchange_strong(&a->shared->init_state, &kept, INIT_ANSWERED);
}

struct str anchor_init(const struct anchor *a)
{
    return a->init;
}

/* ---- open inodes ---- */

static uint64_t number_of(uint64_t unique)
{
    return unique >> 1 & NUMBER_MASK; /* the lowest bit marks interrupts */
}

static uint64_t word_of(uint64_t opens, uint64_t unique)
{
    return opens << OPENS_SHIFT | number_of(unique);
}

static struct slot *free_slot_locked(struct anchor *a)
{
    uint32_t high = atomic_load(&a->shared->open_high);

    if (a->free_count > 0)
        return &a->shared->slots[a->free_slots[--a->free_count]];
    if (high >= ANCHOR_OPENS_MAX)
        return NULL;
    atomic_store(&a->shared->open_high, high + 1);
    return &a->shared->slots[high];
}

static void release_locked(struct anchor *a, struct slot *s)
{
    atomic_store(&s->ino, 0);
    note_free_locked(a, (uint32_t)(s - a->shared->slots));
}

static bool first_open_locked(struct anchor *a, uint64_t ino, uint64_t unique, uint32_t backing_id,
                              const char record[ANCHOR_RECORD_LEN])
{
    struct slot *s = free_slot_locked(a);

    if (!s)
        return false;
    s->backing_id = backing_id;
    memcpy(s->record, record, sizeof s->record);
    atomic_store(&s->counted, word_of(1, unique));
    atomic_store(&s->ino, ino);
    if (map_put(&a->by_ino, key_of(&ino), s))
        return true;
    release_locked(a, s);
    return false;
}

bool anchor_take(struct anchor *a, uint64_t ino, uint64_t unique, uint32_t backing_id,
                 const char record[ANCHOR_RECORD_LEN])
{
    LOCK_SCOPE(&a->lock);
    struct slot *s = map_find(&a->by_ino, key_of(&ino));
    if (!s)
        return first_open_locked(a, ino, unique, backing_id, record);
    uint64_t word = atomic_load(&s->counted), opens = word >> OPENS_SHIFT;
    if ((word & NUMBER_MASK) == number_of(unique))
        return true;
    if (opens == OPENS_MAX)
        return false;
    atomic_store(&s->counted, word_of(opens + 1, unique));
    return true;
}

bool anchor_counted(struct anchor *a, uint64_t ino, uint64_t unique, uint32_t *backing_id)
{
    LOCK_SCOPE(&a->lock);
    const struct slot *s = map_find(&a->by_ino, key_of(&ino));
    if (!s || (atomic_load(&s->counted) & NUMBER_MASK) != number_of(unique))
        return false;
    *backing_id = s->backing_id;
    return true;
}

static void close_one_locked(struct anchor *a, uint64_t ino, struct slot *s, uint64_t unique)
{
    uint64_t opens = atomic_load(&s->counted) >> OPENS_SHIFT;

    if (opens > 1) {
        atomic_store(&s->counted, word_of(opens - 1, unique));
        return;
    }
    map_remove(&a->by_ino, key_of(&ino));
    release_locked(a, s);
}

bool anchor_give(struct anchor *a, uint64_t ino, uint64_t unique)
{
    LOCK_SCOPE(&a->lock);
    struct slot *s = map_find(&a->by_ino, key_of(&ino));
    if (!s || (atomic_load(&s->counted) & NUMBER_MASK) == number_of(unique))
        return false;
    close_one_locked(a, ino, s, unique);
    return true;
}

void anchor_undo(struct anchor *a, uint64_t ino)
{
    LOCK_SCOPE(&a->lock);
    struct slot *s = map_find(&a->by_ino, key_of(&ino));
    if (s)
        close_one_locked(a, ino, s, NO_REQUEST);
}

void anchor_each(struct anchor *a, bool (*fn)(const struct anchor_open *o, void *ctx), void *ctx)
{
    size_t pos = 0;
    struct str key;
    void *value;

    LOCK_SCOPE(&a->lock);
    while (map_next(&a->by_ino, &pos, &key, &value)) {
        const struct slot *s = value;
        struct anchor_open o = {.ino = atomic_load(&s->ino),
                                .backing_id = s->backing_id,
                                .opens = (uint32_t)(atomic_load(&s->counted) >> OPENS_SHIFT)};
        memcpy(o.record, s->record, sizeof o.record);
        if (!fn(&o, ctx))
            return;
    }
}

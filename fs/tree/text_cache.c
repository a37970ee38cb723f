/* fs/tree/text_cache.c - units in blocks of one unnamed file.
 *
 *   begun ── appended ──► filled ── finish ──► kept (in the map and the list) ── evicted ──► freed
 *     └── released unfinished ────────────────────────────────────────────────────────────────┘
 *
 * A unit gets all its blocks at the beginning, because its size is known.  When there are not
 * enough, units that nobody holds are evicted; when that does not suffice the file grows past its
 * measure, and blocks beyond it are given back to the disk as soon as they are free.
 * A unit that the disk has no room for goes on in memory of its own, as far as MEMORY_MAX reaches.
 */
#include "fs/tree/text_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/sys.h"

#define BLOCK_BYTES (UINT64_C(64) << 10)
#define UNITS_MAX (1u << 20) /* in the map */
#define MEMORY_MAX (UINT64_C(64) << 20)

struct text_held {
    struct text_held *newer, *older; /* (lock) in the list of kept units */
    char key[TEXT_KEY_LEN];
    uint64_t bytes;  /* announced */
    uint64_t filled; /* owned by the thread that fills it, until it is kept */
    unsigned users;  /* (lock) */
    bool is_kept;    /* (lock) */
    int memory_fd;   /* -1: it is in blocks; else it has none */
    uint32_t block_count;
    uint32_t blocks[];
};

struct text_cache {
    int fd;              /* immutable */
    uint64_t max_blocks; /* immutable */
    pthread_mutex_t lock;
    struct map units;                  /* (lock) key -> kept unit */
    struct text_held *newest, *oldest; /* (lock) of the kept ones */
    uint32_t *free_blocks;             /* (lock) has room for every block there is */
    uint64_t free_count, block_count;  /* (lock) */
    uint64_t memory_bytes;             /* (lock) announced by units that are there */
};

/* ---- life ---- */

static int open_unnamed(const char *dir)
{
    char path[4096];
    int fd;

    if (!dir)
        return memfd_create("weir-text", MFD_CLOEXEC);
    fd = sys_open(dir, O_RDWR | O_TMPFILE, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd;
    if (snprintf(path, sizeof path, "%s/text-XXXXXX", dir) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

enum err_code text_cache_new(const char *dir, uint64_t max_bytes, struct text_cache **out,
                             struct err *e)
{
    struct text_cache *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "no memory for the cache of text");
    c->fd = open_unnamed(dir);
    if (c->fd < 0) {
        int sys = errno;
        free(c);
        return err_sys(e, sys, "%s: make the cache of text", dir ? dir : "memory");
    }
    c->max_blocks = max_bytes / BLOCK_BYTES;
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->units, UNITS_MAX);
    *out = c;
    return ERR_OK;
}

void text_cache_free(struct text_cache *c)
{
    if (!c)
        return;
    for (struct text_held *h = c->newest, *next; h; h = next) {
        next = h->older;
        if (h->memory_fd >= 0)
            close(h->memory_fd);
        free(h);
    }
    map_done(&c->units);
    close(c->fd);
    free(c->free_blocks);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- keys and the list ---- */

void text_unit_key(const struct tree_unit *u, char key[TEXT_KEY_LEN])
{
    memcpy(key, u->part.b, sizeof u->part.b);
    put_u64(key + 16, u->rows ? u->first_row : u->group);
    key[24] = u->rows ? 'r' : 'g';
}

static struct str key_of(const char key[TEXT_KEY_LEN])
{
    return (struct str){key, TEXT_KEY_LEN};
}

static void unlink_locked(struct text_cache *c, struct text_held *h)
{
    *(h->newer ? &h->newer->older : &c->newest) = h->older;
    *(h->older ? &h->older->newer : &c->oldest) = h->newer;
    h->newer = h->older = NULL;
}

static void link_newest_locked(struct text_cache *c, struct text_held *h)
{
    h->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = h;
    c->newest = h;
}

/* ---- blocks ---- */

static uint64_t used_locked(const struct text_cache *c)
{
    return c->block_count - c->free_count;
}

static void free_blocks_locked(struct text_cache *c, struct text_held *h)
{
    for (uint32_t i = 0; i < h->block_count; i++) {
        uint32_t block = h->blocks[i];
        c->free_blocks[c->free_count++] = block;
        if (block >= c->max_blocks) /* at worst the disk space is kept */
            sys_fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          (off_t)(block * BLOCK_BYTES), BLOCK_BYTES);
    }
    h->block_count = 0;
}

static void free_unit_locked(struct text_cache *c, struct text_held *h)
{
    free_blocks_locked(c, h);
    if (h->memory_fd >= 0) {
        close(h->memory_fd);
        c->memory_bytes -= h->bytes;
    }
    free(h);
}

static void evict_locked(struct text_cache *c, struct text_held *h)
{
    map_remove(&c->units, key_of(h->key));
    unlink_locked(c, h);
    free_unit_locked(c, h);
}

static void make_room_locked(struct text_cache *c, uint64_t need)
{
    struct text_held *h = c->oldest, *newer;

    for (; h && used_locked(c) + need > c->max_blocks; h = newer) {
        newer = h->newer;
        if (h->users == 0)
            evict_locked(c, h);
    }
}

/* Room in the list of free blocks for every block there is or will be. */
static bool make_blocks_locked(struct text_cache *c, uint64_t more)
{
    uint64_t count = c->block_count + more;
    uint32_t *list;

    if (more == 0)
        return true;
    list = count <= UINT32_MAX ? realloc(c->free_blocks, count * sizeof *list) : NULL;
    if (!list)
        return false;
    c->free_blocks = list;
    while (c->block_count < count)
        list[c->free_count++] = (uint32_t)c->block_count++;
    return true;
}

static bool take_blocks_locked(struct text_cache *c, struct text_held *h)
{
    uint64_t need = h->block_count;

    make_room_locked(c, need);
    if (!make_blocks_locked(c, need > c->free_count ? need - c->free_count : 0))
        return false;
    for (uint32_t i = 0; i < h->block_count; i++)
        h->blocks[i] = c->free_blocks[--c->free_count];
    return true;
}

/* ---- memory ---- */

static bool take_memory(struct text_cache *c, uint64_t need)
{
    if (need > MEMORY_MAX)
        return false;
    LOCK_SCOPE(&c->lock);
    for (struct text_held *h = c->oldest, *newer; h && c->memory_bytes + need > MEMORY_MAX;
         h = newer) {
        newer = h->newer;
        if (h->users == 0 && h->memory_fd >= 0)
            evict_locked(c, h);
    }
    if (c->memory_bytes + need > MEMORY_MAX)
        return false;
    c->memory_bytes += need;
    return true;
}

/* Where a byte stands in which file, and how many follow it there. */
static uint64_t locate(const struct text_cache *c, const struct text_held *h, uint64_t off, int *fd,
                       size_t *run)
{
    uint64_t within = off % BLOCK_BYTES;

    *fd = h->memory_fd >= 0 ? h->memory_fd : c->fd;
    if (h->memory_fd >= 0)
        return off;
    if (*run > BLOCK_BYTES - within)
        *run = (size_t)(BLOCK_BYTES - within);
    return h->blocks[off / BLOCK_BYTES] * BLOCK_BYTES + within;
}

/* ---- kept units ---- */

struct text_held *text_cache_find(struct text_cache *c, const struct tree_unit *unit)
{
    struct text_held *h;
    char key[TEXT_KEY_LEN];

    text_unit_key(unit, key);
    LOCK_SCOPE(&c->lock);
    h = map_find(&c->units, key_of(key));
    if (!h || h->bytes != unit->bytes)
        return NULL;
    h->users++;
    unlink_locked(c, h);
    link_newest_locked(c, h);
    return h;
}

void text_cache_release(struct text_cache *c, struct text_held *h)
{
    if (!h)
        return;
    LOCK_SCOPE(&c->lock);
    h->users--;
    if (!h->is_kept)
        free_unit_locked(c, h);
    else if (h->users == 0 && used_locked(c) > c->max_blocks)
        evict_locked(c, h);
}

enum err_code text_cache_read(struct text_cache *c, const struct text_held *h, uint64_t off,
                              void *dst, size_t n, struct err *e)
{
    for (size_t done = 0, run; done < n; done += run) {
        int fd;
        run = n - done;
        uint64_t at = locate(c, h, off + done, &fd, &run);
        enum err_code rc = sys_read_full(fd, (char *)dst + done, run, (off_t)at, e);
        if (rc)
            return err_wrap(e, "cache of text");
    }
    return ERR_OK;
}

uint64_t text_cache_used(struct text_cache *c)
{
    LOCK_SCOPE(&c->lock);
    return used_locked(c) * BLOCK_BYTES;
}

/* ---- filling ---- */

enum err_code text_cache_begin(struct text_cache *c, const struct tree_unit *unit,
                               struct text_held **out, struct err *e)
{
    uint64_t blocks = (unit->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
    struct text_held *h;

    if (unit->bytes > TEXT_UNIT_MAX)
        return err_set(e, ERR_TOOBIG, "%llu bytes of text at once are too many",
                       (unsigned long long)unit->bytes);
    h = calloc(1, sizeof *h + blocks * sizeof h->blocks[0]);
    if (!h)
        return err_set(e, ERR_NOMEM, "no memory for a piece of text");
    text_unit_key(unit, h->key);
    h->bytes = unit->bytes;
    h->users = 1;
    h->memory_fd = -1;
    h->block_count = (uint32_t)blocks;
    LOCK_SCOPE(&c->lock);
    if (!take_blocks_locked(c, h)) {
        free(h);
        return err_set(e, ERR_NOMEM, "no memory for the blocks of a piece of text");
    }
    *out = h;
    return ERR_OK;
}

static enum err_code write_text(struct text_cache *c, const struct text_held *h, struct str text,
                                struct err *e)
{
    for (size_t done = 0, run; done < text.len; done += run) {
        int fd;
        run = text.len - done;
        uint64_t at = locate(c, h, h->filled + done, &fd, &run);
        enum err_code rc = sys_write_full(fd, text.ptr + done, run, (off_t)at, e);
        if (rc)
            return err_wrap(e, "cache of text");
    }
    return ERR_OK;
}

/* What is filled so far. */
static enum err_code copy_text(struct text_cache *c, const struct text_held *h, int to,
                               struct err *e)
{
    AUTO_FREE char *block = malloc(BLOCK_BYTES);

    if (!block)
        return err_set(e, ERR_NOMEM, "no memory for a block of text");
    for (uint64_t at = 0, n; at < h->filled; at += n) {
        n = h->filled - at < BLOCK_BYTES ? h->filled - at : BLOCK_BYTES;
        enum err_code rc = text_cache_read(c, h, at, block, (size_t)n, e);
        if (!rc)
            rc = sys_write_full(to, block, (size_t)n, (off_t)at, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

static void give_memory_back(struct text_cache *c, uint64_t bytes)
{
    LOCK_SCOPE(&c->lock);
    c->memory_bytes -= bytes;
}

/* False: there is no memory either. */
static bool move_to_memory(struct text_cache *c, struct text_held *h)
{
    struct err e;

    if (!take_memory(c, h->bytes))
        return false;
    AUTO_FD int fd = sys_memfd_create("weir-text");
    if (fd < 0 || copy_text(c, h, fd, &e)) {
        give_memory_back(c, h->bytes);
        return false;
    }
    LOCK_SCOPE(&c->lock);
    free_blocks_locked(c, h);
    h->memory_fd = take_fd(&fd);
    return true;
}

enum err_code text_cache_append(struct text_cache *c, struct text_held *h, struct str text,
                                struct err *e)
{
    if (text.len > h->bytes - h->filled)
        return err_set(e, ERR_CORRUPT, "more text than the %llu bytes that the index knows",
                       (unsigned long long)h->bytes);
    enum err_code rc = write_text(c, h, text, e);
    if (rc == ERR_FULL && h->memory_fd < 0 && move_to_memory(c, h))
        rc = write_text(c, h, text, e);
    if (!rc)
        h->filled += text.len;
    return rc;
}

enum err_code text_cache_finish(struct text_cache *c, struct text_held *h, struct err *e)
{
    if (h->filled != h->bytes)
        return err_set(e, ERR_CORRUPT, "%llu bytes of text, where the index knows %llu",
                       (unsigned long long)h->filled, (unsigned long long)h->bytes);
    LOCK_SCOPE(&c->lock);
    if (map_find(&c->units, key_of(h->key)) || !map_put(&c->units, key_of(h->key), h))
        return ERR_OK; /* read by its holders, then dropped */
    h->is_kept = true;
    link_newest_locked(c, h);
    return ERR_OK;
}

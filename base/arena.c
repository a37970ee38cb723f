/* base/arena.c - bump allocation in doubling chunks.
 *
 * The newest chunk is the head of a list and the only one that is allocated from; what does not
 * fit opens a new chunk, and an allocation larger than the next chunk gets a chunk of its own size.
 * used_bytes counts what was handed out, with its padding: the limit is on that, not on chunks.
 */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t size, used; /* of data */
    _Alignas(ALIGN) char data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

static void free_list(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *older = c->older;
        free(c);
        c = older;
    }
}

void arena_done(struct arena *a)
{
    if (!a)
        return;
    free_list(a->head);
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    if (a->head) {
        free_list(a->head->older);
        a->head->older = NULL;
        a->head->used = 0;
    }
    a->used_bytes = 0;
    a->failed = false;
}

static bool add_chunk(struct arena *a, size_t need)
{
    size_t size = a->head ? a->head->size * 2 : CHUNK_MIN - sizeof(struct arena_chunk);
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < need)
        size = need;
    struct arena_chunk *c = malloc(sizeof *c + size);
    if (!c)
        return false;
    *c = (struct arena_chunk){.older = a->head, .size = size};
    a->head = c;
    return true;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t left = a->max_bytes - a->used_bytes;
    size_t padded = (n + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);
    if (padded < n || padded > left) { /* wrapped round, or over the limit */
        a->failed = true;
        return NULL;
    }
    if ((!a->head || padded > a->head->size - a->head->used) && !add_chunk(a, padded)) {
        a->failed = true;
        return NULL;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += padded;
    a->used_bytes += padded;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p && n)
        memset(p, 0, n);
    return p;
}

char *arena_strdup(struct arena *a, struct str s)
{
    char *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;
    if (!p)
        return NULL;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *p = arena_strdup(a, s);
    return (struct str){p, p ? s.len : 0};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    else
        a->failed = true;
    va_end(again);
    va_end(args);
    return p;
}

void *arena_grow(struct arena *a, void *old, size_t count, size_t *cap, size_t elem_size)
{
    if (count < *cap)
        return old;
    size_t more = *cap ? *cap * 2 : 8, bytes;
    if (__builtin_mul_overflow(more, elem_size, &bytes)) {
        a->failed = true;
        return NULL;
    }
    void *p = arena_alloc(a, bytes);
    if (!p)
        return NULL;
    if (count)
        memcpy(p, old, count * elem_size);
    *cap = more;
    return p;
}

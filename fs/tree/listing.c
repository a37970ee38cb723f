/* fs/tree/listing.c - entries sorted by cookie. */
#include "fs/tree/listing.h"

#include <stdlib.h>

#include "base/cleanup.h"

#define COOKIE_HIGH (UINT64_C(1) << 61) /* above all fixed cookies, and positive as an off_t */

void listing_init(struct listing *l)
{
    *l = (struct listing){0};
    buf_init(&l->names, LISTING_NAMES_MAX);
}

void listing_done(struct listing *l)
{
    free(l->entries);
    buf_done(&l->names);
    *l = (struct listing){0};
}

uint64_t cookie_of_id(const struct ulid *id)
{
    return COOKIE_HIGH | get_be64(id->b) >> 4;
}

uint64_t cookie_of_name(struct str name)
{
    return COOKIE_HIGH | str_hash(name) >> 4;
}

static bool reserve_one(struct listing *l)
{
    size_t cap = l->cap ? l->cap * 2 : 32;
    struct listing_entry *more;

    if (l->count < l->cap)
        return true;
    if (l->count >= LISTING_ENTRIES_MAX)
        return false;
    more = realloc(l->entries, cap * sizeof *more);
    if (!more)
        return false;
    l->entries = more;
    l->cap = cap;
    return true;
}

void listing_add(struct listing *l, struct str name, uint64_t cookie, uint64_t ino, mode_t mode)
{
    size_t at = l->names.len;

    buf_add_str(&l->names, name);
    buf_add_char(&l->names, '\0'); /* so that a name can be handed to C string functions */
    if (!buf_ok(&l->names) || !reserve_one(l)) {
        l->failed = true;
        return;
    }
    l->entries[l->count++] = (struct listing_entry){
        .cookie = cookie, .ino = ino, .name_at = at, .name_len = (uint32_t)name.len, .mode = mode};
}

struct str listing_name(const struct listing *l, size_t i)
{
    return (struct str){l->names.data + l->entries[i].name_at, l->entries[i].name_len};
}

static int compare(const void *a, const void *b, void *names)
{
    const struct listing_entry *x = a, *y = b;
    const char *text = names;

    if (x->cookie != y->cookie)
        return x->cookie < y->cookie ? -1 : 1;
    return strcmp(text + x->name_at, text + y->name_at);
}

void listing_finish(struct listing *l)
{
    if (l->count == 0)
        return;
    qsort_r(l->entries, l->count, sizeof *l->entries, compare, l->names.data);
    for (size_t i = 1; i < l->count; i++) {
        if (l->entries[i].cookie <= l->entries[i - 1].cookie)
            l->entries[i].cookie = l->entries[i - 1].cookie + 1;
    }
}

size_t listing_after(const struct listing *l, uint64_t cookie)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (l->entries[mid].cookie <= cookie)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

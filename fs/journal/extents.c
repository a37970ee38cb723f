/* fs/journal/extents.c - which bytes of which segment a file is made of.
 *
 * In a file the extents follow each other by place.  Lines that were moved to the head of the
 * journal keep their place, so a replay may meet places in any order, and one twice: the old bytes
 * and the copy.  Of those that begin at the same place the longest counts, then the newest.
 */
#include <assert.h>
#include <stdlib.h>

#include "fs/journal/files.h"

enum { FIRST_CHUNK = 4, NUMBERS_MIN = 64 };
#define PLACE_MAX (UINT64_C(1) << 62)

/* ---- the list ---- */

struct extent *extent_at(const struct extents *x, size_t i)
{
    return &x->chunks[i / EXTENTS_PER_CHUNK][i % EXTENTS_PER_CHUNK];
}

void extents_free(struct extents *x)
{
    for (uint32_t i = 0; i < x->chunk_count; i++)
        free(x->chunks[i]);
    free(x->chunks);
    *x = (struct extents){0};
}

static bool add_chunk(struct extents *x, uint32_t cap)
{
    size_t chunk_cap = x->chunk_cap;
    if (x->chunk_count == chunk_cap) {
        chunk_cap = chunk_cap ? chunk_cap * 2 : 1;
        struct extent **chunks = realloc(x->chunks, chunk_cap * sizeof *chunks);
        if (!chunks)
            return false;
        x->chunks = chunks;
        x->chunk_cap = (uint32_t)chunk_cap;
    }
    struct extent *chunk = malloc(cap * sizeof *chunk);
    if (!chunk)
        return false;
    x->chunks[x->chunk_count++] = chunk;
    return true;
}

static bool grow_first_chunk(struct extents *x, size_t need)
{
    uint32_t cap = x->first_cap ? x->first_cap : FIRST_CHUNK;
    while (cap < need && cap < EXTENTS_PER_CHUNK)
        cap *= 2;
    if (x->chunk_count == 0 && !add_chunk(x, cap))
        return false;
    struct extent *chunk = realloc(x->chunks[0], cap * sizeof *chunk);
    if (!chunk)
        return false;
    x->chunks[0] = chunk;
    x->first_cap = cap;
    return true;
}

static size_t room(const struct extents *x)
{
    if (x->chunk_count == 0)
        return 0;
    return x->first_cap + (size_t)(x->chunk_count - 1) * EXTENTS_PER_CHUNK;
}

bool files_reserve(struct files *f, struct jfile *file, uint32_t more)
{
    struct extents *x = &file->extents;
    size_t need = x->count + more;
    bool ok = true;
    if (need <= room(x))
        return true;
    pthread_rwlock_wrlock(&f->lock);
    if (x->first_cap < EXTENTS_PER_CHUNK)
        ok = grow_first_chunk(x, need);
    while (ok && need > room(x))
        ok = add_chunk(x, EXTENTS_PER_CHUNK);
    pthread_rwlock_unlock(&f->lock);
    return ok;
}

struct extent *extent_of_place(const struct extents *x, uint64_t place)
{
    size_t low = 0, high = x->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (extent_at(x, mid)->place < place)
            low = mid + 1;
        else
            high = mid;
    }
    return low < x->count && extent_at(x, low)->place == place ? extent_at(x, low) : NULL;
}

/* ---- what segments hold ---- */

static bool reserve_numbers(struct segment *s, size_t more)
{
    size_t cap = s->file_cap ? s->file_cap : NUMBERS_MIN;
    if (s->file_count + more <= s->file_cap)
        return true;
    while (cap < s->file_count + more)
        cap *= 2;
    uint32_t *bigger = realloc(s->files, cap * sizeof *bigger);
    if (!bigger)
        return false;
    s->files = bigger;
    s->file_cap = cap;
    return true;
}

bool files_reserve_in(struct files *f, uint32_t seq, size_t more)
{
    struct segment *s = files_segment(f, seq);
    return !s || reserve_numbers(s, more);
}

/* What it takes to have these lines in another segment. */
static uint64_t cost(const struct extent *x)
{
    return frame_size(x->rows, x->len, 0);
}

static void count_extent(struct segment *s, struct jfile *file, const struct extent *x)
{
    s->live_bytes += cost(x);
    if (file->listed_in == s->seq)
        return;
    assert(s->file_count < s->file_cap);
    s->files[s->file_count++] = file->number;
    file->listed_in = s->seq;
}

void files_count_bytes_locked(struct files *f, const struct jfile *file, bool is_kept, bool add)
{
    struct segment *s = NULL;
    for (size_t i = 0; i < file->extents.count; i++) {
        const struct extent *x = extent_at(&file->extents, i);
        if (!s || s->seq != x->seq)
            s = files_segment(f, x->seq);
        if (!s)
            continue;
        uint64_t *sum = is_kept ? &s->kept_bytes : &s->live_bytes;
        *sum = add ? *sum + cost(x) : *sum - cost(x);
    }
}

/* ---- showing ---- */

void files_pass_place(struct jfile *file, uint64_t end)
{
    if (end > file->next_place && end <= PLACE_MAX)
        file->next_place = end;
}

/* Bytes of a segment that has been freed are those of a copy, or of a replaced file. */
static bool gather(struct files *f, struct jfile *file, const struct run_place *run)
{
    struct extents *x = &file->extents;
    if (run->offset > PLACE_MAX - run->len)
        return false;
    files_pass_place(file, run->offset + run->len);
    if (!files_segment(f, run->seq))
        return false;
    assert(x->count < room(x));
    *extent_at(x, x->count++) =
        (struct extent){0, run->offset, run->seq, run->at, run->len, run->rows};
    return true;
}

bool files_show_locked(struct files *f, struct jfile *file, const struct run_place *run)
{
    struct extents *x = &file->extents;
    if (f->is_replaying)
        return gather(f, file, run);
    struct segment *s = files_segment(f, run->seq);
    if (run->offset < file->next_place || !s)
        return false;
    assert(x->count < room(x));
    struct extent *extent = extent_at(x, x->count++);
    *extent = (struct extent){file->size, run->offset, run->seq, run->at, run->len, run->rows};
    count_extent(s, file, extent);
    if (file->rows == 0)
        f->shown_count++;
    file->size += run->len;
    file->rows += run->rows;
    file->next_place = run->offset + run->len;
    f->extent_count++;
    f->row_count += run->rows;
    return true;
}

void files_add_facts_locked(struct files *f, struct jfile *file, const struct shown_facts *facts)
{
    (void)f;
    if (facts->rows == 0)
        return;
    bool first = !file->has_facts;
    file->has_facts = true;
    if (first || facts->min_ts_us < file->min_ts_us)
        file->min_ts_us = facts->min_ts_us;
    if (first || facts->max_ts_us > file->max_ts_us)
        file->max_ts_us = facts->max_ts_us;
    if (first || facts->first_append_us < file->first_append_us)
        file->first_append_us = facts->first_append_us;
    if (first || facts->last_append_us > file->last_append_us)
        file->last_append_us = facts->last_append_us;
}

/* ---- after a replay ---- */

struct gathered {
    struct extent extent;
    size_t order;
};

static int by_place(const void *a, const void *b)
{
    const struct gathered *x = a, *y = b;
    if (x->extent.place != y->extent.place)
        return x->extent.place < y->extent.place ? -1 : 1;
    if (x->extent.len != y->extent.len)
        return x->extent.len > y->extent.len ? -1 : 1;
    return x->order > y->order ? -1 : 1;
}

static bool is_in_order(const struct extents *x)
{
    for (size_t i = 1; i < x->count; i++) {
        const struct extent *before = extent_at(x, i - 1);
        if (extent_at(x, i)->place < before->place + before->len)
            return false;
    }
    return true;
}

static bool put_in_order(struct extents *x)
{
    struct gathered *all = malloc(x->count * sizeof *all);
    uint64_t end = 0;
    size_t n = x->count;
    if (!all)
        return false;
    for (size_t i = 0; i < n; i++)
        all[i] = (struct gathered){*extent_at(x, i), i};
    qsort(all, n, sizeof *all, by_place);
    x->count = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].extent.place < end)
            continue;
        end = all[i].extent.place + all[i].extent.len;
        *extent_at(x, x->count++) = all[i].extent;
    }
    free(all);
    return true;
}

bool extents_settle(struct extents *x, uint64_t *size, uint64_t *rows)
{
    *size = *rows = 0;
    if (!is_in_order(x) && !put_in_order(x))
        return false;
    for (size_t i = 0; i < x->count; i++) {
        struct extent *e = extent_at(x, i);
        e->shown_at = *size;
        *size += e->len;
        *rows += e->rows;
    }
    return true;
}

static bool list_in_segments(struct files *f, struct jfile *file)
{
    for (size_t i = 0; i < file->extents.count; i++) {
        const struct extent *x = extent_at(&file->extents, i);
        struct segment *s = files_segment(f, x->seq);
        if (!reserve_numbers(s, 1))
            return false;
        count_extent(s, file, x);
    }
    return true;
}

/* Replaced, and part of it is gone; or closed with nothing in it. */
static bool is_of_no_use(const struct jfile *file)
{
    return file->is_replaced ? file->size != file->published_size
                             : !file->is_open && file->size == 0;
}

static bool settle_file(struct files *f, struct jfile *file, uint64_t now_ms)
{
    if (!extents_settle(&file->extents, &file->size, &file->rows))
        return false;
    f->extent_count += file->extents.count;
    f->row_count += file->rows;
    f->shown_count += file->rows > 0;
    if (!list_in_segments(f, file))
        return false;
    if (file->published) {
        file->was_replayed = true;
        files_replace_locked(f, file, now_ms);
    }
    if (is_of_no_use(file))
        files_forget_locked(f, file);
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    return ulid_cmp(&x->id, &y->id);
}

bool files_settle(struct files *f, uint64_t now_ms)
{
    bool ok = true;
    pthread_rwlock_wrlock(&f->lock);
    f->is_replaying = false;
    if (f->count) {
        qsort(f->list, f->count, sizeof *f->list, by_id);
        ulid_seed_after(&f->list[f->count - 1].id);
    }
    for (size_t i = 0; ok && i < f->count; i++)
        ok = settle_file(f, f->list[i].file, now_ms);
    files_tidy_locked(f);
    pthread_rwlock_unlock(&f->lock);
    return ok;
}

/* ---- written again elsewhere ---- */

bool relocate(const struct relocation *list, size_t count, uint32_t *seq, uint32_t *at)
{
    for (size_t i = 0; i < count; i++) {
        const struct relocation *r = &list[i];
        if (r->old_seq == *seq && *at >= r->from && *at - r->from < r->len) {
            *seq = r->new_seq;
            *at = r->to + (*at - r->from);
            return true;
        }
    }
    return false;
}

void files_move_extent_locked(struct files *f, struct jfile *file, struct extent *x, uint32_t seq,
                              uint32_t at)
{
    struct segment *from = files_segment(f, x->seq), *to = files_segment(f, seq);
    from->live_bytes -= cost(x);
    x->seq = seq;
    x->at = at;
    count_extent(to, file, x);
}

static void relocate_file(struct files *f, struct jfile *file, const struct relocation *list,
                          size_t count)
{
    for (size_t i = 0; i < file->extents.count; i++) {
        struct extent *x = extent_at(&file->extents, i);
        uint32_t seq = x->seq, at = x->at;
        if (relocate(list, count, &seq, &at))
            files_move_extent_locked(f, file, x, seq, at);
    }
}

bool files_relocate(struct files *f, const struct relocation *list, size_t count)
{
    if (count == 0)
        return true;
    const struct segment *from = files_segment(f, list[0].old_seq);
    struct segment *to = files_segment(f, list[0].new_seq);
    pthread_rwlock_wrlock(&f->lock);
    bool ok = reserve_numbers(to, from->file_count);
    for (size_t i = 0; ok && i < from->file_count; i++) {
        struct jfile *file = files_by_number(f, from->files[i]);
        if (file && !file->is_replaced)
            relocate_file(f, file, list, count);
    }
    pthread_rwlock_unlock(&f->lock);
    return ok;
}

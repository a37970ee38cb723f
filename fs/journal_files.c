/* fs/journal_files.c - the journal's streams, files and extents in memory. */
#include "fs/journal_files.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FIRST_CHUNK = 4, LIST_MIN = 64, OPEN_KEY_LEN = 12 };

void files_init(struct files *f)
{
    *f = (struct files){.next_number = 1};
    pthread_rwlock_init(&f->lock, NULL);
    map_init(&f->streams, JOURNAL_STREAMS_MAX);
    map_init(&f->by_id, JOURNAL_FILES_MAX);
    map_init(&f->open, JOURNAL_FILES_MAX);
}

static void free_extents(struct extents *x)
{
    for (uint32_t i = 0; i < x->chunk_count; i++)
        free(x->chunks[i]);
    free(x->chunks);
}

void files_done(struct files *f)
{
    size_t pos = 0;
    struct str key;
    void *stream;
    for (size_t i = 0; i < f->count; i++) {
        free_extents(&f->list[i]->extents);
        free(f->list[i]);
    }
    while (map_next(&f->streams, &pos, &key, &stream))
        free(stream);
    for (size_t i = 0; i < f->segment_count; i++) {
        close(f->segments[i]->fd);
        free(f->segments[i]);
    }
    free(f->list);
    free(f->by_number);
    free(f->segments);
    map_done(&f->streams);
    map_done(&f->by_id);
    map_done(&f->open);
    pthread_rwlock_destroy(&f->lock);
}

/* ---- streams ---- */

static struct str number_key(const uint64_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
}

struct jstream *files_stream_find(const struct files *f, uint64_t number)
{
    return map_find(&f->streams, number_key(&number));
}

struct jstream *files_stream(struct files *f, const struct stream_decl *d)
{
    struct jstream *s = files_stream_find(f, d->number);
    if (s)
        return s;
    s = malloc(sizeof *s + d->org.len + d->name.len);
    if (!s)
        return NULL;
    char *text = (char *)(s + 1);
    memcpy(text, d->org.ptr, d->org.len);
    memcpy(text + d->org.len, d->name.ptr, d->name.len);
    *s = (struct jstream){.number = d->number,
                          .type = d->type,
                          .org = {text, d->org.len},
                          .name = {text + d->org.len, d->name.len}};
    pthread_rwlock_wrlock(&f->lock);
    bool ok = map_put(&f->streams, number_key(&s->number), s);
    pthread_rwlock_unlock(&f->lock);
    if (ok)
        return s;
    free(s);
    return NULL;
}

/* ---- files ---- */

static struct str open_key(char dst[OPEN_KEY_LEN], uint64_t stream, int32_t hour)
{
    put_u64(dst, stream);
    put_u32(dst + 8, (uint32_t)hour);
    return (struct str){dst, OPEN_KEY_LEN};
}

static struct str id_key(const struct ulid *id)
{
    return (struct str){(const char *)id->b, sizeof id->b};
}

static bool grow(void **array, size_t *cap, size_t need, size_t elem_size)
{
    size_t want = *cap ? *cap : LIST_MIN;
    if (need <= *cap)
        return true;
    while (want < need)
        want *= 2;
    void *bigger = realloc(*array, want * elem_size);
    if (!bigger)
        return false;
    memset((char *)bigger + *cap * elem_size, 0, (want - *cap) * elem_size);
    *array = bigger;
    *cap = want;
    return true;
}

static bool grow_pointers(void *array_of_pointers, size_t *cap, size_t need)
{
    void *array;
    memcpy(&array, array_of_pointers, sizeof array);
    bool ok = grow(&array, cap, need, sizeof(void *));
    memcpy(array_of_pointers, &array, sizeof array);
    return ok;
}

static bool insert_locked(struct files *f, struct jfile *file)
{
    char key[OPEN_KEY_LEN];
    if (f->count >= JOURNAL_FILES_MAX || file->number > JOURNAL_FILES_MAX ||
        !grow_pointers(&f->list, &f->cap, f->count + 1) ||
        !grow_pointers(&f->by_number, &f->number_cap, file->number) ||
        !map_put(&f->by_id, id_key(&file->id), file))
        return false;
    if (file->is_open &&
        !map_put(&f->open, open_key(key, file->stream->number, file->hour), file)) {
        map_remove(&f->by_id, id_key(&file->id));
        return false;
    }
    f->list[f->count++] = file;
    f->by_number[file->number - 1] = file;
    if (file->number >= f->next_number)
        f->next_number = file->number + 1;
    return true;
}

static struct jfile *insert(struct files *f, const struct jfile *proto)
{
    struct jfile *file = malloc(sizeof *file);
    if (!file)
        return NULL;
    *file = *proto;
    pthread_rwlock_wrlock(&f->lock);
    bool ok = insert_locked(f, file);
    pthread_rwlock_unlock(&f->lock);
    if (ok)
        return file;
    free(file);
    return NULL;
}

struct jfile *files_open_find(const struct files *f, uint64_t stream, int32_t hour)
{
    char key[OPEN_KEY_LEN];
    return map_find(&f->open, open_key(key, stream, hour));
}

struct jfile *files_open_for(struct files *f, const struct jstream *s, int32_t hour)
{
    struct jfile *file = files_open_find(f, s->number, hour);
    if (file && (f->roll_bytes == 0 || file->next_place < f->roll_bytes))
        return file;
    if (file)
        files_close(f, file);
    struct jfile fresh = {
        .id = ulid_new(), .number = f->next_number, .stream = s, .hour = hour, .is_open = true};
    return insert(f, &fresh);
}

struct jfile *files_by_number(const struct files *f, uint32_t number)
{
    return number > 0 && number <= f->number_cap ? f->by_number[number - 1] : NULL;
}

struct jfile *files_declare(struct files *f, const struct file_decl *d)
{
    struct jfile *file = files_by_number(f, d->number);
    if (file) {
        if (d->is_closed)
            files_close(f, file);
        return file;
    }
    const struct jstream *s = files_stream_find(f, d->stream);
    if (!s)
        return NULL;
    struct jfile *older = d->is_closed ? NULL : files_open_find(f, d->stream, d->hour);
    if (older)
        files_close(f, older);
    struct jfile fresh = {
        .id = d->id, .number = d->number, .stream = s, .hour = d->hour, .is_open = !d->is_closed};
    return insert(f, &fresh);
}

void files_close(struct files *f, struct jfile *file)
{
    char key[OPEN_KEY_LEN];
    pthread_rwlock_wrlock(&f->lock);
    if (file->is_open)
        map_remove(&f->open, open_key(key, file->stream->number, file->hour));
    file->is_open = false;
    pthread_rwlock_unlock(&f->lock);
}

struct jfile *files_by_id(const struct files *f, const struct ulid *id)
{
    return map_find(&f->by_id, id_key(id));
}

void files_replace(struct files *f, struct jfile *file)
{
    files_close(f, file);
    pthread_rwlock_wrlock(&f->lock);
    if (!file->is_replaced)
        f->replaced_count++;
    file->is_replaced = true;
    pthread_rwlock_unlock(&f->lock);
}

static int by_id(const void *a, const void *b)
{
    struct jfile *const *x = a, *const *y = b;
    return ulid_cmp(&(*x)->id, &(*y)->id);
}

void files_order(struct files *f)
{
    if (f->count == 0)
        return;
    qsort(f->list, f->count, sizeof *f->list, by_id);
    ulid_seed_after(&f->list[f->count - 1]->id);
}

/* ---- extents ---- */

static struct extent *extent_at(const struct extents *x, size_t i)
{
    return &x->chunks[i / EXTENTS_PER_CHUNK][i % EXTENTS_PER_CHUNK];
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

bool files_show_locked(struct files *f, struct jfile *file, uint32_t seq, uint32_t at, uint32_t len,
                       uint64_t offset)
{
    struct extents *x = &file->extents;
    if (offset < file->next_place)
        return false;
    assert(x->count < room(x));
    *extent_at(x, x->count) = (struct extent){file->size, seq, at, len};
    x->count++;
    file->size += len;
    file->next_place = offset + len;
    f->extent_count++;
    return true;
}

void files_add_facts_locked(struct files *f, struct jfile *file, const struct shown_facts *facts)
{
    if (facts->rows == 0)
        return;
    bool first = file->rows == 0;
    if (first)
        f->shown_count++;
    if (first || facts->min_ts_us < file->min_ts_us)
        file->min_ts_us = facts->min_ts_us;
    if (first || facts->max_ts_us > file->max_ts_us)
        file->max_ts_us = facts->max_ts_us;
    if (first)
        file->first_append_us = facts->first_append_us;
    file->last_append_us = facts->last_append_us;
    file->rows += facts->rows;
    f->row_count += facts->rows;
}

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

void files_relocate(struct files *f, const struct relocation *list, size_t count)
{
    if (count == 0)
        return;
    pthread_rwlock_wrlock(&f->lock);
    for (size_t i = 0; i < f->count; i++) {
        struct extents *x = &f->list[i]->extents;
        for (size_t k = 0; k < x->count; k++) {
            struct extent *ext = extent_at(x, k);
            if (ext->seq == list[0].old_seq)
                relocate(list, count, &ext->seq, &ext->at);
        }
    }
    pthread_rwlock_unlock(&f->lock);
}

/* ---- segments ---- */

bool files_add_segment(struct files *f, struct segment *s)
{
    pthread_rwlock_wrlock(&f->lock);
    bool ok = grow_pointers(&f->segments, &f->segment_cap, f->segment_count + 1);
    if (ok)
        f->segments[f->segment_count++] = s;
    pthread_rwlock_unlock(&f->lock);
    return ok;
}

void files_drop_segment(struct files *f, uint32_t seq)
{
    pthread_rwlock_wrlock(&f->lock);
    for (size_t i = 0; i < f->segment_count; i++) {
        if (f->segments[i]->seq != seq)
            continue;
        close(f->segments[i]->fd);
        free(f->segments[i]);
        f->segment_count--;
        memmove(f->segments + i, f->segments + i + 1, (f->segment_count - i) * sizeof *f->segments);
        break;
    }
    pthread_rwlock_unlock(&f->lock);
}

const struct segment *files_segment(const struct files *f, uint32_t seq)
{
    size_t low = 0, high = f->segment_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (f->segments[mid]->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->segment_count && f->segments[low]->seq == seq ? f->segments[low] : NULL;
}

static int segment_fd_locked(const struct files *f, uint32_t seq)
{
    const struct segment *s = files_segment(f, seq);
    return s ? s->fd : -1;
}

/* ---- readers ---- */

static void copy_facts(const struct jfile *file, struct journal_file *out)
{
    *out = (struct journal_file){.id = file->id,
                                 .stream = file->stream->number,
                                 .org = file->stream->org,
                                 .name = file->stream->name,
                                 .type = file->stream->type,
                                 .hour = file->hour,
                                 .size = file->size,
                                 .rows = file->rows,
                                 .min_ts_us = file->min_ts_us,
                                 .max_ts_us = file->max_ts_us,
                                 .first_append_us = file->first_append_us,
                                 .last_append_us = file->last_append_us,
                                 .open = file->is_open,
                                 .replaced = file->is_replaced};
}

static const struct jfile *find_shown_locked(const struct files *f, const struct ulid *id)
{
    const struct jfile *file = map_find(&f->by_id, id_key(id));
    return file && file->rows > 0 ? file : NULL;
}

static enum err_code no_such_file(const struct ulid *id, struct err *e)
{
    char text[ULID_TEXT_LEN + 1];
    ulid_format(id, text);
    return err_set(e, ERR_NOTFOUND, "the journal has no file %s", text);
}

enum err_code files_get(struct files *f, const struct ulid *id, struct journal_file *out,
                        struct err *e)
{
    pthread_rwlock_rdlock(&f->lock);
    const struct jfile *file = find_shown_locked(f, id);
    if (file)
        copy_facts(file, out);
    pthread_rwlock_unlock(&f->lock);
    return file ? ERR_OK : no_such_file(id, e);
}

enum err_code files_pin(struct files *f, const struct ulid *id, enum journal_reader kind,
                        struct err *e)
{
    pthread_rwlock_wrlock(&f->lock);
    struct jfile *file = files_by_id(f, id);
    if (file)
        file->pins[kind]++;
    pthread_rwlock_unlock(&f->lock);
    return file ? ERR_OK : no_such_file(id, e);
}

void files_unpin(struct files *f, const struct ulid *id, enum journal_reader kind)
{
    pthread_rwlock_wrlock(&f->lock);
    struct jfile *file = files_by_id(f, id);
    if (file && file->pins[kind] > 0)
        file->pins[kind]--;
    pthread_rwlock_unlock(&f->lock);
}

size_t files_page(struct files *f, size_t *pos, struct journal_file *out, size_t max)
{
    size_t n = 0;
    pthread_rwlock_rdlock(&f->lock);
    for (; *pos < f->count && n < max; (*pos)++) {
        if (f->list[*pos]->rows > 0 && !f->list[*pos]->is_replaced)
            copy_facts(f->list[*pos], &out[n++]);
    }
    pthread_rwlock_unlock(&f->lock);
    return n;
}

/* Index of the extent that holds the byte at `off`, which is below the size. */
static size_t extent_holding(const struct extents *x, uint64_t off)
{
    size_t low = 0, high = x->count;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (extent_at(x, mid)->shown_at <= off)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static size_t map_locked(const struct files *f, const struct jfile *file, uint64_t off, size_t n,
                         struct piece *out, size_t max)
{
    const struct extents *x = &file->extents;
    size_t count = 0;
    if (off >= file->size)
        return 0;
    for (size_t i = extent_holding(x, off); i < x->count && n > 0 && count < max; i++) {
        const struct extent *ext = extent_at(x, i);
        uint32_t skip = (uint32_t)(off - ext->shown_at);
        uint32_t len = ext->len - skip < n ? ext->len - skip : (uint32_t)n;
        out[count++] = (struct piece){segment_fd_locked(f, ext->seq), ext->at + skip, len};
        off += len;
        n -= len;
    }
    return count;
}

enum err_code files_map(struct files *f, const struct ulid *id, uint64_t off, size_t n,
                        struct piece *out, size_t max, size_t *count, struct err *e)
{
    pthread_rwlock_rdlock(&f->lock);
    const struct jfile *file = find_shown_locked(f, id);
    if (file)
        *count = map_locked(f, file, off, n, out, max);
    pthread_rwlock_unlock(&f->lock);
    return file ? ERR_OK : no_such_file(id, e);
}

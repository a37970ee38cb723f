/* fs/journal/files.c - the journal's streams, files and extents in memory. */
#include "fs/journal/files.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"

enum { LIST_MIN = 64, OPEN_KEY_LEN = 12, FORGOTTEN_MIN = 64 };
#define NUMBERS_AHEAD_MAX (1u << 31) /* numbers are compared as those of a circle */

void files_init(struct files *f)
{
    *f = (struct files){.next_number = 1, .is_replaying = true};
    pthread_rwlock_init(&f->lock, NULL);
    map_init(&f->streams, JOURNAL_STREAMS_MAX);
    map_init(&f->by_id, JOURNAL_FILES_MAX);
    map_init(&f->by_number, JOURNAL_FILES_MAX);
    map_init(&f->open, JOURNAL_FILES_MAX);
}

static void free_file(struct jfile *file)
{
    if (file)
        extents_free(&file->extents);
    free(file);
}

void files_done(struct files *f)
{
    size_t pos = 0;
    struct str key;
    void *stream;
    for (size_t i = 0; i < f->count; i++)
        free_file(f->list[i].file);
    while (map_next(&f->streams, &pos, &key, &stream))
        free(stream);
    for (size_t i = 0; i < f->segment_count; i++)
        segment_unref(f->segments[i]);
    free(f->list);
    free(f->segments);
    map_done(&f->streams);
    map_done(&f->by_id);
    map_done(&f->by_number);
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

static struct str file_key(const uint32_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
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

static bool put_keys_locked(struct files *f, struct jfile *file)
{
    char key[OPEN_KEY_LEN];
    return map_put(&f->by_id, id_key(&file->id), file) &&
           map_put(&f->by_number, file_key(&file->number), file) &&
           (!file->is_open ||
            map_put(&f->open, open_key(key, file->stream->number, file->hour), file));
}

static void remove_keys_locked(struct files *f, const struct jfile *file)
{
    char key[OPEN_KEY_LEN];
    if (map_find(&f->by_id, id_key(&file->id)) == file)
        map_remove(&f->by_id, id_key(&file->id));
    if (files_by_number(f, file->number) == file)
        map_remove(&f->by_number, file_key(&file->number));
    if (file->is_open)
        map_remove(&f->open, open_key(key, file->stream->number, file->hour));
}

/* The next number that no living file has.  After 2^32 files they begin again at 1: the frames of
 * the file that had the number are long gone then, or stand before the new declaration of it. */
static uint32_t free_number(const struct files *f)
{
    uint32_t n = f->next_number;
    while (n == 0 || n == UINT32_MAX || files_by_number(f, n)) /* at most JOURNAL_FILES_MAX */
        n++;
    return n;
}

/* Numbers are given out in order, but for a file that is declared again in a later segment. */
static void pass_number(struct files *f, uint32_t number)
{
    if (number - f->next_number < NUMBERS_AHEAD_MAX)
        f->next_number = number + 1;
}

static bool insert_locked(struct files *f, struct jfile *file)
{
    void *list = f->list;
    bool ok = grow(&list, &f->cap, f->count + 1, sizeof *f->list);
    f->list = list;
    if (!ok || !put_keys_locked(f, file)) {
        remove_keys_locked(f, file);
        return false;
    }
    f->list[f->count++] = (struct file_entry){file->id, file};
    pass_number(f, file->number);
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
        .id = ulid_new(), .number = free_number(f), .stream = s, .hour = hour, .is_open = true};
    return insert(f, &fresh);
}

struct jfile *files_by_number(const struct files *f, uint32_t number)
{
    return map_find(&f->by_number, file_key(&number));
}

struct jfile *files_declare(struct files *f, const struct file_decl *d)
{
    struct jfile *file = files_by_number(f, d->number);
    if (file && ulid_cmp(&file->id, &d->id) == 0) {
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

/* ---- the end of a file ---- */

void files_replace_locked(struct files *f, struct jfile *file, uint64_t now_ms)
{
    if (file->is_replaced)
        return;
    file->is_replaced = true;
    file->replaced_ms = now_ms;
    file->prev_replaced = f->last_replaced;
    if (f->last_replaced)
        f->last_replaced->next_replaced = file;
    else
        f->first_replaced = file;
    f->last_replaced = file;
    f->replaced_count++;
    f->shown_count -= file->rows > 0;
    f->row_count -= file->rows;
    files_count_bytes_locked(f, file, false, false);
    files_count_bytes_locked(f, file, true, true);
}

static void leave_replaced_locked(struct files *f, const struct jfile *file)
{
    if (file->prev_replaced)
        file->prev_replaced->next_replaced = file->next_replaced;
    else
        f->first_replaced = file->next_replaced;
    if (file->next_replaced)
        file->next_replaced->prev_replaced = file->prev_replaced;
    else
        f->last_replaced = file->prev_replaced;
    f->replaced_count--;
}

/* The entry of an id, or where it would be. */
static size_t entry_of(const struct files *f, const struct ulid *id)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (ulid_cmp(&f->list[mid].id, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void files_forget_locked(struct files *f, struct jfile *file)
{
    size_t i = entry_of(f, &file->id);
    while (f->list[i].file != file) /* ids are unique, but for a journal that lies */
        i++;
    f->list[i].file = NULL;
    f->forgotten_entries++;
    files_count_bytes_locked(f, file, file->is_replaced, false);
    f->extent_count -= file->extents.count;
    if (file->is_replaced) {
        leave_replaced_locked(f, file);
    } else {
        f->shown_count -= file->rows > 0;
        f->row_count -= file->rows;
    }
    remove_keys_locked(f, file);
    free_file(file);
}

void files_tidy_locked(struct files *f)
{
    size_t kept = 0;
    if (f->forgotten_entries < FORGOTTEN_MIN || f->forgotten_entries < f->count / 2)
        return;
    for (size_t i = 0; i < f->count; i++) {
        if (f->list[i].file)
            f->list[kept++] = f->list[i];
    }
    f->count = kept;
    f->forgotten_entries = 0;
}

/* ---- segments ---- */

bool files_add_segment(struct files *f, struct segment *s)
{
    pthread_rwlock_wrlock(&f->lock);
    void *list = f->segments;
    bool ok = grow(&list, &f->segment_cap, f->segment_count + 1, sizeof *f->segments);
    f->segments = list;
    if (ok)
        f->segments[f->segment_count++] = s;
    pthread_rwlock_unlock(&f->lock);
    return ok;
}

void files_remove_segment(struct files *f, struct segment *s)
{
    size_t i = 0;
    pthread_rwlock_wrlock(&f->lock);
    while (f->segments[i] != s)
        i++;
    f->segment_count--;
    memmove(f->segments + i, f->segments + i + 1, (f->segment_count - i) * sizeof *f->segments);
    pthread_rwlock_unlock(&f->lock);
}

struct segment *files_segment(const struct files *f, uint32_t seq)
{
    size_t low = 0, high = f->segment_count;
    if (high > 0 && f->segments[high - 1]->seq == seq) /* nearly always the newest */
        return f->segments[high - 1];
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (f->segments[mid]->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->segment_count && f->segments[low]->seq == seq ? f->segments[low] : NULL;
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

size_t files_page(struct files *f, struct ulid *after, struct journal_file *out, size_t max)
{
    size_t n = 0;
    pthread_rwlock_rdlock(&f->lock);
    size_t i = entry_of(f, after);
    if (i < f->count && ulid_cmp(&f->list[i].id, after) == 0)
        i++;
    for (; i < f->count && n < max; i++) {
        const struct jfile *file = f->list[i].file;
        *after = f->list[i].id;
        if (file && file->rows > 0 && !file->is_replaced)
            copy_facts(file, &out[n++]);
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
        struct segment *s = files_segment(f, ext->seq);
        segment_ref(s);
        out[count++] = (struct piece){s, ext->at + skip, len};
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

void pieces_done(struct piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        segment_unref(pieces[i].segment);
}

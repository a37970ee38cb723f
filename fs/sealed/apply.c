/* fs/sealed/apply.c - publish records into the index, many in one transaction.
 *
 *   the journal is being opened: a record past the position that the index covers ─► batch
 *   the batch is full, or that was all ─► index
 *                                     └─► no room: its parts that the index does not have yet are
 *                                         flights that are stuck from the beginning (publish.c)
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "fs/sealed/internal.h"
#include "fs/sealed/publish_record.h"

/* ---- the batch ---- */

enum err_code sealed_put(struct sealed *s, const struct part *list, size_t count, uint64_t position,
                         struct err *e)
{
    return parts_put(s->index, list, count, position >> 32, position & UINT32_MAX, e);
}

static void end_batch(struct sealed *s)
{
    struct apply_batch *b = s->batch;

    if (b->position > s->newest)
        s->newest = b->position;
    b->count = 0;
    arena_reset(&b->arena);
}

enum err_code sealed_batch_flush(struct sealed *s, struct err *e)
{
    struct apply_batch *b = s->batch;
    enum err_code rc;

    if (b->count == 0 && b->position <= s->newest)
        return ERR_OK;
    rc = sealed_put(s, b->list, b->count, sealed_held_back(s, b->position), e);
    if (!rc)
        end_batch(s);
    return rc;
}

enum err_code sealed_batch_add(struct sealed *s, const struct part *p,
                               const struct part_column *columns, size_t count, struct err *e)
{
    struct apply_batch *b = s->batch;
    uint64_t hash;
    enum err_code rc;

    b->list[b->count++] = *p;
    rc = parts_schema_put(s->index, columns, count, &hash, e);
    if (rc)
        return rc;
    return b->count == BATCH_PARTS || b->arena.used_bytes > BATCH_BYTES ? sealed_batch_flush(s, e)
                                                                        : ERR_OK;
}

void sealed_batch_free(struct sealed *s)
{
    if (s->batch)
        arena_done(&s->batch->arena);
    free(s->batch);
    s->batch = NULL;
}

/* ---- no room ---- */

/* What the index has covered, and lost, the journal no longer keeps: that is not to be left. */
static enum err_code strand_batch(struct sealed *s, struct err *e)
{
    const struct apply_batch *b = s->batch;

    for (size_t i = 0; i < b->count; i++) {
        bool known = false;
        enum err_code rc = parts_has(s->index, &b->list[i].id, &known, e);
        if (!rc && !known)
            rc = b->positions[i] > s->covered ? sealed_strand(s, &b->records[i], e) : ERR_FULL;
        if (rc)
            return rc;
    }
    end_batch(s);
    return ERR_OK;
}

/* `rc` is what became of a step towards the index. */
static enum err_code go_on_when_full(struct sealed *s, enum err_code rc, struct err *e)
{
    return rc == ERR_FULL && s->cfg.starts_when_full ? strand_batch(s, e) : rc;
}

/* ---- records of the journal ---- */

/* A copy that lives as long as the batch. */
static bool keep_record(struct apply_batch *b, const struct journal_publish *p, uint64_t position)
{
    size_t bytes = p->file_count * sizeof *p->files;
    struct ulid *files = arena_alloc(&b->arena, bytes + 1);
    struct str record = arena_copy(&b->arena, p->record);

    if (!files || !record.ptr)
        return false;
    memcpy(files, p->files, bytes);
    b->records[b->count] = (struct journal_publish){p->part, files, p->file_count, record};
    b->positions[b->count] = position;
    return true;
}

static enum err_code add_record(struct sealed *s, const struct journal_publish *p,
                                uint64_t position, struct err *e)
{
    struct apply_batch *b = s->batch;
    struct part_column *columns;
    struct part part;
    size_t count;
    enum err_code rc;

    if (!keep_record(b, p, position))
        return err_set(e, ERR_NOMEM, "no memory for a publish record");
    rc = publish_record_decode(b->records[b->count].record, &b->arena, &part, &columns, &count, e);
    if (rc)
        return rc;
    if (position > b->position)
        b->position = position;
    return sealed_batch_add(s, &part, columns, count, e);
}

/* Covered, and yet the index has lost it though its file is there. */
static bool is_missing(struct sealed *s, const struct journal_publish *p)
{
    struct part_column *columns;
    struct arena arena;
    struct part part;
    bool missing = false, known = true;
    size_t count;

    if (p->record.len == 0 || parts_has(s->index, &p->part, &known, NULL) || known)
        return false;
    arena_init(&arena, BATCH_MEMORY_MAX);
    if (publish_record_decode(p->record, &arena, &part, &columns, &count, NULL) == ERR_OK)
        missing = sealed_files_has(&s->files, &part.id, part.hour);
    arena_done(&arena);
    return missing;
}

enum err_code sealed_apply(const struct journal_publish *p, uint64_t position, void *sealed,
                           struct err *e)
{
    struct sealed *s = sealed;
    char id[ULID_TEXT_LEN + 1];
    enum err_code rc;

    if (position <= s->covered && !is_missing(s, p))
        return ERR_OK;
    if (p->record.len == 0) { /* of a deleted stream (drop.c) */
        if (position > s->batch->position)
            s->batch->position = position;
        return ERR_OK;
    }
    rc = go_on_when_full(s, add_record(s, p, position, e), e);
    if (!rc)
        return ERR_OK;
    ulid_format(&p->part, id);
    return err_wrap(e, "part %s, published", id);
}

enum err_code sealed_apply_rest(struct sealed *s, struct err *e)
{
    enum err_code rc = go_on_when_full(s, sealed_batch_flush(s, e), e);

    sealed_batch_free(s);
    return rc;
}

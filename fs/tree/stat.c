/* fs/tree/stat.c - what a file or directory looks like, and how long the kernel may believe it.
 *
 * Times of directories are those of the newest file or part that was made below them.
 */
#include "base/clock.h"
#include "fs/tree/internal.h"

#define BLOCK_BYTES 512
#define IO_BYTES 131072                       /* what readers should ask for at a time */
static const double FOR_EVER_SECONDS = 86400; /* what can never change */
static const double DIR_SECONDS = 1;
static const double HOUR_SECONDS = 0.1; /* where files come and go */
static const double SEALED_SECONDS = 10;

static void set_times(struct stat *st, int64_t us)
{
    struct timespec ts = {.tv_sec = us / US_PER_SEC, .tv_nsec = us % US_PER_SEC * 1000};

    st->st_atim = st->st_mtim = st->st_ctim = ts;
}

static void set_size(struct stat *st, uint64_t bytes)
{
    st->st_size = (off_t)bytes;
    st->st_blocks = (blkcnt_t)((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES);
}

static bool stat_data(struct tree *t, const struct tree_ref *ref, struct stat *st)
{
    struct journal_file f;
    struct ulid current;

    if (journal_file_get(t->cfg.journal, &ref->id, &f, NULL))
        return false;
    set_size(st, f.size);
    set_times(st, f.last_append_us);
    /* Its second name is current.ndjson: du and tar count and copy it once. */
    if (registry_current(t->cfg.registry, ref->stream, &current) &&
        ulid_cmp(&current, &ref->id) == 0)
        st->st_nlink = 2;
    return true;
}

static bool stat_snapshot(struct tree *t, const struct tree_ref *ref, struct stat *st)
{
    struct journal_file f;

    if (journal_file_get(t->cfg.journal, &ref->id, &f, NULL))
        return false;
    set_size(st, ref->number);
    set_times(st, f.last_append_us);
    return true;
}

static void fill_part(const struct part *p, const struct part_name *rows, void *ctx)
{
    (void)rows;
    set_size(ctx, p->stored_bytes);
    set_times(ctx, tree_part_mtime(p));
}

static void fill_lines(const struct part *p, const struct part_name *rows, void *ctx)
{
    set_size(ctx, rows->text_bytes);
    set_times(ctx, tree_part_mtime(p));
}

static bool stat_text(struct tree *t, const struct tree_ref *ref, struct stat *st)
{
    struct buf text;

    buf_init(&text, TREE_TEXT_MAX);
    if (tree_text(t, ref, &text, NULL) == ERR_OK)
        set_size(st, text.len);
    buf_done(&text);
    if (ref->kind == TREE_SCHEMA)
        set_times(st, registry_mtime_stream(t->cfg.registry, ref->stream));
    else if (ref->number != STATUS_VERSION && ref->number != STATUS_CONFIG)
        set_times(st, clock_wall_us());
    return true;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t span_mtime(struct tree *t, const struct tree_ref *ref)
{
    int64_t of_files =
        ref->view == VIEW_DATA ? registry_mtime_span(t->cfg.registry, ref->stream, &ref->span) : 0;

    return later(of_files, tree_parts_mtime(t, ref, ref->span.first, ref->span.last));
}

static int64_t dir_mtime(struct tree *t, const struct tree_ref *ref)
{
    struct registry *r = t->cfg.registry;
    int64_t us = 0;

    switch (ref->kind) {
    case TREE_ROOT:
        us = registry_mtime_root(r);
        break;
    case TREE_ORG:
        us = registry_mtime_org(r, ref->org);
        break;
    case TREE_TYPE:
        us = registry_mtime_type(r, ref->org, ref->type);
        break;
    case TREE_STREAM:
        us = later(registry_mtime_stream(r, ref->stream),
                   tree_parts_mtime(t, ref, INT32_MIN, INT32_MAX));
        break;
    case TREE_TEXTS:
    case TREE_PARTS:
        us = tree_parts_mtime(t, ref, INT32_MIN, INT32_MAX);
        break;
    case TREE_SPAN:
        us = span_mtime(t, ref);
        break;
    default:
        break;
    }
    return us ? us : t->cfg.started_us;
}

static bool belongs_to_node(const struct tree_ref *ref)
{
    return ref->kind == TREE_COMMITS || ref->kind == TREE_COMMIT || ref->kind == TREE_SNAPSHOTS ||
           ref->kind == TREE_SNAPSHOT;
}

bool tree_stat(struct tree *t, const struct tree_ref *ref, struct stat *out)
{
    bool of_node = belongs_to_node(ref);

    *out = (struct stat){.st_nlink = 1, .st_blksize = IO_BYTES};
    out->st_uid = of_node ? t->cfg.node_uid : t->cfg.owner_uid;
    out->st_gid = of_node ? t->cfg.node_gid : t->cfg.owner_gid;
    set_times(out, t->cfg.started_us);
    if (tree_is_dir(ref)) {
        /* One link: "how many sub-directories is not told", so find looks into every entry. */
        out->st_mode = S_IFDIR | 0700;
        set_times(out, dir_mtime(t, ref));
        return true;
    }
    bool is_written = ref->kind == TREE_COMMIT || ref->kind == TREE_INGEST;
    out->st_mode = S_IFREG | (is_written ? 0600 : 0400);
    switch (ref->kind) {
    case TREE_DATA:
        return stat_data(t, ref, out);
    case TREE_SNAPSHOT:
        return stat_snapshot(t, ref, out);
    case TREE_PART:
        return tree_with_part(t, ref, fill_part, out);
    case TREE_TEXT:
        return tree_with_part(t, ref, fill_lines, out);
    default:
        return tree_is_text(ref) ? stat_text(t, ref, out) : true;
    }
}

void tree_timeouts(const struct tree_ref *ref, double *entry_seconds, double *attr_seconds)
{
    bool is_fixed = ref->kind == TREE_SNAPSHOT || ref->kind == TREE_WEIR ||
                    ref->kind == TREE_COMMITS || ref->kind == TREE_SNAPSHOTS ||
                    ref->kind == TREE_COMMIT;
    bool is_listed_dir = tree_is_dir(ref) && !is_fixed;
    bool is_sealed = ref->kind == TREE_PART || ref->kind == TREE_TEXT;
    bool is_hour = ref->kind == TREE_SPAN && ref->span.level == SPAN_HOUR;

    /* A file of lines may give way to another name at any moment, and its size grows until it is
     * sealed.  A sealed file keeps its name, its bytes and its size until it is deleted; an open
     * of one that is gone says so, whatever the kernel remembers.  Directories change their time
     * only; it is asked again after a moment, or the check of permissions on a long path would ask
     * for each part of it. */
    *entry_seconds = is_fixed        ? FOR_EVER_SECONDS
                     : is_listed_dir ? DIR_SECONDS
                     : is_sealed     ? SEALED_SECONDS
                                     : 0;
    *attr_seconds = is_fixed || is_sealed ? FOR_EVER_SECONDS
                    : is_hour             ? HOUR_SECONDS
                    : is_listed_dir       ? DIR_SECONDS
                                          : 0;
}

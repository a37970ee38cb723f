/* fs/tree.c - what a path names and what it looks like.
 *
 *   root ── <org> ── <type> ── <stream> ── <YYYY> ── <MM> ── <DD> ── <HH> ── <id>.ndjson
 *     │                            ├── schema.json
 *     │                            └── current.ndjson  (the inode of the newest <id>.ndjson)
 *     └── .weir ── version, health.json, ...
 *           ├── commit ── 0, 1, ...
 *           └── at ── <id>@<bytes>.ndjson  (found by name, never listed)
 *
 * Inode numbers are 63 bits of a hash: of the path, or of the id for data files.  Times of
 * directories are those of the newest file that began below them.
 */
#include "fs/tree_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define TREE_PATH_MAX 1024
#define BLOCK_BYTES 512
#define IO_BYTES 131072                       /* what readers should ask for at a time */
static const double FOR_EVER_SECONDS = 86400; /* what can never change */
static const double DIR_SECONDS = 1;

enum err_code tree_new(const struct tree_config *cfg, struct tree **out, struct err *e)
{
    struct tree *t = malloc(sizeof *t);

    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for the tree");
    t->cfg = *cfg;
    *out = t;
    return ERR_OK;
}

void tree_free(struct tree *t)
{
    free(t);
}

/* ---- refs ---- */

struct tree_ref tree_root(void)
{
    return (struct tree_ref){.kind = TREE_ROOT};
}

bool tree_is_dir(const struct tree_ref *ref)
{
    switch (ref->kind) {
    case TREE_ROOT:
    case TREE_ORG:
    case TREE_TYPE:
    case TREE_STREAM:
    case TREE_SPAN:
    case TREE_WEIR:
    case TREE_COMMITS:
    case TREE_SNAPSHOTS:
        return true;
    default:
        return false;
    }
}

bool tree_same(const struct tree_ref *a, const struct tree_ref *b)
{
    return a->kind == b->kind && a->type == b->type && a->org == b->org && a->stream == b->stream &&
           a->number == b->number && a->span.level == b->span.level &&
           a->span.first == b->span.first && ulid_cmp(&a->id, &b->id) == 0;
}

bool tree_is_text(const struct tree_ref *ref)
{
    return ref->kind == TREE_STATUS || ref->kind == TREE_SCHEMA;
}

/* A path being written; the parts fit, because names are at most NAME_TEXT_MAX bytes. */
struct path {
    char *dst;
    size_t len;
};

static void add_part(struct path *p, struct str part)
{
    assert(p->len + 1 + part.len <= TREE_PATH_MAX);
    p->dst[p->len++] = '/';
    memcpy(p->dst + p->len, part.ptr, part.len);
    p->len += part.len;
}

static void add_stream_parts(struct path *p, const struct tree_ref *ref)
{
    add_part(p, ref->org->name);
    if (ref->kind == TREE_ORG)
        return;
    add_part(p, str_from(stream_type_name(ref->type)));
    if (ref->kind == TREE_TYPE)
        return;
    add_part(p, ref->stream->name);
    if (ref->kind == TREE_SCHEMA)
        add_part(p, STR(SCHEMA_NAME));
    for (int level = SPAN_YEAR; ref->kind == TREE_SPAN && level <= (int)ref->span.level; level++) {
        struct span s = span_around((enum span_level)level, ref->span.first);
        char text[8];
        size_t len = span_format(&s, text);
        add_part(p, (struct str){text, len});
    }
}

static void add_weir_parts(struct path *p, const struct tree_ref *ref)
{
    char text[24];

    add_part(p, STR(WEIR_NAME));
    if (ref->kind == TREE_STATUS)
        add_part(p, status_name((enum status_file)ref->number));
    if (ref->kind == TREE_SNAPSHOTS)
        add_part(p, STR(SNAPSHOTS_NAME));
    if (ref->kind == TREE_COMMITS || ref->kind == TREE_COMMIT)
        add_part(p, STR(COMMITS_NAME));
    if (ref->kind == TREE_COMMIT) {
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)ref->number);
        add_part(p, (struct str){text, (size_t)n});
    }
}

/* What the inode number is a hash of: the path, or the id. */
static size_t write_identity(const struct tree_ref *ref, char dst[TREE_PATH_MAX])
{
    struct path path = {.dst = dst};
    size_t len = sizeof ref->id.b;

    if (ref->kind != TREE_DATA && ref->kind != TREE_SNAPSHOT) {
        if (ref->org)
            add_stream_parts(&path, ref);
        else
            add_weir_parts(&path, ref);
        return path.len;
    }
    memcpy(dst, ref->id.b, len);
    if (ref->kind == TREE_SNAPSHOT) {
        put_u64(dst + len, ref->number);
        len += sizeof ref->number;
    }
    return len;
}

uint64_t tree_ino(const struct tree_ref *ref, unsigned attempt)
{
    char identity[TREE_PATH_MAX];
    uint64_t ino;

    if (ref->kind == TREE_ROOT)
        return 1;
    ino = str_hash((struct str){identity, write_identity(ref, identity)});
    for (unsigned i = 0; i < attempt; i++)
        ino = str_hash((struct str){(const char *)&ino, sizeof ino});
    ino &= INT64_MAX; /* programs that read it as signed print the same number */
    return ino > 1 ? ino : ino + 2;
}

static struct tree_ref parent_of(const struct tree_ref *dir)
{
    switch (dir->kind) {
    case TREE_TYPE:
        return tree_child(dir, TREE_ORG);
    case TREE_STREAM:
        return tree_child(dir, TREE_TYPE);
    case TREE_SPAN: {
        struct tree_ref parent = tree_child(dir, TREE_STREAM);
        if (dir->span.level > SPAN_YEAR) {
            parent.kind = TREE_SPAN;
            parent.span = span_around(dir->span.level - 1, dir->span.first);
        }
        return parent;
    }
    case TREE_COMMITS:
    case TREE_SNAPSHOTS:
        return tree_child(dir, TREE_WEIR);
    default:
        return tree_root();
    }
}

uint64_t tree_parent_ino(const struct tree_ref *dir)
{
    struct tree_ref parent = parent_of(dir);

    return tree_ino(&parent, 0);
}

/* ---- lookup ---- */

struct tree_ref tree_child(const struct tree_ref *parent, enum tree_kind kind)
{
    struct tree_ref child = *parent;

    child.kind = kind;
    child.span = (struct span){0};
    return child;
}

struct tree_ref tree_data_child(const struct tree_ref *stream_or_hour, const struct ulid *id)
{
    struct tree_ref ref = tree_child(stream_or_hour, TREE_DATA);

    ref.id = *id;
    return ref;
}

static bool lookup_root(struct tree *t, const struct tree_ref *root, struct str name,
                        struct tree_ref *out)
{
    if (str_eq(name, STR(WEIR_NAME))) {
        *out = tree_child(root, TREE_WEIR);
        return true;
    }
    *out = tree_child(root, TREE_ORG);
    out->org = registry_find_org(t->cfg.registry, name);
    return out->org != NULL;
}

static bool lookup_org(struct tree *t, const struct tree_ref *org, struct str name,
                       struct tree_ref *out)
{
    *out = tree_child(org, TREE_TYPE);
    return stream_type_parse(name, &out->type) &&
           registry_has_type(t->cfg.registry, org->org, out->type);
}

static bool lookup_type(struct tree *t, const struct tree_ref *type, struct str name,
                        struct tree_ref *out)
{
    *out = tree_child(type, TREE_STREAM);
    out->stream = registry_find_stream(t->cfg.registry, type->org, type->type, name);
    return out->stream != NULL;
}

static bool lookup_span(struct tree *t, const struct tree_ref *parent, struct str name,
                        struct tree_ref *out)
{
    *out = tree_child(parent, TREE_SPAN);
    return span_parse(parent->kind == TREE_SPAN ? &parent->span : NULL, name, &out->span) &&
           registry_has_span(t->cfg.registry, parent->stream, &out->span);
}

bool tree_has_schema(struct tree *t, const struct registry_stream *s)
{
    return schema_exists(t->cfg.schema, s->org->raw, s->type, s->raw);
}

static bool lookup_stream(struct tree *t, const struct tree_ref *stream, struct str name,
                          struct tree_ref *out)
{
    struct ulid id;

    if (str_eq(name, STR(SCHEMA_NAME))) {
        *out = tree_child(stream, TREE_SCHEMA);
        return tree_has_schema(t, stream->stream);
    }
    if (str_eq(name, STR(CURRENT_NAME))) {
        if (!registry_current(t->cfg.registry, stream->stream, &id))
            return false;
        *out = tree_data_child(stream, &id);
        return true;
    }
    return lookup_span(t, stream, name, out);
}

static bool lookup_hour(struct tree *t, const struct tree_ref *hour, struct str name,
                        struct tree_ref *out)
{
    struct journal_file f;
    struct ulid id;

    if (!name_parse_data(name, &id) || journal_file_get(t->cfg.journal, &id, &f, NULL))
        return false;
    if (f.hour != hour->span.first ||
        f.stream != registry_stream_number(t->cfg.registry, hour->stream))
        return false;
    *out = tree_data_child(hour, &id);
    return true;
}

static bool lookup_weir(struct tree *t, const struct tree_ref *weir, struct str name,
                        struct tree_ref *out)
{
    enum status_file which;

    if (str_eq(name, STR(SNAPSHOTS_NAME))) {
        *out = tree_child(weir, TREE_SNAPSHOTS);
        return true;
    }
    if (str_eq(name, STR(COMMITS_NAME))) {
        *out = tree_child(weir, TREE_COMMITS);
        return t->cfg.commit_files > 0;
    }
    *out = tree_child(weir, TREE_STATUS);
    if (!status_find(name, &which))
        return false;
    out->number = which;
    return true;
}

static bool lookup_commit(struct tree *t, const struct tree_ref *commits, struct str name,
                          struct tree_ref *out)
{
    char again[24];

    *out = tree_child(commits, TREE_COMMIT);
    if (!str_to_u64(name, &out->number) || out->number >= t->cfg.commit_files)
        return false;
    snprintf(again, sizeof again, "%llu", (unsigned long long)out->number);
    return str_eq(name, str_from(again));
}

static bool lookup_snapshot(struct tree *t, const struct tree_ref *snapshots, struct str name,
                            struct tree_ref *out)
{
    struct journal_file f;

    *out = tree_child(snapshots, TREE_SNAPSHOT);
    return name_parse_snapshot(name, &out->id, &out->number) &&
           journal_file_get(t->cfg.journal, &out->id, &f, NULL) == ERR_OK && out->number <= f.size;
}

bool tree_lookup(struct tree *t, const struct tree_ref *parent, struct str name,
                 struct tree_ref *out)
{
    switch (parent->kind) {
    case TREE_ROOT:
        return lookup_root(t, parent, name, out);
    case TREE_ORG:
        return lookup_org(t, parent, name, out);
    case TREE_TYPE:
        return lookup_type(t, parent, name, out);
    case TREE_STREAM:
        return lookup_stream(t, parent, name, out);
    case TREE_SPAN:
        return parent->span.level == SPAN_HOUR ? lookup_hour(t, parent, name, out)
                                               : lookup_span(t, parent, name, out);
    case TREE_WEIR:
        return lookup_weir(t, parent, name, out);
    case TREE_COMMITS:
        return lookup_commit(t, parent, name, out);
    case TREE_SNAPSHOTS:
        return lookup_snapshot(t, parent, name, out);
    default:
        return false;
    }
}

/* ---- attributes ---- */

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

static bool stat_text(struct tree *t, const struct tree_ref *ref, struct stat *st)
{
    struct buf text;

    buf_init(&text, STATUS_TEXT_MAX);
    if (tree_text(t, ref, &text, NULL) == ERR_OK)
        set_size(st, text.len);
    buf_done(&text);
    if (ref->kind == TREE_SCHEMA)
        set_times(st, registry_mtime_stream(t->cfg.registry, ref->stream));
    else if (ref->number != STATUS_VERSION && ref->number != STATUS_CONFIG)
        set_times(st, clock_wall_us());
    return true;
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
        us = registry_mtime_stream(r, ref->stream);
        break;
    case TREE_SPAN:
        us = registry_mtime_span(r, ref->stream, &ref->span);
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
    out->st_mode = S_IFREG | (ref->kind == TREE_COMMIT ? 0600 : 0400);
    if (ref->kind == TREE_DATA)
        return stat_data(t, ref, out);
    if (ref->kind == TREE_SNAPSHOT)
        return stat_snapshot(t, ref, out);
    return tree_is_text(ref) ? stat_text(t, ref, out) : true;
}

void tree_timeouts(const struct tree_ref *ref, double *entry_seconds, double *attr_seconds)
{
    bool is_fixed = ref->kind == TREE_SNAPSHOT || ref->kind == TREE_WEIR ||
                    ref->kind == TREE_COMMITS || ref->kind == TREE_SNAPSHOTS ||
                    ref->kind == TREE_COMMIT;
    bool is_listed_dir = tree_is_dir(ref) && !is_fixed;

    bool is_hour = ref->kind == TREE_SPAN && ref->span.level == SPAN_HOUR;

    /* A name of a data file may mean another file at any moment, and its size grows.  Directories
     * change their time only; it is asked again after a moment, or the check of permissions on a
     * long path would ask for each part of it. */
    *entry_seconds = is_fixed ? FOR_EVER_SECONDS : is_listed_dir ? DIR_SECONDS : 0;
    *attr_seconds = is_fixed ? FOR_EVER_SECONDS : is_listed_dir && !is_hour ? DIR_SECONDS : 0;
}

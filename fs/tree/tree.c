/* fs/tree/tree.c - what a path names.
 *
 *   /<org>/<type>/<stream>/                     <YYYY>/<MM>/<DD>/<HH>/<id>.ndjson, .parquet
 *                           schema.json
 *                           ingest              takes lines (of logs)
 *                           current.ndjson      the inode of the newest <id>.ndjson
 *                           text/               <YYYY>/<MM>/<DD>/<HH>/<id>.ndjson  (no metrics)
 *   /<org>/metrics/.parts/                      <YYYY>/<MM>/<DD>/<HH>/<id>.parquet
 *   /.weir/version, health.json, ...
 *   /.weir/commit/0, 1, ...
 *   /.weir/at/<id>@<bytes>.ndjson               found by name, never listed
 *            <id>.parquet                       likewise: the inode that its hour shows
 *
 * A metric's hours hold <id>.ndjson of what is being written and <part id>.ndjson of what is
 * sealed. Inode numbers are 63 bits of a hash: of the path, or of the id and what the file shows of
 * it.
 */
#include "fs/tree/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

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
    case TREE_TEXTS:
    case TREE_PARTS:
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
           a->number == b->number && a->view == b->view && a->span.level == b->span.level &&
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
    assert(p->len + 1 + part.len + sizeof(uint64_t) <= TREE_PATH_MAX); /* a lane may follow */
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
    add_part(p, ref->view == VIEW_PARTS ? STR(PARTS_NAME) : ref->stream->name);
    if (ref->view == VIEW_TEXT)
        add_part(p, STR(TEXTS_NAME));
    if (ref->kind == TREE_SCHEMA)
        add_part(p, STR(SCHEMA_NAME));
    if (ref->kind == TREE_INGEST)
        add_part(p, STR(INGEST_NAME));
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

size_t tree_dir_path(const struct tree_ref *dir, char dst[TREE_PATH_MAX])
{
    struct path path = {.dst = dst};

    if (dir->org)
        add_stream_parts(&path, dir);
    else
        add_weir_parts(&path, dir);
    return path.len;
}

static size_t add_bytes(char *dst, size_t len, const void *p, size_t n)
{
    memcpy(dst + len, p, n);
    return len + n;
}

/* What the inode number is a hash of: the path, or the id and what the file shows of it. */
static size_t write_identity(const struct tree_ref *ref, char dst[TREE_PATH_MAX])
{
    size_t len = add_bytes(dst, 0, ref->id.b, sizeof ref->id.b);
    char bytes[8];

    switch (ref->kind) {
    case TREE_DATA:
        return len;
    case TREE_SNAPSHOT:
        put_u64(bytes, ref->number);
        return add_bytes(dst, len, bytes, sizeof bytes);
    case TREE_INGEST:
        put_u64(bytes, ref->number);
        return add_bytes(dst, tree_dir_path(ref, dst), bytes, ref->number ? sizeof bytes : 0);
    case TREE_PART:
        return add_bytes(dst, len, "p", 1);
    case TREE_TEXT:
        len = add_bytes(dst, len, "t", 1);
        return ref->type == STREAM_METRICS
                   ? add_bytes(dst, len, ref->stream->name.ptr, ref->stream->name.len)
                   : len;
    default:
        return tree_dir_path(ref, dst);
    }
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

/* The parent of a directory that begins a view. */
static struct tree_ref above_view(const struct tree_ref *dir, enum tree_kind kind)
{
    struct tree_ref parent = tree_child(dir, kind);

    parent.view = VIEW_DATA;
    return parent;
}

static struct tree_ref parent_of(const struct tree_ref *dir)
{
    switch (dir->kind) {
    case TREE_TYPE:
        return tree_child(dir, TREE_ORG);
    case TREE_TEXTS:
        return above_view(dir, TREE_STREAM);
    case TREE_PARTS:
        return above_view(dir, TREE_TYPE);
    case TREE_STREAM:
        return tree_child(dir, TREE_TYPE);
    case TREE_SPAN: {
        static const enum tree_kind tops[] = {
            [VIEW_DATA] = TREE_STREAM, [VIEW_TEXT] = TREE_TEXTS, [VIEW_PARTS] = TREE_PARTS};
        struct tree_ref parent = tree_child(dir, tops[dir->view]);
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

struct tree_ref tree_file_child(const struct tree_ref *dir, enum tree_kind kind,
                                const struct ulid *id)
{
    struct tree_ref ref = tree_child(dir, kind);

    ref.view = VIEW_DATA;
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

bool tree_has_type(const struct tree *t, const struct tree_ref *org, enum stream_type type)
{
    return (type == STREAM_LOGS && t->cfg.commit_files > 0) ||
           registry_has_type(t->cfg.registry, org->org, type);
}

static bool lookup_org(struct tree *t, const struct tree_ref *org, struct str name,
                       struct tree_ref *out)
{
    *out = tree_child(org, TREE_TYPE);
    return stream_type_parse(name, &out->type) && tree_has_type(t, org, out->type);
}

static bool lookup_type(struct tree *t, const struct tree_ref *type, struct str name,
                        struct tree_ref *out)
{
    if (type->type == STREAM_METRICS && str_eq(name, STR(PARTS_NAME))) {
        *out = tree_child(type, TREE_PARTS);
        out->view = VIEW_PARTS;
        return tree_has_part(t, out);
    }
    *out = tree_child(type, TREE_STREAM);
    out->stream = registry_find_stream(t->cfg.registry, type->org, type->type, name);
    return out->stream != NULL;
}

static bool span_is_there(struct tree *t, const struct tree_ref *ref)
{
    int32_t hour;

    return (ref->view == VIEW_DATA &&
            registry_has_span(t->cfg.registry, ref->stream, &ref->span)) ||
           tree_first_hour(t, ref, ref->span.first, ref->span.last, &hour);
}

static bool lookup_span(struct tree *t, const struct tree_ref *parent, struct str name,
                        struct tree_ref *out)
{
    *out = tree_child(parent, TREE_SPAN);
    return span_parse(parent->kind == TREE_SPAN ? &parent->span : NULL, name, &out->span) &&
           span_is_there(t, out);
}

bool tree_has_schema(struct tree *t, const struct registry_stream *s)
{
    return schema_exists(t->cfg.schema, s->org->raw, s->type, s->raw);
}

bool tree_has_ingest(const struct tree *t, const struct tree_ref *stream)
{
    return stream->type == STREAM_LOGS && t->cfg.commit_files > 0;
}

static bool lookup_stream(struct tree *t, const struct tree_ref *stream, struct str name,
                          struct tree_ref *out)
{
    struct ulid id;

    if (str_eq(name, STR(SCHEMA_NAME))) {
        *out = tree_child(stream, TREE_SCHEMA);
        return tree_has_schema(t, stream->stream);
    }
    if (str_eq(name, STR(INGEST_NAME))) {
        *out = tree_child(stream, TREE_INGEST);
        return tree_has_ingest(t, stream);
    }
    if (str_eq(name, STR(CURRENT_NAME))) {
        if (!registry_current(t->cfg.registry, stream->stream, &id))
            return false;
        *out = tree_file_child(stream, TREE_DATA, &id);
        return true;
    }
    if (stream->type != STREAM_METRICS && str_eq(name, STR(TEXTS_NAME))) {
        *out = tree_child(stream, TREE_TEXTS);
        out->view = VIEW_TEXT;
        return tree_has_part(t, out);
    }
    return lookup_span(t, stream, name, out);
}

static bool is_file_of(struct tree *t, const struct tree_ref *hour, const struct ulid *id)
{
    struct journal_file f;

    return journal_file_get(t->cfg.journal, id, &f, NULL) == ERR_OK && f.hour == hour->span.first &&
           f.stream == registry_stream_number(t->cfg.registry, hour->stream);
}

/* A replaced <id>.ndjson is found by its name as long as the journal has it. */
static bool lookup_hour(struct tree *t, const struct tree_ref *hour, struct str name,
                        struct tree_ref *out)
{
    bool shows_text =
        hour->view == VIEW_TEXT || (hour->view == VIEW_DATA && hour->type == STREAM_METRICS);
    struct ulid id;

    if (name_parse_part(name, &id)) {
        *out = tree_file_child(hour, TREE_PART, &id);
        return !shows_text && tree_hour_has(t, hour, &id);
    }
    if (!name_parse_data(name, &id))
        return false;
    *out = tree_file_child(hour, TREE_DATA, &id);
    if (hour->view == VIEW_DATA && is_file_of(t, hour, &id))
        return true;
    out->kind = TREE_TEXT;
    return shows_text && tree_hour_has(t, hour, &id);
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

/* A second name of a part, with the same inode: found as long as the part is in the index. */
static bool lookup_pinned(struct tree *t, const struct tree_ref *snapshots, struct str name,
                          struct tree_ref *out)
{
    struct ulid id;

    if (!name_parse_part(name, &id))
        return false;
    *out = tree_file_child(snapshots, TREE_PART, &id);
    return tree_find_part(t, &id, out);
}

static bool lookup_snapshot(struct tree *t, const struct tree_ref *snapshots, struct str name,
                            struct tree_ref *out)
{
    struct journal_file f;

    if (lookup_pinned(t, snapshots, name, out))
        return true;
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
    case TREE_TEXTS:
    case TREE_PARTS:
        return lookup_span(t, parent, name, out);
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

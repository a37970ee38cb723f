/* fs/tree/list.c - what stands in each kind of directory. */
#include <assert.h>
#include <stdio.h>

#include "fs/tree/internal.h"

enum {
    COOKIE_WEIR = COOKIE_FIXED,
    COOKIE_SCHEMA,
    COOKIE_CURRENT,
    COOKIE_TEXTS,
    COOKIE_PARTS,
    COOKIE_COMMITS,
    COOKIE_SNAPSHOTS,
    COOKIE_INGEST,
    COOKIE_TYPES = 16,  /* + stream_type */
    COOKIE_STATUS = 32, /* + status_file */
};

#define SPAN_NUMBERS 10000 /* the years have the most */
#define LOOKS_MAX 1000     /* at one hour, while parts of it are being published */

struct list_ctx {
    struct tree *tree;
    struct listing *listing;
    const struct tree_ref *dir;
    struct hidden_parts hidden;   /* of an hour: not to be shown yet */
    bool is_listed[SPAN_NUMBERS]; /* spans that the registry named already */
};

static void add_child(struct listing *l, struct str name, uint64_t cookie,
                      const struct tree_ref *child)
{
    listing_add(l, name, cookie, tree_ino(child, 0), tree_is_dir(child) ? S_IFDIR : S_IFREG);
}

static void add_fixed(const struct list_ctx *c, const char *name, uint64_t cookie,
                      enum tree_kind kind)
{
    struct tree_ref child = tree_child(c->dir, kind);

    add_child(c->listing, str_from(name), cookie, &child);
}

static void add_org(const struct registry_org *org, void *ctx)
{
    const struct list_ctx *c = ctx;
    struct tree_ref child = tree_child(c->dir, TREE_ORG);

    child.org = org;
    add_child(c->listing, org->name, cookie_of_name(org->name), &child);
}

static void add_stream(const struct registry_stream *s, void *ctx)
{
    const struct list_ctx *c = ctx;
    struct tree_ref child = tree_child(c->dir, TREE_STREAM);

    child.stream = s;
    add_child(c->listing, s->name, cookie_of_name(s->name), &child);
}

static void add_view(const struct list_ctx *c, const char *name, uint64_t cookie,
                     enum tree_kind kind, enum tree_view view)
{
    struct tree_ref child = tree_child(c->dir, kind);

    child.view = view;
    if (tree_has_part(c->tree, &child))
        add_child(c->listing, str_from(name), cookie, &child);
}

static void add_span(const struct span *span, void *ctx)
{
    struct list_ctx *c = ctx;
    struct tree_ref child = tree_child(c->dir, TREE_SPAN);
    char text[8];
    size_t len = span_format(span, text);

    if (c->is_listed[span_number(span)])
        return;
    c->is_listed[span_number(span)] = true;
    child.span = *span;
    add_child(c->listing, (struct str){text, len}, COOKIE_NUMBER + (uint64_t)span_number(span),
              &child);
}

static void add_file(const struct ulid *id, void *ctx)
{
    const struct list_ctx *c = ctx;
    struct tree_ref child = tree_file_child(c->dir, TREE_DATA, id);
    char text[NAME_DATA_MAX];
    size_t len = name_format_data(id, text);

    add_child(c->listing, (struct str){text, len}, cookie_of_id(id), &child);
}

static bool add_part(const struct part *p, void *ctx)
{
    const struct list_ctx *c = ctx;
    bool is_text = c->dir->view == VIEW_TEXT || (c->dir->stream && p->type == STREAM_METRICS);
    struct tree_ref child = tree_file_child(c->dir, is_text ? TREE_TEXT : TREE_PART, &p->id);
    char text[NAME_PART_MAX];
    size_t len = is_text ? name_format_data(&p->id, text) : name_format_part(&p->id, text);

    if (!registry_hides(c->tree->cfg.registry, &c->hidden, &p->id))
        add_child(c->listing, (struct str){text, len}, cookie_of_id(&p->id), &child);
    return true;
}

/* ---- directories of time ---- */

/* The registry first: what it lets go of meanwhile stands in the index by then. */
static void list_spans(struct list_ctx *c, const struct span *in)
{
    enum span_level level = in ? in->level + 1 : SPAN_YEAR;
    int32_t from = in ? in->first : INT32_MIN, last = in ? in->last : INT32_MAX, hour;

    if (c->dir->view == VIEW_DATA)
        registry_each_span(c->tree->cfg.registry, c->dir->stream, in, add_span, c);
    while (from <= last && tree_first_hour(c->tree, c->dir, from, last, &hour)) {
        struct span span = span_around(level, hour);
        add_span(&span, c);
        from = span.last + 1;
    }
}

static void list_hour_once(struct list_ctx *c)
{
    struct registry *r = c->tree->cfg.registry;
    const struct tree_ref *dir = c->dir;

    listing_done(c->listing);
    listing_init(c->listing);
    if (dir->view == VIEW_DATA)
        registry_each_file(r, dir->stream, dir->span.first, dir->span.last, add_file, c,
                           &c->hidden);
    else
        registry_look(r, &c->hidden);
    tree_each_part(c->tree, dir, dir->span.first, dir->span.last, add_part, c);
}

static enum err_code list_hour(struct list_ctx *c, struct err *e)
{
    for (int i = 0; i < LOOKS_MAX; i++) {
        list_hour_once(c);
        if (registry_look_holds(c->tree->cfg.registry, &c->hidden))
            return ERR_OK;
    }
    return err_set(e, ERR_AGAIN, "parts are published faster than they can be listed");
}

/* ---- the others ---- */

static void list_org(struct tree *t, const struct list_ctx *c)
{
    for (int type = 0; type < STREAM_TYPE_COUNT; type++) {
        struct tree_ref child = tree_child(c->dir, TREE_TYPE);
        child.type = (enum stream_type)type;
        if (tree_has_type(t, c->dir, child.type))
            add_child(c->listing, str_from(stream_type_name(child.type)),
                      COOKIE_TYPES + (uint64_t)type, &child);
    }
}

static void list_stream(struct tree *t, struct list_ctx *c)
{
    struct ulid id;

    if (tree_has_schema(t, c->dir->stream))
        add_fixed(c, SCHEMA_NAME, COOKIE_SCHEMA, TREE_SCHEMA);
    if (tree_has_ingest(t, c->dir))
        add_fixed(c, INGEST_NAME, COOKIE_INGEST, TREE_INGEST);
    if (registry_current(t->cfg.registry, c->dir->stream, &id)) {
        struct tree_ref current = tree_file_child(c->dir, TREE_DATA, &id);
        add_child(c->listing, STR(CURRENT_NAME), COOKIE_CURRENT, &current);
    }
    if (c->dir->type != STREAM_METRICS)
        add_view(c, TEXTS_NAME, COOKIE_TEXTS, TREE_TEXTS, VIEW_TEXT);
    list_spans(c, NULL);
}

static void list_type(struct tree *t, struct list_ctx *c)
{
    if (c->dir->type == STREAM_METRICS)
        add_view(c, PARTS_NAME, COOKIE_PARTS, TREE_PARTS, VIEW_PARTS);
    registry_each_stream(t->cfg.registry, c->dir->org, c->dir->type, add_stream, c);
}

static void list_weir(struct tree *t, const struct list_ctx *c)
{
    if (t->cfg.commit_files > 0)
        add_fixed(c, COMMITS_NAME, COOKIE_COMMITS, TREE_COMMITS);
    add_fixed(c, SNAPSHOTS_NAME, COOKIE_SNAPSHOTS, TREE_SNAPSHOTS);
    for (int i = 0; i < STATUS_FILE_COUNT; i++) {
        struct tree_ref child = tree_child(c->dir, TREE_STATUS);
        child.number = (uint64_t)i;
        add_child(c->listing, status_name((enum status_file)i), COOKIE_STATUS + (uint64_t)i,
                  &child);
    }
}

static void list_commits(struct tree *t, const struct list_ctx *c)
{
    for (unsigned i = 0; i < t->cfg.commit_files; i++) {
        struct tree_ref child = tree_child(c->dir, TREE_COMMIT);
        char text[16];
        int len = snprintf(text, sizeof text, "%u", i);
        child.number = i;
        add_child(c->listing, (struct str){text, (size_t)len}, COOKIE_NUMBER + i, &child);
    }
}

static enum err_code list_children(struct tree *t, struct list_ctx *c, struct err *e)
{
    const struct tree_ref *dir = c->dir;

    switch (dir->kind) {
    case TREE_ROOT:
        add_fixed(c, WEIR_NAME, COOKIE_WEIR, TREE_WEIR);
        registry_each_org(t->cfg.registry, add_org, c);
        break;
    case TREE_ORG:
        list_org(t, c);
        break;
    case TREE_TYPE:
        list_type(t, c);
        break;
    case TREE_STREAM:
        list_stream(t, c);
        break;
    case TREE_TEXTS:
    case TREE_PARTS:
        list_spans(c, NULL);
        break;
    case TREE_SPAN:
        if (dir->span.level == SPAN_HOUR)
            return list_hour(c, e);
        list_spans(c, &dir->span);
        break;
    case TREE_WEIR:
        list_weir(t, c);
        break;
    case TREE_COMMITS:
        list_commits(t, c);
        break;
    default:
        break;
    }
    return ERR_OK;
}

enum err_code tree_list(struct tree *t, const struct tree_ref *dir, struct listing *out,
                        struct err *e)
{
    struct list_ctx ctx = {.tree = t, .listing = out, .dir = dir};
    enum err_code rc;

    assert(tree_is_dir(dir));
    rc = list_children(t, &ctx, e);
    if (rc)
        return rc;
    listing_finish(out);
    return out->failed ? err_set(e, ERR_NOMEM, "no memory for a listing") : ERR_OK;
}

/* Both parts grow only; an hour's listing comes from nothing else. */
bool tree_listing_version(struct tree *t, const struct tree_ref *dir, uint64_t *version)
{
    if (dir->kind != TREE_SPAN || dir->span.level != SPAN_HOUR)
        return false;
    *version = registry_hour_version(t->cfg.registry, dir->span.first);
    if (t->cfg.sealed)
        *version += parts_hour_version(sealed_index(t->cfg.sealed), dir->span.first);
    return true;
}

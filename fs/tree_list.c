/* fs/tree_list.c - what stands in each kind of directory. */
#include <assert.h>
#include <stdio.h>

#include "fs/tree_internal.h"

enum {
    COOKIE_WEIR = COOKIE_FIXED,
    COOKIE_SCHEMA,
    COOKIE_CURRENT,
    COOKIE_COMMITS,
    COOKIE_SNAPSHOTS,
    COOKIE_TYPES = 16,  /* + stream_type */
    COOKIE_STATUS = 32, /* + status_file */
};

struct list_ctx {
    struct listing *listing;
    const struct tree_ref *dir;
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

static void add_span(const struct span *span, void *ctx)
{
    const struct list_ctx *c = ctx;
    struct tree_ref child = tree_child(c->dir, TREE_SPAN);
    char text[8];
    size_t len = span_format(span, text);

    child.span = *span;
    add_child(c->listing, (struct str){text, len}, COOKIE_NUMBER + (uint64_t)span_number(span),
              &child);
}

static void add_file(const struct ulid *id, void *ctx)
{
    const struct list_ctx *c = ctx;
    struct tree_ref child = tree_data_child(c->dir, id);
    char text[NAME_DATA_MAX];
    size_t len = name_format_data(id, text);

    add_child(c->listing, (struct str){text, len}, cookie_of_id(id), &child);
}

static void list_org(struct tree *t, const struct list_ctx *c)
{
    for (int type = 0; type < STREAM_TYPE_COUNT; type++) {
        struct tree_ref child = tree_child(c->dir, TREE_TYPE);
        child.type = (enum stream_type)type;
        if (registry_has_type(t->cfg.registry, c->dir->org, child.type))
            add_child(c->listing, str_from(stream_type_name(child.type)),
                      COOKIE_TYPES + (uint64_t)type, &child);
    }
}

static void list_stream(struct tree *t, struct list_ctx *c)
{
    struct ulid id;

    if (tree_has_schema(t, c->dir->stream))
        add_fixed(c, SCHEMA_NAME, COOKIE_SCHEMA, TREE_SCHEMA);
    if (registry_current(t->cfg.registry, c->dir->stream, &id)) {
        struct tree_ref current = tree_data_child(c->dir, &id);
        add_child(c->listing, STR(CURRENT_NAME), COOKIE_CURRENT, &current);
    }
    registry_each_span(t->cfg.registry, c->dir->stream, NULL, add_span, c);
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

static void list_children(struct tree *t, struct list_ctx *c)
{
    struct registry *r = t->cfg.registry;
    const struct tree_ref *dir = c->dir;

    switch (dir->kind) {
    case TREE_ROOT:
        add_fixed(c, WEIR_NAME, COOKIE_WEIR, TREE_WEIR);
        registry_each_org(r, add_org, c);
        break;
    case TREE_ORG:
        list_org(t, c);
        break;
    case TREE_TYPE:
        registry_each_stream(r, dir->org, dir->type, add_stream, c);
        break;
    case TREE_STREAM:
        list_stream(t, c);
        break;
    case TREE_SPAN:
        if (dir->span.level == SPAN_HOUR)
            registry_each_file(r, dir->stream, dir->span.first, dir->span.last, add_file, c, NULL);
        else
            registry_each_span(r, dir->stream, &dir->span, add_span, c);
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
}

enum err_code tree_list(struct tree *t, const struct tree_ref *dir, struct listing *out,
                        struct err *e)
{
    struct list_ctx ctx = {.listing = out, .dir = dir};

    assert(tree_is_dir(dir));
    list_children(t, &ctx);
    listing_finish(out);
    return out->failed ? err_set(e, ERR_NOMEM, "no memory for a listing") : ERR_OK;
}

/* fs/tree/content.c - the bytes and the extended attributes of files. */
#include <assert.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "fs/tree/internal.h"

#define XATTR_PREFIX "user.weir."

enum err_code tree_text(struct tree *t, const struct tree_ref *ref, struct buf *out, struct err *e)
{
    assert(tree_is_text(ref));
    if (ref->kind == TREE_STATUS)
        return status_text(t->cfg.status, (enum status_file)ref->number, out, e);
    return schema_text(t->cfg.schema, ref->org->raw, ref->type, ref->stream->raw, out, e);
}

enum err_code tree_read(struct tree *t, const struct tree_ref *ref, uint64_t off, void *dst,
                        size_t n, size_t *got, struct err *e)
{
    *got = 0;
    if (ref->kind == TREE_SNAPSHOT) {
        if (off >= ref->number)
            return ERR_OK;
        if (n > ref->number - off)
            n = ref->number - off;
    }
    return journal_read(t->cfg.journal, &ref->id, off, dst, n, got, e);
}

/* ---- extended attributes ---- */

/* What the attributes of a file say; views. */
struct facts {
    struct str state, node, object;
    uint64_t rows;
    int64_t min_ts_us, max_ts_us;
    const uint8_t *sha256; /* NULL: the bytes are made when they are read */
};

static int format_state(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return snprintf(value, TREE_XATTR_MAX, STR_FMT, STR_ARG(f->state));
}

static int format_rows(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return snprintf(value, TREE_XATTR_MAX, "%llu", (unsigned long long)f->rows);
}

static int format_min_ts(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return snprintf(value, TREE_XATTR_MAX, "%lld", (long long)f->min_ts_us);
}

static int format_max_ts(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return snprintf(value, TREE_XATTR_MAX, "%lld", (long long)f->max_ts_us);
}

static int format_node(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return snprintf(value, TREE_XATTR_MAX, STR_FMT, STR_ARG(f->node));
}

/* -1: the file has no such attribute. */
static int format_object(const struct facts *f, char value[TREE_XATTR_MAX])
{
    return f->object.len > 0 ? snprintf(value, TREE_XATTR_MAX, STR_FMT, STR_ARG(f->object)) : -1;
}

static int format_sha256(const struct facts *f, char value[TREE_XATTR_MAX])
{
    int len = 0;

    for (size_t i = 0; f->sha256 && i < 32; i++)
        len += snprintf(value + len, TREE_XATTR_MAX - (size_t)len, "%02x", f->sha256[i]);
    return len > 0 ? len : -1;
}

static const struct {
    const char *name;
    int (*format)(const struct facts *f, char value[TREE_XATTR_MAX]);
} XATTRS[] = {
    {"state", format_state},   {"rows", format_rows}, {"min_ts", format_min_ts},
    {"max_ts", format_max_ts}, {"node", format_node}, {"object", format_object},
    {"sha256", format_sha256},
};

typedef void (*facts_fn)(const struct facts *f, void *ctx);
struct facts_visit {
    facts_fn fn;
    void *ctx;
    bool is_text;
};

static void visit_part(const struct part *p, const struct part_name *rows, void *ctx)
{
    const struct facts_visit *v = ctx;
    struct facts f = {.state = str_from(part_state_name(p->state)),
                      .node = p->node,
                      .object = p->object,
                      .rows = rows->rows,
                      .min_ts_us = rows->min_ts_us,
                      .max_ts_us = rows->max_ts_us,
                      .sha256 = v->is_text ? NULL : p->sha256};

    v->fn(&f, v->ctx);
}

static bool visit_file(struct tree *t, const struct ulid *id, const struct facts_visit *v)
{
    struct journal_file file;
    struct facts f;

    if (journal_file_get(t->cfg.journal, id, &file, NULL))
        return false;
    f = (struct facts){.state =
                           str_from(part_state_name(file.replaced ? PART_SEALED : PART_ACTIVE)),
                       .node = str_from(t->cfg.node_name),
                       .rows = file.rows,
                       .min_ts_us = file.min_ts_us,
                       .max_ts_us = file.max_ts_us};
    v->fn(&f, v->ctx);
    return true;
}

static bool has_facts(const struct tree_ref *ref)
{
    return ref->kind == TREE_DATA || ref->kind == TREE_PART || ref->kind == TREE_TEXT;
}

/* False: the file is gone. */
static bool with_facts(struct tree *t, const struct tree_ref *ref, facts_fn fn, void *ctx)
{
    struct facts_visit v = {.fn = fn, .ctx = ctx, .is_text = ref->kind == TREE_TEXT};

    return ref->kind == TREE_DATA ? visit_file(t, &ref->id, &v)
                                  : tree_with_part(t, ref, visit_part, &v);
}

struct one_xattr {
    size_t which;
    char *value;
    int len;
};

static void format_one(const struct facts *f, void *ctx)
{
    struct one_xattr *x = ctx;

    x->len = XATTRS[x->which].format(f, x->value);
}

static bool find_xattr(struct str name, size_t *which)
{
    struct str prefix = STR(XATTR_PREFIX);

    if (!str_starts(name, prefix))
        return false;
    name = (struct str){name.ptr + prefix.len, name.len - prefix.len};
    for (*which = 0; *which < ARRAY_LEN(XATTRS); ++*which) {
        if (str_eq(name, str_from(XATTRS[*which].name)))
            return true;
    }
    return false;
}

enum err_code tree_xattr(struct tree *t, const struct tree_ref *ref, struct str name,
                         char value[TREE_XATTR_MAX], size_t *len)
{
    struct one_xattr x = {.value = value, .len = -1};

    if (!has_facts(ref) || !find_xattr(name, &x.which))
        return ERR_NOTFOUND;
    if (!with_facts(t, ref, format_one, &x))
        return ERR_STALE;
    if (x.len < 0)
        return ERR_NOTFOUND;
    *len = x.len < TREE_XATTR_MAX ? (size_t)x.len : TREE_XATTR_MAX - 1;
    return ERR_OK;
}

struct xattr_names {
    char *names;
    size_t len;
};

static void list_names(const struct facts *f, void *ctx)
{
    struct xattr_names *l = ctx;
    char value[TREE_XATTR_MAX];

    for (size_t i = 0; i < ARRAY_LEN(XATTRS); i++) {
        if (XATTRS[i].format(f, value) >= 0)
            l->len += (size_t)snprintf(l->names + l->len, TREE_XATTR_MAX - l->len,
                                       XATTR_PREFIX "%s", XATTRS[i].name) +
                      1;
    }
}

size_t tree_xattr_names(struct tree *t, const struct tree_ref *ref, char names[TREE_XATTR_MAX])
{
    struct xattr_names l = {.names = names};

    if (has_facts(ref))
        with_facts(t, ref, list_names, &l);
    return l.len;
}

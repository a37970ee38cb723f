/* fs/tree_content.c - the bytes and the extended attributes of files. */
#include <assert.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "fs/tree_internal.h"

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

static const char *const XATTRS[] = {"state", "rows", "min_ts", "max_ts", "node"};

static size_t format_xattr(struct tree *t, const struct journal_file *f, const char *which,
                           char value[TREE_XATTR_MAX])
{
    int n;

    if (strcmp(which, "state") == 0)
        n = snprintf(value, TREE_XATTR_MAX, "active");
    else if (strcmp(which, "rows") == 0)
        n = snprintf(value, TREE_XATTR_MAX, "%llu", (unsigned long long)f->rows);
    else if (strcmp(which, "min_ts") == 0)
        n = snprintf(value, TREE_XATTR_MAX, "%lld", (long long)f->min_ts_us);
    else if (strcmp(which, "max_ts") == 0)
        n = snprintf(value, TREE_XATTR_MAX, "%lld", (long long)f->max_ts_us);
    else
        n = snprintf(value, TREE_XATTR_MAX, "%s", t->cfg.node_name);
    return n < TREE_XATTR_MAX ? (size_t)n : TREE_XATTR_MAX - 1;
}

enum err_code tree_xattr(struct tree *t, const struct tree_ref *ref, struct str name,
                         char value[TREE_XATTR_MAX], size_t *len)
{
    struct str prefix = STR(XATTR_PREFIX);
    struct journal_file f;

    if (ref->kind != TREE_DATA || !str_starts(name, prefix))
        return ERR_NOTFOUND;
    name = (struct str){name.ptr + prefix.len, name.len - prefix.len};
    for (size_t i = 0; i < ARRAY_LEN(XATTRS); i++) {
        if (!str_eq(name, str_from(XATTRS[i])))
            continue;
        if (journal_file_get(t->cfg.journal, &ref->id, &f, NULL))
            return ERR_STALE;
        *len = format_xattr(t, &f, XATTRS[i], value);
        return ERR_OK;
    }
    return ERR_NOTFOUND;
}

size_t tree_xattr_names(const struct tree_ref *ref, char names[TREE_XATTR_MAX])
{
    size_t len = 0;

    if (ref->kind != TREE_DATA)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(XATTRS); i++)
        len +=
            (size_t)snprintf(names + len, TREE_XATTR_MAX - len, XATTR_PREFIX "%s", XATTRS[i]) + 1;
    return len;
}

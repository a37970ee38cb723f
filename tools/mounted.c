/* tools/mounted.c - walks a mount of Weir: organisations, types, streams, hours, files. */
#include "tools/mounted.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sys.h"
#include "fs/fs.h"
#include "fs/mountinfo.h"
#include "fs/name.h"
#include "tools/node.h"

#define MOUNTINFO_MAX (16u << 20)
#define MOUNTS_NAMED_MAX 8 /* in the message that asks which one is meant */
#define XATTR_TEXT_MAX 64

/* ---- the mount ---- */

struct found_mounts {
    char paths[MOUNTS_NAMED_MAX][PATH_MAX];
    size_t count;
};

static void collect_mounts(struct str text, struct found_mounts *out)
{
    struct mount_entry entry;
    struct buf point;
    struct str line;

    buf_init(&point, PATH_MAX);
    while (text.len && out->count < MOUNTS_NAMED_MAX) {
        str_cut(text, '\n', &line, &text);
        if (mountinfo_parse(line, &point, &entry) && entry.is_weir &&
            str_copy_to(buf_str(&point), out->paths[out->count], PATH_MAX))
            out->count++;
    }
    buf_done(&point);
}

static enum err_code only_mount(const char *instead_of, char mount[PATH_MAX], struct err *e)
{
    static struct found_mounts found; /* large; the commands have one thread */
    struct buf text, names;

    found.count = 0;
    buf_init(&text, MOUNTINFO_MAX);
    buf_init(&names, ERR_MSG_MAX);
    if (sys_read_file("/proc/self/mountinfo", &text, e) == ERR_OK)
        collect_mounts(buf_str(&text), &found);
    for (size_t i = 0; i < found.count; i++)
        buf_printf(&names, " %s", found.paths[i]);
    buf_done(&text);
    enum err_code rc = ERR_OK;
    if (found.count == 1)
        str_copy_to(str_from(found.paths[0]), mount, PATH_MAX);
    else if (found.count == 0)
        rc = err_set(e, ERR_NOTFOUND,
                     "nothing is mounted at %s, nor elsewhere: weir serve runs a node, weir mount "
                     "shows a data directory without one",
                     instead_of);
    else
        rc = err_set(e, ERR_NOTFOUND,
                     "nothing is mounted at %s; weir serve starts its node, --mount names another "
                     "one of this machine:" STR_FMT,
                     instead_of, STR_ARG(buf_str(&names)));
    buf_done(&names);
    return rc;
}

static enum err_code mount_err(struct err *e, int sys, const char *doing, const char *path)
{
    if (sys == ENOTCONN || sys == ECONNABORTED) /* the second while it is being taken down */
        return err_set(e, ERR_GONE,
                       "%s %s: its node was killed; weir serve goes on with it, fusermount3 -uz "
                       "takes the mount away",
                       doing, path);
    return err_sys(e, sys, "%s %s", doing, path);
}

static enum err_code check_readable(const char *mount, struct err *e)
{
    struct stat st;

    if (access(mount, R_OK | X_OK) == 0)
        return ERR_OK;
    if (errno == EACCES && stat(mount, &st) == 0)
        return err_set(e, ERR_FORBIDDEN,
                       "the mount %s belongs to user %u (WEIR_MOUNT_UID): use sudo", mount,
                       (unsigned)st.st_uid);
    return mount_err(e, errno, "the mount", mount);
}

/* Else any folder would be a mount without streams. */
static enum err_code check_status_dir(const char *mount, struct err *e)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/.weir", mount) < (int)sizeof path &&
        access(path, F_OK) == 0)
        return ERR_OK;
    return err_set(e, ERR_NOTFOUND, "%s is no mount of Weir: there is no .weir in it", mount);
}

enum err_code mounted_find(const char *wanted, char mount[PATH_MAX], struct err *e)
{
    enum err_code rc = ERR_OK;
    struct node n;

    if (wanted) { /* also one that is bound elsewhere, or a copy of what it shows */
        if (!realpath(wanted, mount))
            return mount_err(e, errno, "the mount", wanted);
        rc = check_readable(mount, e);
        return rc ? rc : check_status_dir(mount, e);
    }
    rc = node_init(&n, "weir", e);
    if (!rc && fs_is_mounted(n.mount_dir))
        str_copy_to(str_from(n.mount_dir), mount, PATH_MAX);
    else if (!rc)
        rc = only_mount(n.mount_dir, mount, e);
    node_done(&n);
    return rc ? rc : check_readable(mount, e);
}

/* ---- folders ---- */

static int is_shown(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_name_down(const struct dirent **a, const struct dirent **b)
{
    return -strcmp((*a)->d_name, (*b)->d_name);
}

static int by_name_up(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

struct names {
    struct dirent **list;
    int count;
};

static void names_done(struct names *n)
{
    for (int i = 0; i < n->count; i++)
        free(n->list[i]);
    free(n->list);
}
#define AUTO_NAMES __attribute__((cleanup(names_done))) struct names

static enum err_code read_names(const char *path, bool is_down, struct names *out, struct err *e)
{
    out->count = scandir(path, &out->list, is_shown, is_down ? by_name_down : by_name_up);
    if (out->count >= 0)
        return ERR_OK;
    out->count = 0;
    return errno == ENOENT || errno == ENOTDIR ? ERR_OK : mount_err(e, errno, "list", path);
}

/* ---- streams ---- */

static bool is_type(const char *name)
{
    return strcmp(name, "logs") == 0 || strcmp(name, "metrics") == 0 ||
           strcmp(name, "traces") == 0 || strcmp(name, "enrichment_tables") == 0;
}

void mounted_stream_path(const char *mount, const struct mounted_stream *s, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/%s/%s/%s", mount, s->org, s->type, s->name) >= PATH_MAX)
        path[0] = '\0';
}

enum err_code mounted_stream(const char *mount, const char *text, const char *org, const char *type,
                             struct mounted_stream *out, struct err *e)
{
    struct str first = str_from(text), second, third;
    char escaped[NAME_TEXT_MAX + 1], path[PATH_MAX];
    struct stat st;

    *out = (struct mounted_stream){0};
    snprintf(out->org, sizeof out->org, "%s", org);
    snprintf(out->type, sizeof out->type, "%s", type);
    if (str_cut(first, '/', &first, &second)) {
        if (str_cut(second, '/', &second, &third)) {
            str_copy_to(first, out->org, sizeof out->org);
            str_copy_to(second, out->type, sizeof out->type);
            first = third;
        } else {
            str_copy_to(first, out->type, sizeof out->type);
            first = second;
        }
    }
    name_escape(first, escaped);
    snprintf(out->name, sizeof out->name, "%s", escaped);
    mounted_stream_path(mount, out, path);
    if (is_type(out->type) && out->name[0] && path[0] && stat(path, &st) == 0)
        return ERR_OK;
    return err_set(e, ERR_NOTFOUND, "there is no stream %s/%s/%s; weir ls lists them", out->org,
                   out->type, out->name);
}

static enum err_code visit_type(const char *mount, struct mounted_stream *s, bool *go_on,
                                mounted_stream_visit fn, void *ctx, struct err *e)
{
    char path[PATH_MAX];
    AUTO_NAMES streams = {0};

    snprintf(path, sizeof path, "%s/%s/%s", mount, s->org, s->type);
    enum err_code rc = read_names(path, false, &streams, e);
    for (int i = 0; !rc && *go_on && i < streams.count; i++) {
        snprintf(s->name, sizeof s->name, "%s", streams.list[i]->d_name);
        *go_on = fn(s, ctx);
    }
    return rc;
}

static enum err_code visit_org(const char *mount, struct mounted_stream *s, const char *type,
                               bool *go_on, mounted_stream_visit fn, void *ctx, struct err *e)
{
    char path[PATH_MAX];
    AUTO_NAMES types = {0};

    snprintf(path, sizeof path, "%s/%s", mount, s->org);
    enum err_code rc = read_names(path, false, &types, e);
    for (int i = 0; !rc && *go_on && i < types.count; i++) {
        const char *name = types.list[i]->d_name;
        if (!is_type(name) || (type && strcmp(type, name) != 0))
            continue;
        snprintf(s->type, sizeof s->type, "%.31s", name);
        rc = visit_type(mount, s, go_on, fn, ctx, e);
    }
    return rc;
}

enum err_code mounted_streams(const char *mount, const char *org, const char *type,
                              mounted_stream_visit fn, void *ctx, struct err *e)
{
    struct mounted_stream s = {0};
    AUTO_NAMES orgs = {0};
    bool go_on = true;
    enum err_code rc = read_names(mount, false, &orgs, e);

    for (int i = 0; !rc && go_on && i < orgs.count; i++) {
        if (org && strcmp(org, orgs.list[i]->d_name) != 0)
            continue;
        snprintf(s.org, sizeof s.org, "%s", orgs.list[i]->d_name);
        rc = visit_org(mount, &s, type, &go_on, fn, ctx, e);
    }
    return rc;
}

/* ---- hours ---- */

struct hour_walk {
    int32_t from, to;
    bool is_newest_first, go_on;
    mounted_hour_visit fn;
    void *ctx;
};

static enum err_code walk_span(const char *stream_path, const char *under, const struct span *span,
                               struct hour_walk *w, struct err *e);

static enum err_code enter_span(const char *stream_path, const char *under, const struct span *span,
                                struct hour_walk *w, struct err *e)
{
    struct mounted_hour h = {.hour = span->first};

    if (span->last < w->from || span->first >= w->to)
        return ERR_OK;
    if (span->level != SPAN_HOUR)
        return walk_span(stream_path, under, span, w, e);
    snprintf(h.under, sizeof h.under, "%.15s", under);
    if (snprintf(h.path, sizeof h.path, "%s/%s", stream_path, under) < PATH_MAX)
        w->go_on = w->fn(&h, w->ctx);
    return ERR_OK;
}

static enum err_code walk_span(const char *stream_path, const char *under, const struct span *span,
                               struct hour_walk *w, struct err *e)
{
    char path[PATH_MAX], inside[32];
    struct span child;
    AUTO_NAMES names = {0};

    snprintf(path, sizeof path, "%s%s%s", stream_path, under[0] ? "/" : "", under);
    enum err_code rc = read_names(path, w->is_newest_first, &names, e);
    for (int i = 0; !rc && w->go_on && i < names.count; i++) {
        if (!span_parse(span, str_from(names.list[i]->d_name), &child))
            continue;
        snprintf(inside, sizeof inside, "%.12s%s%.4s", under, under[0] ? "/" : "",
                 names.list[i]->d_name);
        rc = enter_span(stream_path, inside, &child, w, e);
    }
    return rc;
}

enum err_code mounted_hours(const char *stream_path, int32_t from, int32_t to, bool is_newest_first,
                            mounted_hour_visit fn, void *ctx, struct err *e)
{
    struct hour_walk w = {from, to, is_newest_first, true, fn, ctx};

    return walk_span(stream_path, "", NULL, &w, e);
}

/* ---- files ---- */

static uint64_t read_number(const char *path, const char *name)
{
    char text[XATTR_TEXT_MAX];
    ssize_t n = getxattr(path, name, text, sizeof text);
    int64_t value = 0;

    if (n < 0 || !str_to_i64((struct str){text, (size_t)n}, &value))
        return 0;
    return (uint64_t)value;
}

static bool read_file_facts(const char *hour_path, const char *name, struct mounted_file *f)
{
    char path[PATH_MAX];
    struct ulid id;
    struct stat st;
    ssize_t n;

    *f = (struct mounted_file){0};
    if (!(name_parse_data(str_from(name), &id) || name_parse_part(str_from(name), &id)) ||
        snprintf(path, sizeof path, "%s/%s", hour_path, name) >= PATH_MAX || stat(path, &st) != 0)
        return false;
    snprintf(f->name, sizeof f->name, "%.63s", name);
    n = getxattr(path, "user.weir.state", f->state, sizeof f->state - 1);
    f->state[n > 0 ? n : 0] = '\0';
    f->bytes = (uint64_t)st.st_size;
    f->rows = read_number(path, "user.weir.rows");
    f->min_ts_us = (int64_t)read_number(path, "user.weir.min_ts");
    f->max_ts_us = (int64_t)read_number(path, "user.weir.max_ts");
    return true;
}

enum err_code mounted_names(const char *hour_path, mounted_name_visit fn, void *ctx, struct err *e)
{
    AUTO_NAMES names = {0};
    enum err_code rc = read_names(hour_path, false, &names, e);

    for (int i = 0; !rc && i < names.count && fn(names.list[i]->d_name, ctx); i++)
        ;
    return rc;
}

enum err_code mounted_files(const char *hour_path, struct mounted_file **out, size_t *count,
                            struct err *e)
{
    AUTO_NAMES names = {0};
    enum err_code rc = read_names(hour_path, false, &names, e);

    *count = 0;
    *out = NULL;
    if (rc || names.count == 0)
        return rc;
    *out = calloc((size_t)names.count, sizeof **out);
    if (!*out)
        return err_set(e, ERR_NOMEM, "list %s", hour_path);
    for (int i = 0; i < names.count; i++)
        *count += read_file_facts(hour_path, names.list[i]->d_name, *out + *count);
    return ERR_OK;
}

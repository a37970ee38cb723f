/* fs/mountinfo.c - lines of /proc/self/mountinfo:
 *   36 35 98:0 /root /mount/point rw,noatime master:1 - fuse.weir weir rw
 * Blanks, tabs, newlines and backslashes of names stand as \040 and the like. */
#include "fs/mountinfo.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELD_DEVICE 2
#define FIELD_POINT 4

static void unescape(struct str s, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < s.len; i++) {
        const char *p = s.ptr + i;
        bool octal = p[0] == '\\' && s.len - i >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
                     p[2] <= '7' && p[3] >= '0' && p[3] <= '7';
        if (!octal) {
            buf_add_char(out, p[0]);
            continue;
        }
        buf_add_char(out, (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0')));
        i += 3;
    }
}

static bool parse_device(struct str s, struct mount_entry *out)
{
    struct str major, minor;
    uint64_t a, b;

    if (!str_cut(s, ':', &major, &minor) || !str_to_u64(major, &a) || !str_to_u64(minor, &b) ||
        a > UINT32_MAX || b > UINT32_MAX)
        return false;
    out->major = (unsigned)a;
    out->minor = (unsigned)b;
    return true;
}

bool mountinfo_parse(struct str line, struct buf *point, struct mount_entry *out)
{
    struct str field, rest = str_trim(line);

    for (int i = 0; rest.len > 0; i++) {
        str_cut(rest, ' ', &field, &rest);
        if (i == FIELD_DEVICE && !parse_device(field, out))
            return false;
        if (i == FIELD_POINT)
            unescape(field, point);
        if (i > FIELD_POINT && str_eq(field, STR("-"))) {
            str_cut(rest, ' ', &field, &rest);
            out->is_weir = str_eq(field, STR(MOUNT_TYPE));
            return buf_ok(point);
        }
    }
    return false;
}

bool mountinfo_find(const char *path, struct mount_entry *out)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    struct buf point;

    if (!f)
        return false;
    buf_init(&point, PATH_MAX * 4);
    for (ssize_t n; (n = getline(&line, &room, f)) > 0;) {
        struct mount_entry entry = {0};
        if (mountinfo_parse((struct str){line, (size_t)n}, &point, &entry) &&
            str_eq(buf_str(&point), str_from(path))) {
            *out = entry; /* a later line lies on top */
            found = true;
        }
    }
    buf_done(&point);
    free(line);
    fclose(f);
    return found;
}

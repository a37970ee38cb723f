/* tools/mounted.h - what stands on a mount of Weir, read as any program reads it.
 *
 * Good for: weir ls and weir tail, with a node, with `weir mount`, on any machine that has the
 * mount.  Not for: a data directory that nothing is mounted of.
 * Times in microseconds since 1970, sizes in bytes.  Threads: the caller's.
 * Errors: NOTFOUND (no mount, no stream), IO.
 */
#ifndef WEIR_TOOLS_MOUNTED_H
#define WEIR_TOOLS_MOUNTED_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The mount to read: `wanted`, else that of the settings, else the only one of this machine. */
enum err_code mounted_find(const char *wanted, char mount[PATH_MAX], struct err *e);

struct mounted_stream {
    char org[256], type[32], name[256]; /* as they stand on the mount */
};
/* `text` is STREAM, TYPE/STREAM or ORG/TYPE/STREAM; the rest comes from org and type.  NOTFOUND
 * says what to do. */
enum err_code mounted_stream(const char *mount, const char *text, const char *org, const char *type,
                             struct mounted_stream *out, struct err *e);
void mounted_stream_path(const char *mount, const struct mounted_stream *s, char path[PATH_MAX]);
/* In order of name; NULL org or type: all of them.  fn returns false to stop. */
typedef bool (*mounted_stream_visit)(const struct mounted_stream *s, void *ctx);
enum err_code mounted_streams(const char *mount, const char *org, const char *type,
                              mounted_stream_visit fn, void *ctx, struct err *e);

struct mounted_hour {
    int32_t hour;   /* since the epoch */
    char under[16]; /* "2026/11/23/09" */
    char path[PATH_MAX];
};
/* Hours of a stream in [from, to), the newest first when `is_newest_first`; a stream without hours
 * is OK.  fn returns false to stop. */
typedef bool (*mounted_hour_visit)(const struct mounted_hour *h, void *ctx);
enum err_code mounted_hours(const char *stream_path, int32_t from, int32_t to, bool is_newest_first,
                            mounted_hour_visit fn, void *ctx, struct err *e);

struct mounted_file {
    char name[64];
    char state[16]; /* active, sealed, mirrored, remote */
    uint64_t bytes, rows;
    int64_t min_ts_us, max_ts_us;
};
/* Data files of one hour in order of name; the list is malloc'ed.  A file that goes away meanwhile
 * is left out. */
enum err_code mounted_files(const char *hour_path, struct mounted_file **out, size_t *count,
                            struct err *e);
/* Only the names, which is cheaper.  fn returns false to stop. */
typedef bool (*mounted_name_visit)(const char *name, void *ctx);
enum err_code mounted_names(const char *hour_path, mounted_name_visit fn, void *ctx, struct err *e);

#endif

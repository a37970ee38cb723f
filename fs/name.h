/* fs/name.h - the names that stand in paths of the mount, in both directions.
 *
 * Names from outside (organisations, streams) are escaped: `/`, `%`, NUL, control bytes, and names
 * that mean something of their own (`.`, `..`, `.weir`, `.parts`) get percent signs; what is longer
 * than 255 bytes then is cut and ends in `~` and 16 hexadecimal digits of the whole name's hash.
 * The same name always gives the same text; two names give two texts.
 * A span is a directory of time: a year, month, day or hour of UTC.
 * Thread safety: values only.
 */
#ifndef WEIR_FS_NAME_H
#define WEIR_FS_NAME_H

#include "base/ulid.h"

#define NAME_TEXT_MAX 255

/* Returns the length; dst is NUL-terminated. */
size_t name_escape(struct str raw, char dst[NAME_TEXT_MAX + 1]);

enum span_level { SPAN_YEAR, SPAN_MONTH, SPAN_DAY, SPAN_HOUR, SPAN_LEVEL_COUNT };
struct span {
    enum span_level level;
    int32_t first, last; /* hours since the epoch, both included */
};
/* Hours that have a place in the tree: of the years 0000 to 9999. */
bool hour_has_place(int32_t hour);
struct span span_around(enum span_level level, int32_t hour); /* hour_has_place(hour) */
/* The directory `name` inside `parent` (NULL: a year); false when it cannot be one. */
bool span_parse(const struct span *parent, struct str name, struct span *out);
/* "2026" or "07": its own name. */
size_t span_format(const struct span *s, char dst[8]);
/* The number in that name. */
int span_number(const struct span *s);

#define NAME_DATA_MAX 40     /* "<ULID>.ndjson" with its NUL */
#define NAME_SNAPSHOT_MAX 64 /* "<ULID>@<bytes>.ndjson" with its NUL */
size_t name_format_data(const struct ulid *id, char dst[NAME_DATA_MAX]);
bool name_parse_data(struct str name, struct ulid *id);
#define NAME_PART_MAX 40 /* "<ULID>.parquet" with its NUL */
size_t name_format_part(const struct ulid *id, char dst[NAME_PART_MAX]);
bool name_parse_part(struct str name, struct ulid *id);
size_t name_format_snapshot(const struct ulid *id, uint64_t bytes, char dst[NAME_SNAPSHOT_MAX]);
bool name_parse_snapshot(struct str name, struct ulid *id, uint64_t *bytes);

#endif

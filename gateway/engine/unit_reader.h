/* gateway/engine/unit_reader.h - the lines of one stretch of a file.
 *
 * A unit is [offset, end) of a file; its lines are those whose first byte lies in it, so units that
 * follow each other give each line once.  A last line without a newline counts as a line.
 * Thread safety: one reader a thread; several readers may share a file.
 * Errors: IO and others of pread; TOOBIG past `line_max`; CORRUPT when the file is shorter than it
 * was.
 */
#ifndef WEIR_GATEWAY_ENGINE_UNIT_READER_H
#define WEIR_GATEWAY_ENGINE_UNIT_READER_H

#include "base/bytes.h"
#include "base/err.h"

struct unit_file {
    int fd; /* -1: each reader opens it for itself */
    uint64_t size_bytes;
    struct str path;
};

/* Opens a file that must lie below `dir`: FORBIDDEN, INVALID, or what open(2) says.  `path` is
 * borrowed. */
enum err_code unit_file_open(struct unit_file *f, struct str path, const char *dir, struct err *e);
/* The same without a descriptor, for one of very many. */
enum err_code unit_file_look(struct unit_file *f, struct str path, const char *dir, struct err *e);

struct unit_reader {
    const struct unit_file *file;
    int own_fd;   /* of a file without one; -1: none is open */
    uint64_t at;  /* offset in the file of buf[pos] */
    uint64_t end; /* of the unit */
    char *buf;    /* buf[pos, filled) is read and not yet given */
    size_t pos, filled, cap;
    size_t line_max;
};

void unit_reader_init(struct unit_reader *r, size_t line_max);
void unit_reader_done(struct unit_reader *r);
enum err_code unit_reader_start(struct unit_reader *r, const struct unit_file *f, uint64_t offset,
                                uint64_t end, struct err *e);
/* The next line without its newline, valid until the next call; line->ptr is NULL after the last.
 */
enum err_code unit_reader_next(struct unit_reader *r, struct str *line, struct err *e);

#endif

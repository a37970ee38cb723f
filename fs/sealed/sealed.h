/* fs/sealed/sealed.h - the sealed parts of this node: their files, their records in the index.
 *
 *   <data>/staging/<id>.parquet, .sum   written by an engine; what is left at start is removed
 *   <data>/sealed/<YYYYMMDDHH>/<id>.parquet, .sum   published; the hour is that of the records
 *
 * Publishing: check what is staged -> rename both, fsync the directories -> journal_publish
 * (durable)
 * -> index -> the registry shows the part instead of its files.  A crash between any two steps
 * loses and doubles nothing: at start the publish records that the index does not cover are
 * applied, or tried again for as long as the index has no room for them; a sealed file without a
 * record is removed while the journal holds its files, else adopted.
 *
 * Hand-over: while a part is between index and registry it is hidden.  Who lists looks at the
 * registry first, which tells under one lock which files are shown and which parts are hidden, and
 * then at the index (registry.h); so a row is seen once at every moment.
 * Owner: the session.  Any thread may call.  Errors: those of parts.h and journal.h, CORRUPT.
 */
#ifndef WEIR_FS_SEALED_SEALED_H
#define WEIR_FS_SEALED_SEALED_H

#include "fs/journal/journal.h"
#include "fs/registry.h"
#include "fs/status.h"
#include "index/parts.h"

struct sealed_config {
    const char *data_dir;
    struct journal *journal;
    struct registry *registry;
    struct status *status;
    const char *node_name;
    bool read_only;
    bool starts_when_full;   /* of published parts that the index has no room for the files are
                                shown, until it has; else that is FULL */
    const char *scratch_dir; /* read_only: the copy of the index goes there, as index/ */
};
struct sealed;
/* Opens the index before the journal is opened: sealed_position is journal_config.covered, and
 * sealed_apply its on_published. */
enum err_code sealed_open(const struct sealed_config *cfg, struct sealed **out, struct err *e);
void sealed_close(struct sealed *s); /* NULL is fine */
uint64_t sealed_position(const struct sealed *s);
enum err_code sealed_apply(const struct journal_publish *p, uint64_t position, void *sealed,
                           struct err *e);
/* After the journal is open: the journal's and the registry's addresses, staging cleaned, sealed
 * files without a record removed or adopted. */
enum err_code sealed_start(struct sealed *s, struct journal *j, struct registry *r,
                           struct status *st, struct err *e);

/* `part` with everything but state and node; `columns` are stored as its schema. */
enum err_code sealed_publish(struct sealed *s, const struct part *part,
                             const struct part_column *columns, size_t column_count,
                             const struct ulid *files, size_t file_count, struct err *e);

/* A seal failed: what an engine has staged of the part is removed, unless it is being published. */
enum err_code sealed_discard(struct sealed *s, const struct ulid *part, struct err *e);
/* The same of all parts: whoever wanted them is gone. */
enum err_code sealed_discard_all(struct sealed *s, struct err *e);

/* The stream is deleted in `meta`, for good: no batch is taken for it any more, nothing of it is
 * shown, and its bytes are freed (read_only: it is only hidden).  Again, or of a stream that never
 * was here: OK. */
struct dropped_stream {
    uint64_t number;
    struct str org, name;
    enum stream_type type;
    bool has_no_files; /* known: none of it stands in the journal */
};
enum err_code sealed_drop_stream(struct sealed *s, const struct dropped_stream *d, struct err *e);
/* Of streams that are deleted while somebody reads: they wait for their parts to go.  Past it
 * AGAIN; the next start ends it. */
#define SEALED_DOOMED_MAX 65536

/* Who reads parts that it found in the index, from before it looked until it has closed them: parts
 * of streams that are deleted meanwhile stay in the index and on the disk, listed by no directory.
 * The memory is the reader's. */
struct sealed_reader {
    struct sealed_reader *older, *newer; /* sealed's */
    uint64_t number;                     /* sealed's: 0 is no reader */
};
void sealed_reader_begin(struct sealed *s, struct sealed_reader *r);
/* A reader that has begun when `with`, which reads still, had. */
void sealed_reader_join(struct sealed *s, struct sealed_reader *r, struct sealed_reader *with);
void sealed_reader_end(struct sealed *s, struct sealed_reader *r);

struct parts *sealed_index(struct sealed *s);
/* Whether an open finds it checked already, and so does not read all of it. */
bool sealed_is_checked(struct sealed *s, const struct ulid *id);
/* A descriptor of the local file, the caller's; checked against its .sum before the first time
 * after a start (a damaged file is moved to lost+found: CORRUPT). */
enum err_code sealed_open_file(struct sealed *s, const struct part *p, int *fd, struct err *e);

#endif

/* fs/fsck.h - is everything in a data directory that should be, and is it what was written?
 *
 * Reads every frame of the journal, every sealed file against its sum, the index against both, and
 * the truth in meta; changes nothing.  The caller holds the directory's lock.
 * Threads: the caller's.  What is wrong is told, one finding at a time; it is no error.
 * Errors: IO, NOMEM: the check itself could not go on.
 */
#ifndef WEIR_FS_FSCK_H
#define WEIR_FS_FSCK_H

#include "fs/journal/journal.h"

enum fsck_level {
    FSCK_NOTE, /* as it should be after a crash; the next start deals with it */
    FSCK_WARN, /* nothing is lost */
    FSCK_BAD,  /* data is damaged, lost or not shown */
    FSCK_LEVEL_COUNT
};

struct fsck_config {
    const char *data_dir;
    const char *scratch_dir; /* holds a copy of the index meanwhile */
    uint32_t segment_bytes;
    bool is_quick; /* sizes and places of sealed files, not their bytes */
    /* Texts are valid during the call. */
    void (*tell)(enum fsck_level level, const char *saw, const char *mend, void *ctx);
    /* Before each sealed file; NULL: none is wanted. */
    void (*progress)(uint64_t parts_done, void *ctx);
    void *ctx;
};

struct fsck_report {
    struct journal_recovery journal;
    uint64_t streams, parts, part_rows, part_bytes;
    uint64_t damaged, missing, unknown, staged, set_aside;
    uint64_t told[FSCK_LEVEL_COUNT];
};
enum err_code fsck_run(const struct fsck_config *cfg, struct fsck_report *out, struct err *e);

#endif

/* fs/sealed/files.h - the files of sealed parts on the local disk.
 *
 *   <data>/staging/<id>.parquet, .sum                 an engine's
 *   <data>/sealed/<YYYYMMDDHH>/<id>.parquet, .sum     in place
 *   <data>/sealed/<YYYYMMDDHH>/<id>.pending           a metrics part that may not be published yet
 *   <data>/lost+found/<id>.parquet, .sum              damaged
 *
 * A part of logs or traces goes by the id of its one file, so that the journal tells whether it was
 * published; a metrics part does not, so it is marked as pending from before it is put in place
 * until after it is published.
 * Any thread may call; two calls about one part are the caller's to keep apart.
 * Errors: IO, FULL, NOTFOUND, CORRUPT.
 */
#ifndef WEIR_FS_SEALED_FILES_H
#define WEIR_FS_SEALED_FILES_H

#include "index/parts.h"

struct sealed_files {
    char *staging, *sealed, *lost_found;
    bool read_only; /* damage is told and nothing else */
};
enum err_code sealed_files_init(struct sealed_files *f, const char *data_dir, bool read_only,
                                struct err *e);
void sealed_files_done(struct sealed_files *f);
/* Makes the directories and empties staging: nobody waits for what an earlier process left. */
enum err_code sealed_files_prepare(struct sealed_files *f, struct err *e);
/* Removes what is staged, but for parts that are to be kept; keep NULL: everything. */
enum err_code sealed_files_clear(const struct sealed_files *f,
                                 bool (*keep)(const struct ulid *id, void *ctx), void *ctx,
                                 struct err *e);
/* Removes what is staged of one part; what is gone already is fine. */
void sealed_files_unstage(const struct sealed_files *f, const struct ulid *id);

/* CORRUPT: what is staged (or in place, after an earlier try) is not the file that `p` describes.
 * Its content is made durable, not compared. */
enum err_code sealed_files_check_staged(const struct sealed_files *f, const struct part *p,
                                        struct err *e);
/* Moves the part to its place; durable before it returns.  In place already: OK. */
enum err_code sealed_files_place(const struct sealed_files *f, const struct part *p, struct err *e);
/* The part is published: no longer pending, and nothing of it stays in staging. */
void sealed_files_settle(const struct sealed_files *f, const struct part *p);

enum err_code sealed_files_open(const struct sealed_files *f, const struct part *p, int *fd,
                                struct err *e); /* NOTFOUND */
/* Is it what was published?  CORRUPT: it has been moved to lost+found.  A side file that is
 * damaged or missing is made again from a file with the part's SHA-256.  Quick: block by block,
 * without the SHA-256 of the whole. */
enum sealed_check { SEALED_CHECK_QUICK, SEALED_CHECK_WHOLE };
enum err_code sealed_files_check(const struct sealed_files *f, const struct part *p, int fd,
                                 enum sealed_check how, struct err *e);

/* A file that was found in place.  Side files without their Parquet have been removed before. */
struct sealed_found {
    struct ulid id;
    int32_t hour;
    bool is_pending;
};
typedef enum err_code (*sealed_found_fn)(const struct sealed_found *found, void *ctx,
                                         struct err *e);
enum err_code sealed_files_each(const struct sealed_files *f, sealed_found_fn fn, void *ctx,
                                struct err *e);
/* Both files and the mark; what is gone already is fine. */
void sealed_files_remove(const struct sealed_files *f, const struct ulid *id, int32_t hour);
void sealed_files_unmark(const struct sealed_files *f, const struct ulid *id, int32_t hour);
bool sealed_files_has(const struct sealed_files *f, const struct ulid *id, int32_t hour);
/* The path of the Parquet in place; false: that hour has none. */
#define SEALED_PATH_MAX 4096
bool sealed_files_path(const struct sealed_files *f, const struct ulid *id, int32_t hour,
                       char dst[SEALED_PATH_MAX]);

#endif
